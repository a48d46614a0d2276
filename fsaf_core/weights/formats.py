"""Weights files of any kind: this project's, and MMDetection's."""

from pathlib import Path

from torch import Tensor

from ..config import FSAFError
from ..model.detector import Detector
from ..utils.classes import find_classes
from .checkpoint import Weights, load, mismatches, read_weights, tensor_problem
from .mmdet import load_mmdet

CLASS_LAYERS = ("af_cls", "ab_cls")  # the number of their filters depends on the classes


def _is_of_mmdet(path: Path) -> bool:
    """Return whether a file is read as MMDetection's, whatever its name, and not as our own.

    Raises:
        FSAFError: "x.onnx is an exported file, which only `fsaf predict` and `fsaf evaluate` take:
            give the weights it was made of."
    """
    if path.suffix.lower() == ".onnx":
        raise FSAFError(
            f"{path} is an exported file, which only `fsaf predict` and `fsaf evaluate` take: "
            "give the weights it was made of."
        )
    return path.suffix.lower() not in (".safetensors", ".pt") and not path.is_dir()


def load_any(path: str | Path) -> Detector:
    """Return the detector of a file in evaluation mode, on the CPU.

    Args:
        path: a .safetensors or .pt file of this project; any other is read as MMDetection's.

    Raises:
        FSAFError: as `load` and `load_mmdet`.
    """
    path = Path(path)
    return load_mmdet(path) if _is_of_mmdet(path) else load(path)


def load_weights(detector: Detector, path: str | Path) -> tuple[Weights, list[int | None]]:
    """Load weights into a detector for a new training.

    The class layers take the rows of the classes that the file has too. The other classes keep
    their initial weights.

    Args:
        detector: takes the weights, in place.
        path: as in `load_any`.

    Returns:
        What the file holds, and the label in the file of each of the detector's classes, None for
        the classes that it does not have.

    Raises:
        FSAFError: "x.safetensors does not fit this model: ...", with the tensors' names; as
            `read_weights` and `load_mmdet`.
    """
    path = Path(path)
    if _is_of_mmdet(path):
        source = load_mmdet(path)
        weights = Weights(source.state_dict(), source.config, source.category_ids)
    else:
        weights = read_weights(path)
    names, state = weights.config.class_names, detector.state_dict()
    labels = find_classes(detector.config.class_names, names)
    tensors = dict(weights.tensors)
    for name in state.keys() & tensors.keys():
        if not {*CLASS_LAYERS}.isdisjoint(name.split(".")):
            tensors[name] = _take_rows(tensors[name], state[name], labels, len(names))
    if wrong := mismatches(state, tensors):
        raise FSAFError(
            f"{path} does not fit this model: {wrong}; take the model fields it was trained with."
        )
    detector.load_state_dict(tensors)
    return weights, labels


def _take_rows(tensor: Tensor, initial: Tensor, labels: list[int | None], classes: int) -> Tensor:
    """Return `initial`, with the rows of `tensor` at the classes that have a label there.

    Args:
        tensor: (A * classes, ...), A = 1 or the anchors of a location.
        initial: (A * K, ...). Where the shapes cannot be those of a class layer, `tensor` is
            returned unchanged.
        labels: of the K classes in `tensor`.
        classes: number of classes of `tensor`.
    """
    anchors = initial.shape[0] // len(labels)
    if tensor.shape != (anchors * classes, *initial.shape[1:]) or tensor_problem(tensor, initial):
        return tensor
    rows = initial.clone().unflatten(0, (anchors, len(labels)))
    known = [label for label, row in enumerate(labels) if row is not None]
    at = [row for row in labels if row is not None]
    rows[:, known] = tensor.to(initial.dtype).unflatten(0, (anchors, classes))[:, at]
    return rows.flatten(0, 1)
