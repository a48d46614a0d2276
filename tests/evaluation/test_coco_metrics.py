"""COCO metrics: equal to the libraries' for any set and any detections, and for none at all."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from fsaf_core.config import FSAFError
from fsaf_core.evaluation.coco_metrics import COCO_METRICS, coco_metrics, size_bin, to_coco_results


def annotation(image_id, category_id, box, **more):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        **more,
    }


def write_set(folder, annotations, images=(1, 2, 3, 4), categories=((3, "cat"), (7, "dog"))):
    data = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": 400, "height": 300}
            for number in images
        ],
        "annotations": [{"id": number, **row} for number, row in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def random_set(tmp_path):
    """40 objects of all sizes, a few crowds, and three jittered detections of each, some of another class, some duplicates."""
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for number in range(40):
        size = float(2 ** rng.uniform(2.5, 7.5))
        box = [*rng.uniform(0, 250, 2).tolist(), size * 1.2, size / 1.2]
        image_id, category_id = number % 4 + 1, (3, 7)[number % 2]
        annotations.append(annotation(image_id, category_id, box, iscrowd=int(number % 9 == 8)))
        for _ in range(3):
            moved = (np.array(box) + rng.normal(0, 0.1, 4) * size).tolist()
            label = category_id if rng.random() < 0.8 else 3
            results.append(
                {
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": moved,
                    "score": float(rng.random()),
                }
            )
    return write_set(tmp_path, annotations), results


def values(metrics):
    return np.array([metrics[name] for name in COCO_METRICS])


def test_the_twelve_metrics_are_those_of_pycocotools(random_set):
    path, results = random_set
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes([dict(row) for row in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = coco_metrics(path, results, library="pycocotools")
    assert 0.05 < metrics["AP"] < 0.9
    np.testing.assert_allclose(values(metrics), evaluation.stats, atol=1e-12)
    by_class = [row["AP"] for row in metrics["by_class"].values()]
    assert np.mean(by_class) == pytest.approx(metrics["AP"])
    assert np.mean(metrics["precision_recall"]["mean"]) == pytest.approx(metrics["AP"], abs=1e-4)


def test_faster_coco_eval_gives_the_same_metrics(random_set):
    pytest.importorskip("faster_coco_eval")
    path, results = random_set
    slow, fast = coco_metrics(path, results, library="pycocotools"), coco_metrics(path, results)
    np.testing.assert_allclose(values(fast), values(slow), atol=1e-12)
    for part in ("by_class", "by_size"):
        for name, row in slow[part].items():
            assert fast[part][name] == pytest.approx(row), name
    assert fast["precision_recall"] == slow["precision_recall"]


@pytest.mark.parametrize("library", ["pycocotools", None])
def test_no_detection_at_all_gives_zeros(random_set, library):
    metrics = coco_metrics(random_set[0], [], library=library)
    assert metrics["AP"] == metrics["AR100"] == metrics["by_class"]["cat"]["AP50"] == 0.0
    assert metrics["instances"] == 36  # of 40, 4 are crowds


def test_perfect_detections_give_one_and_a_size_that_is_not_there_minus_one(tmp_path):
    rows = [annotation(1, 3, [10, 10, 40, 40]), annotation(2, 7, [0, 0, 50, 60])]
    path = write_set(tmp_path, rows)
    results = [
        {name: row[name] for name in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for row in rows
    ]
    metrics = coco_metrics(path, results)
    assert (metrics["AP"], metrics["APm"], metrics["AR1"]) == (1.0, 1.0, 1.0)
    assert (metrics["APs"], metrics["APl"]) == (-1.0, -1.0)
    assert metrics["precision_recall"]["0.75"] == [1.0] * 101


def test_a_size_bin_includes_its_lower_end_and_not_its_upper(tmp_path):
    assert [size_bin(side**2) for side in (0, 7.9, 8, 15.9, 16, 640)] == [
        "0-8",
        "0-8",
        "8-16",
        "8-16",
        "16-32",
        "512-1024",
    ]
    rows = [annotation(1, 3, [10, 10, 16, 16]), annotation(1, 3, [100, 100, 8, 8])]
    found = {"image_id": 1, "category_id": 3, "bbox": [10, 10, 16, 16], "score": 0.9}
    metrics = coco_metrics(write_set(tmp_path, rows), [found])
    assert metrics["by_size"] == {
        "8-16": {"AP": 0.0, "AP50": 0.0, "instances": 1},
        "16-32": {"AP": 1.0, "AP50": 1.0, "instances": 1},
    }


def test_only_the_evaluated_images_count(random_set):
    path, results = random_set
    results = [row for row in results if row["image_id"] in (2, 3)]
    some = coco_metrics(path, results, image_ids=[2, 3])
    data = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            data
            | {
                "images": data["images"][1:3],
                "annotations": [row for row in data["annotations"] if row["image_id"] in (2, 3)],
            }
        )
    )
    alone = coco_metrics(path, results)
    assert some == alone and some["images"] == 2 and some["instances"] < 36


def test_own_data_may_leave_out_area_and_iscrowd_and_number_from_zero(tmp_path):
    row = {"id": 0, "image_id": 1, "category_id": 3, "bbox": [10, 10, 40, 40]}
    found = {"image_id": 1, "category_id": 3, "bbox": [10, 10, 40, 40], "score": 0.9}
    metrics = coco_metrics(write_set(tmp_path, [row]), [found])
    assert (
        metrics["AP"] == 1.0
    )  # pycocotools alone says 0: it takes a match with annotation 0 for none


def test_faults_of_the_files_are_said_in_a_sentence(tmp_path):
    with pytest.raises(FSAFError, match=r"absent.json cannot be read"):
        coco_metrics(tmp_path / "absent.json", [])
    broken = tmp_path / "broken.json"
    broken.write_text('{"images": []')
    with pytest.raises(FSAFError, match=r"broken\.json is malformed"):
        coco_metrics(broken, [])
    stranger = {"image_id": 99, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1.0}
    with pytest.raises(FSAFError, match="names image 99"):
        coco_metrics(write_set(tmp_path, []), [stranger])


def test_results_are_x_y_w_h_with_the_set_s_own_ids():
    found = {
        "boxes": torch.tensor([[10.0, 20.0, 30.5, 60.0]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
    }
    nothing = {
        "boxes": torch.zeros(0, 4),
        "scores": torch.zeros(0),
        "labels": torch.zeros(0, dtype=torch.int64),
    }
    assert to_coco_results([8, 9], [nothing, found], (3, 7)) == [
        {"image_id": 9, "category_id": 7, "bbox": [10.0, 20.0, 20.5, 40.0], "score": 0.5}
    ]
    found["boxes"] = found["boxes"].double()
    to_coco_results([9], [found], (3, 7))
    assert found["boxes"][0, 2] == 30.5  # the detections themselves stay as they were


def test_the_libraries_stay_silent(random_set, capsys):
    coco_metrics(*random_set, library="pycocotools")
    assert capsys.readouterr().out == ""


def test_results_keep_every_digit_of_boxes_and_scores():
    """AP moves in the fourth digit where boxes are rounded to thousandths of a pixel."""
    boxes = torch.tensor([[1.23456789, 2.3456789, 33.456789, 44.56789]])
    found = {"boxes": boxes, "scores": torch.tensor([0.123456789]), "labels": torch.tensor([0])}
    (row,) = to_coco_results([7], [found], [3])
    x1, y1, x2, y2 = boxes[0].tolist()
    assert row["bbox"] == [x1, y1, x2 - x1, y2 - y1] and row["score"] == found["scores"].item()
