"""The notebooks' own definitions, taken out of the cells and run against the core on random input.

To add one: below the last, above the test, a function that gets the notebook's definitions (`own.iou_loop` is the function of
that name) and asserts, under `@of("01_data_and_boxes")`; a second argument `tmp_path: Path` is an empty folder. Of a name that a
notebook defines twice, the first definition counts.
"""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import box_iou

import fsaf_core as fsaf
from fsaf_core.boxes import box_area, box_iou_aligned
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.transforms import resized_size

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
COMPARISONS: list[tuple[str, Callable[..., None]]] = []


def of(notebook: str) -> Callable:
    """Puts a comparison into the table."""

    def add(comparison: Callable[[SimpleNamespace], None]) -> Callable[[SimpleNamespace], None]:
        COMPARISONS.append((notebook, comparison))
        return comparison

    return add


def definitions(notebook: str) -> SimpleNamespace:
    """A notebook's imports, functions, classes and literal constants, without running anything else of it."""
    space: dict = {"__name__": notebook}
    for cell in nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(cell.source).body:
            if wanted(node) and not (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in space):
                exec(compile(ast.Module([node], []), f"{notebook}.ipynb", "exec"), space)
    return SimpleNamespace(**space)


def wanted(node: ast.stmt) -> bool:
    """Whether a statement is a definition; a constant is one if it is written out."""
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def random_boxes(count: int, side: float = 128.0) -> Tensor:
    """(count, 4) boxes within a square image."""
    corners = side * torch.rand(count, 2, 2)
    return torch.cat([corners.min(1).values, corners.max(1).values], 1)


@of("01_data_and_boxes")
def areas_and_ious(own: SimpleNamespace) -> None:
    one, other = random_boxes(30), random_boxes(20)
    assert torch.allclose(torch.tensor([own.area(box) for box in one.tolist()]), box_area(one))
    expected = box_iou(one, other)
    assert torch.allclose(own.iou_matrix(one, other), expected)
    assert torch.allclose(own.iou_loop(one, other), expected)
    assert own.iou_matrix(one[:0], other).shape == own.iou_loop(one[:0], other).shape == (0, 20)
    assert torch.allclose(own.iou_matrix(one[:20], other).diagonal(), box_iou_aligned(one[:20], other), atol=1e-5)
    apart = expected == 0
    assert any(own.iou_without_clamp(one[i], other[j]) != 0 for i, j in apart.nonzero().tolist())  # the fault shows


@of("01_data_and_boxes")
def coco_files(own: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation([3, 7, 20, 90]).tolist()
    images = [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 40} for i in (5, 2, 9, 4)]
    annotations = []
    for number in range(40):
        x, y, w, h = (rng.uniform(-10, [60, 40, 50, 50])).tolist()
        one = {"bbox": [x, y, max(w, 0.5), max(h, 0.5)], "area": 1.0, "iscrowd": int(rng.random() < 0.2)}
        if x < 59 and y < 39 and x + w > 1 and y + h > 1:  # what lies outside the image is the core's matter alone
            annotations.append({"id": number, "image_id": int(rng.choice([5, 2, 4])), "category_id": int(rng.choice(ids)), **one})
    coco = {"images": images, "categories": [{"id": i, "name": str(i)} for i in ids], "annotations": annotations}
    (tmp_path / "x.json").write_text(json.dumps(coco))
    for image in images:
        Image.new("RGB", (60, 40)).save(tmp_path / image["file_name"])
    found = own.read_coco(coco)
    for sample in CocoDataset(tmp_path / "x.json", tmp_path, train=False):
        for name in ("boxes", "labels", "ignored"):
            mine = torch.tensor(found[sample["image_id"]][name]).reshape(sample[name].shape)
            assert torch.allclose(mine.float(), sample[name].float(), atol=1e-4)


@of("01_data_and_boxes")
def batches(own: SimpleNamespace) -> None:
    detector = fsaf.build_detector(fsaf.presets.get("tiny").model)
    for sizes in ([(40, 70)], [(33, 64), (64, 33), (1, 1)], [(96, 96), (96, 97)]):
        images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
        mine = own.pad_batch([own.normalise(image) for image in images])
        assert torch.allclose(mine, detector.preprocess(images).tensor, atol=1e-5)
    for height, width in torch.randint(1, 3000, (200, 2)).tolist():
        assert own.fit(height, width) == resized_size(height, width, 800, 1333)


@pytest.mark.parametrize(("notebook", "comparison"), COMPARISONS, ids=[f"{one}-{what.__name__}" for one, what in COMPARISONS])
def test_own_version_equals_the_core(notebook: str, comparison: Callable[..., None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    wants_folder = "tmp_path" in comparison.__annotations__
    comparison(definitions(notebook), *([tmp_path] if wants_folder else []))
