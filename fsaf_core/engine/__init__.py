"""Training: the loop, its optimizer, its run directory."""
