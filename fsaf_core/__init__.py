"""FSAF, the course: the Feature Selective Anchor-Free module for single-shot object detection.

>>> import fsaf_core as fsaf
>>> config = fsaf.presets.get("tiny")
>>> detector = fsaf.build_detector(config.model)

Paper: Zhu, He, Savvides, Feature Selective Anchor-Free Module for Single-Shot Object Detection,
CVPR 2019.
"""

from importlib.metadata import version

from . import presets
from .config import Config, FSAFError, ModelConfig
from .engine.callbacks import Callback
from .engine.train import train
from .evaluation.evaluator import evaluate
from .model.detector import Detector, build_detector
from .utils.parts import Parts
from .weights.checkpoint import load, save
from .weights.inference import for_inference
from .weights.mmdet import load_mmdet, to_mmdet

__version__ = version("fsaf-core")
__all__ = [
    "Callback",
    "Config",
    "Detector",
    "FSAFError",
    "ModelConfig",
    "Parts",
    "build_detector",
    "evaluate",
    "for_inference",
    "load",
    "load_mmdet",
    "presets",
    "save",
    "to_mmdet",
    "train",
]
