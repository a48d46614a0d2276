"""Generated scenes with known boxes."""
