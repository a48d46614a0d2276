"""The detector: backbone, feature pyramid, head, and what surrounds them."""
