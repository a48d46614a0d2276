"""Files of weights: this package's own, MMDetection's, ONNX."""
