"""Training: the loop, the optimizer, the run directory."""
