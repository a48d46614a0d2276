"""FSAF."""
