"""A detector on a validation set: boxes in the files' pixels, each image once, all results in files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsaf_core.config import Config, DataConfig, EvaluateConfig, FSAFError, ModelConfig
from fsaf_core.data.loader import Loader, open_dataset
from fsaf_core.evaluation.coco_metrics import COCO_METRICS, to_coco_results
from fsaf_core.evaluation.evaluator import detect_tta, evaluate
from fsaf_core.model.detector import build_detector

MODEL = ModelConfig(
    class_names=("cat", "dog"), backbone="tiny", backbone_norm="batch", frozen_stages=0, last_level=6, channels=16, tower_depth=1,
    short_side=96, long_side=160, heuristic_size=32.0, heuristic_level=4,
)  # fmt: skip


def make_set(folder, number=7):
    """Images of odd sizes, so that the two axes are resized by different factors; image 3 has no box, image 2 a crowd."""
    rng, images, annotations = np.random.default_rng(0), [], []
    (folder / "images").mkdir()
    for image_id in range(1, number + 1):
        width, height = (61 + 7 * image_id, 45 + 5 * image_id)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            folder / "images" / f"{image_id}.png"
        )
        images.append(
            {"id": image_id, "file_name": f"{image_id}.png", "width": width, "height": height}
        )
        for crowd in [0, 0, 1][: 0 if image_id == 3 else 3 if image_id == 2 else 2]:
            x, y, w, h = (
                int(value) for value in (*rng.integers(0, 20, 2), *rng.integers(9, 40, 2))
            )
            row = {
                "image_id": image_id,
                "category_id": 5 + 4 * int(rng.integers(2)),
                "bbox": [x, y, w, h],
                "area": w * h,
            }
            annotations.append({**row, "iscrowd": crowd, "id": len(annotations) + 1})
    categories = [{"id": 9, "name": "dog"}, {"id": 5, "name": "cat"}]
    (folder / "val.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return Config(
        model=MODEL,
        data=DataConfig(
            source="files",
            val_json=str(folder / "val.json"),
            val_images=str(folder / "images"),
            workers=0,
        ),
        evaluate=EvaluateConfig(batch_size=3),
    )


@pytest.fixture
def config(tmp_path):
    return make_set(tmp_path)


def loader_of(config, rank=0, world=1):
    return Loader(
        open_dataset(config.data, "val"), config, training=False, rank=rank, world_size=world
    )


def seeded(model):
    torch.manual_seed(0)
    detector = build_detector(model)
    with torch.no_grad():  # scores above the threshold, boxes of some size
        for parameter in detector.parameters():
            if parameter.ndim == 1 and len(parameter) == 2:
                parameter.fill_(-1.0)
            if parameter.ndim == 1 and len(parameter) == 4:
                parameter.fill_(0.7)
    return detector


def tell_the_truth(detector, loader, monkeypatch):
    """Lets the detector find every object, in whatever pixels it is asked for."""
    truth = iter([target for batch in list(loader.epoch()) for target in batch.targets])

    def postprocess(outputs, sizes, scales):
        found = []
        for size, scale in zip(sizes, scales, strict=True):
            target = next(truth)
            assert target["size"] == tuple(
                round(side / factor) for side, factor in zip(size, scale[::-1], strict=True)
            )
            scores = torch.full((len(target["labels"]),), 0.9)
            found.append(
                {
                    "boxes": target["boxes"] / torch.tensor(scale * 2),
                    "scores": scores,
                    "labels": target["labels"],
                }
            )
        return found

    monkeypatch.setattr(detector, "postprocess", postprocess)


def test_true_boxes_give_an_ap_of_one_in_the_files_pixels(config, monkeypatch):
    loader, detector = loader_of(config), seeded(MODEL)
    tell_the_truth(detector, loader, monkeypatch)
    record = evaluate(detector, loader)
    assert record.metrics["AP"] == 1.0 and record.metrics["images"] == 7
    assert (
        record.metrics["missed"]["found"]
        == record.metrics["missed"]["instances"]
        == record.metrics["instances"]
        == 12
    )
    annotations = [
        row
        for row in json.loads(Path(config.data.val_json).read_text())["annotations"]
        if not row["iscrowd"]
    ]
    wanted = sorted((row["image_id"], row["category_id"], *row["bbox"]) for row in annotations)
    given = sorted((row["image_id"], row["category_id"], *row["bbox"]) for row in record.results)
    np.testing.assert_allclose(given, wanted, atol=1e-3)


def test_classes_are_matched_by_name_and_results_carry_the_sets_ids(config, tmp_path):
    """The same objects under other ids and in another order give the same metrics."""
    detector = seeded(MODEL)
    plain = evaluate(detector, loader_of(config))
    data = json.loads(Path(config.data.val_json).read_text())
    other_id = {5: 70, 9: 2}  # so "dog" comes first
    for row in data["annotations"]:
        row["category_id"] = other_id[row["category_id"]]
    for row in data["categories"]:
        row["id"] = other_id[row["id"]]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(data))
    swapped = replace(config, data=replace(config.data, val_json=str(path)))
    other = evaluate(detector, loader_of(swapped))
    assert [{**row, "category_id": other_id[row["category_id"]]} for row in plain.results] == (
        other.results
    )
    assert {name: plain.metrics[name] for name in COCO_METRICS} == {
        name: other.metrics[name] for name in COCO_METRICS
    }
    assert plain.metrics["missed"] == other.metrics["missed"]
    assert plain.levels == other.levels and plain.pictures == other.pictures


def test_a_set_of_other_classes_is_refused_with_their_names(config):
    detector = seeded(replace(MODEL, class_names=("cat", "horse")))
    words = r"the detector has 2 .*val\.json has 2: 'horse' is only .*'dog' is only"
    with pytest.raises(FSAFError, match=words):
        evaluate(detector, loader_of(config))
    unnamed = seeded(replace(MODEL, class_names=("class_0", "class_1")))
    assert evaluate(unnamed, loader_of(config)).pictures["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize("convention", ["paper", "reference"])
@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_predict_and_evaluate_agree_at_any_batch_size(convention, batch_size, config):
    """Padding enters group norms, so only images of equal padded size may share a batch."""
    detector = seeded(replace(MODEL, convention=convention, tower_norm="group"))
    sized = replace(config, model=detector.config, evaluate=EvaluateConfig(batch_size=batch_size))
    results = evaluate(detector, loader_of(sized)).results
    ids = loader_of(sized).dataset.index.category_ids
    for image_id in range(1, 8):
        found = detector.predict(Path(config.data.val_images) / f"{image_id}.png")
        ours = [row for row in results if row["image_id"] == image_id]
        wanted = to_coco_results([image_id], [found], ids)
        assert [row["category_id"] for row in ours] == [row["category_id"] for row in wanted]
        assert [row["score"] for row in ours] == pytest.approx(
            [row["score"] for row in wanted], abs=1e-5
        )
        np.testing.assert_allclose(
            [row["bbox"] for row in ours], [row["bbox"] for row in wanted], atol=1e-3
        )


def test_the_detector_stays_in_its_mode_and_unchanged(config):
    detector = seeded(MODEL).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    evaluate(detector, loader_of(config), thorough=False)
    assert detector.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert (
        evaluate(detector.eval(), loader_of(config), thorough=False).results
        and not detector.training
    )


@pytest.mark.parametrize("branches", ["anchor_free", "anchor_based", "joint"])
def test_every_object_has_a_level_and_an_outcome(config, branches):
    record = evaluate(seeded(replace(MODEL, branches=branches)), loader_of(config))
    missed = record.metrics["missed"]
    assert missed["instances"] == 12 == missed["found"] + sum(missed["causes"].values())
    number = 0 if branches == "anchor_based" else 12
    assert [len(column) for column in record.levels.values()] == [number] * 3
    assert set(record.levels["level"]) | set(record.levels["heuristic"]) <= {-1, 3, 4, 5, 6}


def test_the_heuristic_is_by_size_in_the_input_s_pixels(config):
    levels = evaluate(seeded(MODEL), loader_of(config)).levels
    expected = np.clip(np.floor(4 + np.log2(np.array(levels["size"]) / 32)), 3, 6)
    assert levels["heuristic"] == expected.tolist() and len(set(levels["heuristic"])) > 1


def test_numbers_are_written_and_pictures_drawn_from_them(config, tmp_path):
    from fsaf_core.viz.plots import write_run_figures

    record = evaluate(seeded(MODEL), loader_of(config))
    record.write(tmp_path / "run")
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == record.metrics
    assert json.loads((tmp_path / "run/detections.json").read_text()) == record.results
    pictures = json.loads((tmp_path / "run/pictures.json").read_text())
    assert [Path(image["file"]).name for image in pictures["images"]] == [
        f"{number}.png" for number in range(1, 8)
    ]
    names = ["detections.png", "levels.png", "precision_recall.png", "missed.png"]
    assert [path.name for path in write_run_figures(tmp_path / "run")] == names


class TestTta:
    def test_three_scales_and_their_mirror_images_are_detected_on(self, monkeypatch):
        detector, sizes = build_detector(replace(MODEL, short_side=800, long_side=1333)).eval(), []

        def postprocess(outputs, size, scales):
            sizes.append((*size[0], *scales[0]))
            return [
                {
                    "boxes": torch.zeros(0, 4),
                    "scores": torch.zeros(0),
                    "labels": torch.zeros(0, dtype=torch.int64),
                }
            ]

        monkeypatch.setattr(detector, "head_outputs", lambda tensor: None)
        monkeypatch.setattr(detector, "postprocess", postprocess)
        assert len(detect_tta(detector, torch.zeros(3, 40, 80, dtype=torch.uint8))["boxes"]) == 0
        # In (1333, 800), (666, 400) and (2000, 1200) an image of 1:2 is bound by its long side.
        assert [size[:2] for size in sizes] == [(667, 1333)] * 2 + [(333, 666)] * 2 + [
            (1000, 2000)
        ] * 2
        assert sizes[2][2:] == (666 / 80, 333 / 40)

    def test_mirrored_detections_come_back_and_merge(self, monkeypatch):
        detector, calls = build_detector(MODEL).eval(), []

        def postprocess(outputs, size, scales):
            calls.append(0)
            box = (
                [10.0, 5, 30, 25] if len(calls) % 2 else [50.0, 5, 70, 25]
            )  # in an image of 80: mirror images of each other
            return [
                {
                    "boxes": torch.tensor([box]),
                    "scores": torch.tensor([0.1 * len(calls)]),
                    "labels": torch.tensor([1]),
                }
            ]

        monkeypatch.setattr(detector, "postprocess", postprocess)
        found = detect_tta(detector, torch.zeros(3, 40, 80, dtype=torch.uint8))
        assert found["boxes"].tolist() == [[10, 5, 30, 25]] and found["scores"].tolist() == [
            pytest.approx(0.6)
        ]

    def test_a_whole_evaluation(self, config):
        plain = evaluate(seeded(MODEL), loader_of(config))
        many = evaluate(
            seeded(MODEL),
            loader_of(replace(config, evaluate=EvaluateConfig(batch_size=3, tta=True))),
        )
        assert (
            many.metrics["images"] == 7
            and "missed" not in many.metrics
            and many.results != plain.results
        )

    def test_it_runs_in_the_number_format_of_the_training(self, config, monkeypatch):
        detector, enabled = seeded(MODEL), []
        head_outputs = detector.head_outputs

        def spied(tensor):
            enabled.append(torch.is_autocast_enabled("cpu"))
            return head_outputs(tensor)

        monkeypatch.setattr(detector, "head_outputs", spied)
        for amp in ("none", "bf16"):
            for tta in (False, True):
                chosen = replace(config.train, amp=amp)
                evaluation = EvaluateConfig(batch_size=3, tta=tta)
                changed = replace(config, train=chosen, evaluate=evaluation)
                evaluate(detector, loader_of(changed), thorough=False)
                assert {*enabled} == {amp == "bf16"}
                enabled.clear()


def one_of_two(rank, folder, config):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.set_num_threads(1)
    record = evaluate(seeded(MODEL), loader_of(config, rank, 2))
    record.write(Path(folder) / f"rank{rank}")
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_images_and_both_hold_the_whole_record(config, tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path), config), nprocs=2)
    alone = evaluate(seeded(MODEL), loader_of(config))
    assert alone.results
    for rank in (0, 1):
        read = {
            name: json.loads((tmp_path / f"rank{rank}" / f"{name}.json").read_text())
            for name in ("metrics", "detections", "pictures")
        }
        assert read["metrics"]["missed"] == alone.metrics["missed"]
        assert (
            read["metrics"]["AP"] == pytest.approx(alone.metrics["AP"], abs=1e-6)
            and read["metrics"]["images"] == 7
        )
        assert len(read["detections"]) == len(alone.results)
        assert [image["file"] for image in read["pictures"]["images"]] == [
            image["file"] for image in alone.pictures["images"]
        ]
