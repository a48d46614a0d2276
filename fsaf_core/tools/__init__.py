"""Measurements: bench, ablation, memory plan, published table."""
