"""Images and boxes: generated scenes, any COCO-format set, their augmentation and their order. Knows nothing of the detector."""
