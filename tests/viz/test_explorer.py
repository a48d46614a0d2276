"""The explorer without a browser: it shows what training assigns; its files, pictures and notes."""

import dataclasses
import json
import random
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.method.losses import iou_loss
from fsaf_core.model.structures import HeadOutputs
from fsaf_core.viz.widgets.assignment_view import CROWD, ERASED, UNDER_CROWD, Snapshots, explore
from fsaf_core.viz.widgets.explorer import Explorer, PopulationItem, population_points

TINY = fsaf.presets.get("tiny").model
SIZE = (128, 128)


def detector(seed: int = 0, **changes) -> fsaf.Detector:
    torch.manual_seed(seed)
    made = fsaf.build_detector(dataclasses.replace(TINY, **changes)).eval()
    for output in (made.network.head.af_cls, made.network.head.af_box):
        torch.nn.init.normal_(output.weight, std=0.3)  # outputs that differ between locations
    return made


def photo(height: int = 128, width: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def snapshots() -> Snapshots:
    return Snapshots.of({10 * seed: detector(seed) for seed in range(3)}, photo())


def any_switches(chance: random.Random) -> dict:
    switches = {
        "convention": chance.choice(["paper", "reference"]),
        "selection": chance.choice(["online", "heuristic"]),
        "effective_scale": chance.choice([0.2, 0.05, 0.4]),
        "ignoring_scale": chance.choice([None, 0.5, 0.8]),
        "cell_center": chance.choice([None, 0.0, 0.5]),
        "region_rounding": chance.choice([None, "floor_ceil", "overlap"]),
        "ignore_levels": chance.choice([None, "adjacent", "all"]),
        "same_class_overlap": chance.choice([None, "smaller_wins", "erase"]),
        "selection_focal": chance.choice(["all", "own"]),
    }
    if switches["effective_scale"] > 0.2 and switches["ignoring_scale"] is None:
        switches["ignoring_scale"] = 0.9
    return switches


def any_outputs(seed: int, height: int, width: int) -> HeadOutputs:
    """Outputs as in the middle of a training: scores about 0.1, distances up to 4 strides."""
    sides = [-(-side // 32) * 32 for side in (height, width)]
    shapes = [[-(-side // stride) for side in sides] for stride in TINY.strides]
    random = torch.Generator().manual_seed(seed)
    logits = [torch.randn(1, 6, *shape, generator=random).half() * 2 - 2 for shape in shapes]
    return HeadOutputs(
        logits, [torch.rand(1, 4, *shape, generator=random).half() for shape in shapes]
    )


def any_boxes(chance: random.Random, count: int, height: int, width: int) -> list[list[float]]:
    boxes = []
    for _ in range(count):
        w, h = (2 ** chance.uniform(1, 7) for _ in range(2))
        x, y = chance.uniform(-w / 2, width - w / 2), chance.uniform(-h / 2, height - h / 2)
        boxes.append([x, y, x + w, y + h])
    return boxes


@pytest.mark.parametrize("seed", range(200))
def test_every_number_is_what_the_detector_assigns(seed: int) -> None:
    """Random boxes, crowds, image sizes, switches and branches, compared with `Detector.assign`."""
    chance = random.Random(seed)
    height, width = chance.choice([(128, 128), (128, 128), (96, 200), (65, 33)])
    boxes = any_boxes(chance, chance.randint(1, 7), height, width)
    labels = [chance.randrange(-1, 2) if chance.random() < 0.9 else 5 for _ in boxes]
    config = dataclasses.replace(
        TINY, branches=chance.choice(["anchor_free", "joint"]), **any_switches(chance)
    )
    outputs = any_outputs(seed, height, width)
    selected = chance.randrange(len(boxes))
    answers = [
        explore((height, width), boxes, labels, outputs, config, selected, whole)
        for whole in (False, True)
    ]

    instances, crowds = (
        [i for i, label in enumerate(labels) if (label == CROWD) == crowd]
        for crowd in (False, True)
    )
    target = {"boxes": torch.tensor([boxes[i] for i in instances]).view(-1, 4)}
    target |= {"labels": torch.tensor([labels[i] for i in instances]).long()}
    target |= {"ignored": torch.tensor([boxes[i] for i in crowds]).view(-1, 4)}
    with torch.device("meta"):  # no weights: `assign` sees only the outputs
        meta_detector = fsaf.build_detector(config)
    truth = meta_detector.assign(outputs, [target], [(height, width)])
    chosen = [level + 3 if level >= 0 else -1 for level in truth.selected_level.tolist()]
    row = instances.index(selected) if selected in instances else None
    start = 0
    for index, (now, after) in enumerate(zip(*(answer["levels"] for answer in answers))):
        here = slice(start, start + now["rows"] * now["columns"])
        start = here.stop
        assert (now["level"], now["stride"], now["rows"]) == (
            index + 3,
            8 * 2**index,
            outputs.cls_logits[index].shape[2],
        )
        assert [answer["selected"][i] for answer in answers for i in instances] == chosen * 2
        positive = [code == "2" for code in after["codes"]]
        assert positive == truth.positive[0, here].tolist()
        assigned = truth.before_selection[0, here]
        for cell, entry in after["cells"].items():
            assert entry[0] == instances[int(assigned[cell])]
        if row is None:
            assert now["loss"] is None and now["taught"] is None
            continue
        loss = float(truth.level_losses[row, index])
        assert now["loss"] == (loss if loss < float("inf") else None)
        assert [code == "2" for code in now["codes"]] == (assigned == row).tolist()
        assert [code in "23" for code in now["codes"]] == truth.effective[row, here].tolist()
        assert [code != "0" for code in now["codes"]] == truth.ignoring[row, here].tolist()
        own = [entry for entry in now["cells"].values() if len(entry) == 4]
        if own:
            assert now["focal"] + now["iou"] == pytest.approx(loss, rel=1e-5)
            for part, name in ((1, "focal"), (2, "iou")):
                assert np.mean([entry[part] for entry in own]) == pytest.approx(now[name], abs=2e-5)
        for cell, entry in now["cells"].items():
            instance = int(assigned[cell])
            covered = truth.valid is not None and not truth.valid[0, here][cell]
            assert entry[0] == (
                instances[instance] if instance >= 0 else UNDER_CROWD if covered else ERASED
            )


def test_a_location_s_numbers_are_its_own_losses(snapshots) -> None:
    """One location by hand: a box of 40 px around a location of P5, its IoU loss and focal loss."""
    outputs, box = snapshots.outputs[0], [28.0, 28.0, 68.0, 68.0]
    level = explore(SIZE, [box], [2], outputs, TINY)["levels"][2]
    index, focal, iou, predicted = level["cells"][5]
    l, t, r, b = (float(v) * 4 * 32 for v in outputs.box_offsets[2][0, :, 1, 1])
    decoded = torch.tensor([48 - l, 48 - t, 48 + r, 48 + b])
    p = outputs.cls_logits[2][0, :, 1, 1].double().sigmoid()
    own = -0.25 * (1 - p[2]) ** 2 * p[2].log()
    others = sum(-0.75 * q**2 * (1 - q).log() for q in p[[0, 1, 3, 4, 5]])
    assert index == 0 and predicted == pytest.approx(decoded.tolist(), abs=1e-3)
    assert iou == pytest.approx(float(iou_loss(decoded, torch.tensor(box))), abs=1e-5)
    assert focal == pytest.approx(float(own + others), abs=1e-5)


def test_what_a_level_is_taught(snapshots) -> None:
    """Paper: ignored next to the selected level only. MMDetection: ignored at all others."""
    box = [[30.0, 30.0, 94.0, 94.0]]
    for convention, kind in (("paper", "negative"), ("reference", "ignored")):
        config = dataclasses.replace(TINY, convention=convention, region_rounding="floor_ceil")
        answer = explore(SIZE, box, [0], snapshots.outputs[0], config)
        (winner,) = answer["selected"]
        for level in answer["levels"]:
            distance = abs(level["level"] - winner)
            assert level["taught"] == (
                "positive" if distance == 0 else "ignored" if distance == 1 else kind
            )


def test_answers_are_small() -> None:
    """At most 100 kB for 100 boxes on 1333 x 800 px."""
    large = dataclasses.replace(TINY, last_level=7, effective_scale=1.0, ignoring_scale=1.0)
    shapes = [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
    outputs = HeadOutputs(
        [torch.zeros(1, 6, *s) for s in shapes], [torch.ones(1, 4, *s) for s in shapes]
    )
    for whole in (False, True):
        answer = explore(
            (800, 1333),
            any_boxes(random.Random(2), 100, 800, 1333),
            [1] * 100,
            outputs,
            large,
            3,
            whole,
        )
        assert len(json.dumps(answer)) < 100_000


@pytest.mark.parametrize(
    ("boxes", "labels", "sentence"),
    [
        ([[20, 20, 20, 60]], [0], "Box 0 has no area"),
        ([[60, 60, 20, 20]], [0], "Box 0 has no area"),
        ([[-50, 10, -1, 40]], [0], "Box 0 lies outside the image"),
        ([[0, 0, float("nan"), 5]], [0], "Box 0 is not finite"),
        ([[0, 0, 50, 50]], [6], "Box 0 has class 6, and there are 0 to 5"),
        ([[5, 5, 90, 90]] * 101, [0] * 101, "101 boxes are more"),
        ([[40, 40, 80, 80], [40, 40, 80, 80]], [0, 0], "Box 0 has no location at any level"),
    ],
)
def test_odd_boxes_get_a_sentence_and_no_level(snapshots, boxes, labels, sentence) -> None:
    answer = explore(SIZE, boxes, labels, snapshots.outputs[0], TINY)
    assert any(note.startswith(sentence) for note in answer["notes"]), answer["notes"]
    assert len(answer["selected"]) == len(boxes) and (
        answer["selected"][0] == -1 or len(boxes) > 100
    )
    json.dumps(answer, allow_nan=False)


def test_without_a_network_there_are_regions_and_a_sentence() -> None:
    answer = explore(SIZE, [[20, 20, 60, 60]], [0], None, TINY)
    assert [level["loss"] for level in answer["levels"]] == [None] * 4
    assert all("2" in level["codes"] for level in answer["levels"])
    assert (answer["selected"], answer["online"], answer["heuristic"]) == ([-1], [-1], [4])
    by_size = dataclasses.replace(TINY, selection="heuristic")
    answer = explore(SIZE, [[20, 20, 60, 60]], [0], None, by_size)
    assert (answer["selected"], answer["online"], answer["heuristic"]) == ([4], [-1], [4])
    assert answer["notes"][0].startswith("No snapshots:")


def test_odd_images_get_a_sentence() -> None:
    assert "long and narrow" in explore((20, 4000), [[5, 5, 900, 15]], [0], None, TINY)["notes"][0]
    answer = explore((3000, 4000), [[5, 5, 900, 15]], [0], None, TINY)
    assert answer["levels"] == [] and "2 megapixels" in answer["notes"][0]


def test_no_boxes_at_all(snapshots) -> None:
    answer = explore(SIZE, [], [], snapshots.outputs[0], TINY)
    assert answer["selected"] == [] and {
        code for level in answer["levels"] for code in level["codes"]
    } == {"0"}


def test_snapshots_come_back_from_their_file(snapshots, tmp_path) -> None:
    path = tmp_path / "snapshots.npz"
    snapshots.save(path)
    again = Snapshots.load(path)
    assert (again.config, again.steps) == (snapshots.config, snapshots.steps)
    assert np.array_equal(again.numbers, snapshots.numbers) and snapshots.numbers.shape == (
        3,
        10,
        340,
    )
    one, other = (
        explore(SIZE, [[9, 9, 70, 50]], [1], kept.outputs[2], TINY) for kept in (snapshots, again)
    )
    assert one == other


def test_snapshots_of_another_kind_are_refused(tmp_path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(fsaf.FSAFError, match="not a readable file of snapshots"):
        Snapshots.load(path)
    for content in (b"", b"PK\x03\x04 nothing", b"junk"):
        path.write_bytes(content)
        with pytest.raises(fsaf.FSAFError, match="not a readable file of snapshots"):
            Snapshots.load(path)
    with pytest.raises(fsaf.FSAFError, match="anchor-free branch"):
        Snapshots.of(
            {0: fsaf.build_detector(dataclasses.replace(TINY, branches="anchor_based"))}, photo()
        )


# The widget, without a browser


@pytest.fixture
def explorer(snapshots) -> Explorer:
    return Explorer(photo(), [[24, 28, 68, 76], [60, 60, 110, 100]], [0, 3], snapshots)


def ask(explorer: Explorer, **patch) -> dict:
    """Send what the screen sends when the reader does something, and return the answer."""
    stamp = f"test {explorer.state['stamp']}"
    explorer.set_state({"state": {**explorer.state, **patch, "stamp": stamp}})
    return explorer.answer


def test_the_widget_answers_what_explore_says(explorer, snapshots) -> None:
    boxes = [[10.25, 20.5, 70, 90]]
    answer = ask(explorer, boxes=boxes, labels=[2], selected=0, snapshot=1)
    assert answer == {"stamp": explorer.state["stamp"]} | explore(
        SIZE, boxes, [2], snapshots.outputs[1], TINY
    )
    switches = explorer.state["switches"] | {"convention": "reference", "effective_scale": 0.1}
    answer = ask(explorer, switches=switches, mode="image")
    config = dataclasses.replace(TINY, convention="reference", effective_scale=0.1)
    assert answer == {"stamp": explorer.state["stamp"]} | explore(
        SIZE, boxes, [2], snapshots.outputs[1], config, 0, whole=True
    )


def test_bad_states_show_a_sentence(explorer, snapshots) -> None:
    assert (
        "it must lie"
        in ask(explorer, switches=explorer.state["switches"] | {"effective_scale": 0.9})["notes"][0]
    )
    assert "<svg" in str(explorer.picture())
    assert ask(explorer, switches={}, boxes=[[5, 5, 5, 5]], labels=[0])["notes"][0].startswith(
        "Box 0 has no area"
    )
    for image in (photo(20, 4000), photo(1500, 1500)):
        explorer = Explorer(image, [[5, 5, 90, 15]], [0], config=TINY)
        assert explorer.answer["notes"] and "svg" in str(explorer.picture())
    assert (
        Explorer(photo(), config=TINY).picture().alt
        == "0 boxes: P3 learns 0, P4 learns 0, P5 learns 0, P6 learns 0."
    )


def test_a_notebook_stores_the_same_bytes_each_time(explorer, snapshots) -> None:
    again = Explorer(
        photo(),
        torch.tensor([[24.0, 28, 68, 76], [60, 60, 110, 100]]),
        torch.tensor([0, 3]),
        snapshots,
    )
    bundles = [one._repr_mimebundle_()[0] for one in (explorer, again)]
    stored = [
        {
            kind: data
            for kind, data in bundle.items()
            if kind != "application/vnd.jupyter.widget-view+json"
        }
        for bundle in bundles
    ]
    assert stored[0] == stored[1] and set(stored[0]) == {"text/plain", "image/svg+xml"}
    assert stored[0]["text/plain"] == "Explorer: 128 x 128 px, 2 boxes, P3..P6, 3 snapshots"
    assert len(stored[0]["image/svg+xml"]) < 100_000
    ask(again, boxes=[[24, 28, 69, 76], [60, 60, 110, 100]])
    assert str(again.picture()) != stored[0]["image/svg+xml"]


def test_the_picture_says_in_words_what_it_shows(explorer) -> None:
    level = explorer.answer["levels"][1]
    words = explorer.picture().alt
    assert words.startswith("Box 0, circle, one of 2.") and f"P4 {level['loss']:.3f}" in words
    assert f"Selected: P{explorer.answer['selected'][0]}" in words


def test_a_point_of_the_population_opens_its_instance() -> None:
    """Each box is a point; a click on it opens its image with its boxes and outputs."""
    detectors = {10 * seed: detector(seed) for seed in (1, 2)}
    population = [
        PopulationItem(photo(seed=seed), any_boxes(random.Random(seed), 3, *SIZE), [0, 1, 2])
        for seed in range(4)
    ]
    explorer = Explorer(
        photo(), [[24, 28, 68, 76]], [0], detectors=detectors, population=population
    )
    points = ask(explorer, mode="population", snapshot=0)["points"]
    assert [point[1:3] for point in points] == [
        [image, box] for image in range(4) for box in range(3)
    ]
    ask(explorer, open=[2, 1], mode="instance")
    assert (
        explorer.state["boxes"] == np.round(population[2].boxes, 4).tolist()
        and explorer.state["selected"] == 1
    )
    assert "open" not in explorer.state and explorer.answer["stamp"] == explorer.state["stamp"]
    x1, y1, x2, y2 = population[2].boxes[1]
    assert points[7][0] == pytest.approx(((x2 - x1) * (y2 - y1)) ** 0.5, abs=0.01)
    for snapshot in (0, 1):
        assert ask(explorer, snapshot=snapshot)["selected"][1] == points[7][3][snapshot]
    assert population_points(detectors, population) == points


def test_the_page_needs_no_host_and_is_small(explorer, tmp_path) -> None:
    """As large as the course's own: 12 snapshots of a 128 px image."""
    path = tmp_path / "explorer.html"
    twelve = dataclasses.replace(
        explorer.snapshots, steps=tuple(range(12)), outputs=explorer.snapshots.outputs * 4
    )
    Explorer(photo(), [[24, 28, 68, 76]], [0], twelve).save_html(path)
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 500_000
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
    }


def test_the_page_of_a_population_and_of_its_images_stands_alone(tmp_path) -> None:
    """Without Python the population's points are stored, and no other image can be opened."""
    explorer = Explorer(
        photo(),
        [],
        [],
        detectors={5: detector()},
        population=[PopulationItem(photo(seed=1), [[9, 9, 60, 60]], [1])],
    )
    points = ask(explorer, mode="population")["points"]
    for patch, mode in (({}, "population"), ({"open": [0, 0]}, "instance")):
        ask(explorer, **patch)
        explorer.save_html(tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        page = json.loads(re.findall('id="fsaf-page">(.*?)</script>', text)[0])
        assert (page["setup"]["home"], page["setup"]["population"]) == (True, 0)
        assert (page["state"]["mode"], page["setup"]["points"]) == (mode, points)
    assert points[0][1:3] == [0, 0] and points[0][3][0] in range(3, 7)


def test_the_readme_s_picture_is_what_the_explorer_draws() -> None:
    """tests/notebooks/make_explorer_picture.py writes it."""
    maker = runpy.run_path(
        str(Path(__file__).parents[1] / "notebooks" / "make_explorer_picture.py")
    )
    assert maker["FILE"].read_text(encoding="utf-8") == maker["picture"]()
    assert maker["FILE"].stat().st_size < 200_000


def test_reset_brings_the_first_image_back() -> None:
    """The screen asks for image -1 after a point of the population has opened another."""
    explorer = Explorer(
        photo(),
        [[24, 28, 68, 76]],
        [0],
        detectors={5: detector()},
        population=[PopulationItem(photo(seed=1), [[9, 9, 60, 60]], [1])],
    )
    first = explorer.setup["image"]
    ask(explorer, open=[0, 0])
    assert explorer.setup["image"] != first and not explorer.setup["home"]
    ask(explorer, open=[-1, -1])
    assert explorer.setup["image"] == first and explorer.setup["home"]
    assert (
        explorer.state["boxes"] == [[24, 28, 68, 76]]
        and explorer.answer["stamp"] == explorer.state["stamp"]
    )
