"""The assignment explorer, an interactive widget for notebooks."""
