"""Detections against ground truth: COCO metrics and causes of misses."""
