"""A detector as ONNX, from images to candidates: `fsaf export`, and detection with the file.

NMS is not part of the graph. `fsaf_core.model.postprocess.merge_candidates` makes detections of an
image's candidates, as it does for the detector itself.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import clip_boxes_to_image

from ..config import FSAFError
from ..data.sources import check_images
from ..method.locations import decode, pyramid_locations
from ..model.detector import Detector
from ..model.postprocess import merge_candidates
from ..model.predictor import Predictor
from ..utils.files import excerpt, write_atomically
from .checkpoint import model_config
from .inference import fold_norms


class Exported(nn.Module):
    """From images to the candidates of all levels: normalization, network, decoding and top-k.

    The input is `images` (B, 3, H, W), RGB, float 0..1, of any H and W. The graph pads it as
    `Detector.preprocess` does. The outputs are `boxes` (B, M, 4) x1 y1 x2 y2 in pixels of the
    input, `scores` (B, M) and `labels` (B, M). Every level gives the same number of candidates; a
    level with fewer is filled up with scores of 0.

    Raises:
        FSAFError: "only anchor_free detectors are exported, this one is joint: give another."

    Source: as `fsaf_core.model.postprocess.top_candidates`, here with one shape for every image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        if detector.config.branches != "anchor_free":
            raise FSAFError(
                f"only anchor_free detectors are exported, this one is {detector.config.branches}: "
                "give another."
            )
        # A detector of half precision is exported in float32, in which its weights are the same.
        detector = copy.deepcopy(detector).float().cpu()
        own = detector.parts.backbone is not None
        self.network = detector.network if own else fold_norms(detector.network)
        self.config = detector.config
        self.register_buffer("mean", detector.mean / 255)
        self.register_buffer("std", detector.std / 255)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes, scores and labels of the candidates, before NMS."""
        (height, width), step = images.shape[2:], self.config.size_divisor
        padded = F.pad((images - self.mean) / self.std, (0, -width % step, 0, -height % step))
        cls_logits, box_offsets, _, _ = self.network(padded)
        candidates = []
        for stride, logits, offsets in zip(self.config.strides, cls_logits, box_offsets):
            scores = logits.sigmoid().permute(0, 2, 3, 1).flatten(1, 2)  # (B, A, K)
            classes, pairs = scores.shape[2], scores.flatten(1)
            if self.config.rules.topk == "locations":
                best, location = self._top(scores.amax(2))
                pair = (location[..., None] * classes + torch.arange(classes)).flatten(1)
                # The padding repeats a location.
                score = pairs.gather(1, pair) * (best > 0).repeat_interleave(classes, 1)
            else:
                score, pair = self._top(pairs)
            location, label = pair // classes, pair % classes
            corners = location[..., None].expand(-1, -1, 4)
            candidates.append((self._decode(offsets, stride).gather(1, corners), score, label))
        boxes, scores, labels = (torch.cat(part, 1) for part in zip(*candidates))
        return clip_boxes_to_image(boxes, (height, width)), scores, labels

    def _top(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best `topk_candidates` values and their indices, padded with zeros."""
        value, index = F.pad(values, (0, self.config.topk_candidates)).topk(
            self.config.topk_candidates
        )
        return value, index.clamp(max=values.shape[1] - 1)

    def _decode(self, offsets: Tensor, stride: int) -> Tensor:
        """Return the boxes (B, A, 4) of a level."""
        shape = offsets.shape[2], offsets.shape[3]
        level = pyramid_locations((shape,), (stride,), self.config.rules.cell_center)
        unit = self.config.offset_normalizer * level.stride
        return decode(offsets.flatten(2).mT, level.centers, unit)


def export(detector: Detector, path: str | Path) -> Path:
    """Write an ONNX file with dynamic batch and size, whole or not at all, and return its path.

    `OnnxDetector` detects with the file. Without this package, the outputs of ONNX Runtime become
    detections by NMS, here by the function that the detector itself uses:

        boxes, scores, labels = map(torch.from_numpy, session.run(None, {"images": images}))
        merge_candidates(boxes[0], scores[0], labels[0], config)  # of fsaf_core.model.postprocess

    `config` is the `ModelConfig` of the detector; its thresholds apply here. The file's
    `metadata_props` hold each of its fields as JSON, class names and thresholds among them, and
    `category_ids`. Boxes are in pixels of the input: divide them by the factors of the resize.

    Args:
        detector: with an anchor-free branch alone.
        path: of the file; missing folders are made.

    Raises:
        FSAFError: as `Exported`; "export needs more packages: pip install onnx onnxscript
            onnxruntime."; as `write_atomically`.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise FSAFError(
            "export needs more packages: pip install onnx onnxscript onnxruntime."
        ) from None
    model = Exported(detector).eval()
    batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "height", "width"))
    program = torch.onnx.export(
        model,
        (torch.rand(2, 3, 133, 170),),
        dynamo=True,
        dynamic_shapes={"images": {0: batch, 2: height, 3: width}},
        input_names=["images"],
        output_names=["boxes", "scores", "labels"],
        external_data=False,
        verbose=False,
    )
    assert program is not None  # it is None where a path is given
    values = {**asdict(detector.config), "category_ids": detector.category_ids}
    program.model.metadata_props.update({name: json.dumps(part) for name, part in values.items()})
    write_atomically(path, program.model_proto.SerializeToString())
    return Path(path)


class OnnxDetector(Predictor):
    """The detector of a file that `export` wrote, run by ONNX Runtime on the CPU, in float32.

    It uses as many threads as PyTorch.

    Args:
        path: of the file.

    Raises:
        FSAFError: "x.onnx does not exist: ..."; "x.onnx needs another package: pip install
            onnxruntime."; "x.onnx cannot be read (...): export it again."; "x.onnx was not written
            by fsaf export (...): export it again."; as `model_config`.
    """

    device = torch.device("cpu")

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        if not Path(path).is_file():
            raise FSAFError(f"{path} does not exist: give a file that fsaf export wrote.")
        try:
            import onnxruntime
        except ImportError:
            raise FSAFError(f"{path} needs another package: pip install onnxruntime.") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            model = Path(path).read_bytes()
            providers = ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # a damaged file raises many kinds of errors
            raise FSAFError(
                f"{path} cannot be read ({excerpt(error)}): export it again."
            ) from error
        texts = self.session.get_modelmeta().custom_metadata_map
        try:
            values = {name: json.loads(text) for name, text in texts.items()}
            self.category_ids = tuple(values.pop("category_ids"))
            self.config = model_config(values, str(path))
        except (ValueError, KeyError, TypeError) as error:
            raise FSAFError(
                f"{path} was not written by fsaf export ({excerpt(error)}): export it again."
            ) from error
        self.eval()

    def detect(
        self, images: Sequence[Tensor], scales: Sequence[tuple[float, float]] | None = None
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image, as `Predictor.detect` describes.

        The images run one by one, which on a CPU takes no longer than a batch.
        """
        check_images(images)
        detections = []
        for image, (x, y) in zip(images, scales or [(1.0, 1.0)] * len(images)):
            whole = image.dtype == torch.uint8
            values = (image.float() / 255 if whole else image.float())[None].numpy(force=True)
            outputs = self.session.run(None, {"images": values})
            boxes, scores, labels = (torch.from_numpy(output[0]) for output in outputs)
            boxes = boxes * torch.tensor([1 / x, 1 / y, 1 / x, 1 / y])  # as in `postprocess.detect`
            detections.append(merge_candidates(boxes, scores, labels, self.config))
        return detections
