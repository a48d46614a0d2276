"""Images and boxes: generated scenes, COCO-format sets, augmentation and batches.

Nothing here depends on the detector.
"""
