"""Weights in files: this package's own, MMDetection's, ONNX."""
