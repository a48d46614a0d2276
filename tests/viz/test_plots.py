"""Figures: colors for every reader, SVG that is the same to the byte, the figures of a run."""

import io
import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from fsaf_core.config import SCENE_CLASSES
from fsaf_core.viz import plots
from fsaf_core.viz.colors import DARK, LIGHT, contrast, contrast_color
from fsaf_core.viz.svg import REGION_NAMES, Axes, Svg, median_cut, number, png

# Linear RGB as a dichromat sees it: Machado, Oliveira and Fernandes, 2009.
SIGHT = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def run(code):
    """Return what a new Python process prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def linear(color):
    value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Return the CIE L*a*b* of linear RGB."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x = to_xyz @ np.clip(rgb, 0, 1) / (0.9505, 1, 1.089)
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
class TestPalette:
    def test_levels_differ_for_every_reader_and_in_gray(self, theme):
        assert len(theme.levels) == 5
        for sight in SIGHT.values():
            seen = [lab(np.array(sight) @ linear(color)) for color in theme.levels]
            assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20
        lightness = [lab(linear(color))[0] for color in theme.levels]
        assert (
            min(a - b for a, b in itertools.pairwise(lightness)) > 9
        )  # from P3 to P7 always darker
        # What lies beside a level's color is the page, or ignored locations drawn in its color.
        assert min(contrast(color, theme.paper) for color in theme.levels) >= 3

    def test_a_level_has_one_hue_in_both_themes(self, theme):
        for light, dark in zip(LIGHT.levels, DARK.levels):
            a, b = (np.arctan2(*lab(linear(color))[:0:-1]) for color in (light, dark))
            turn = abs((a - b + np.pi) % (2 * np.pi) - np.pi)
            assert turn < np.pi / 5, (light, dark)  # hues of neighbors lie further apart

    def test_regions_differ_in_gray_and_in_hatch(self, theme):
        kinds = [theme.regions[name] for name in ("effective", "ignoring", "negative")]
        lightness = [lab(linear(kind.fill))[0] for kind in kinds]
        assert min(abs(a - b) for a, b in itertools.combinations(lightness, 2)) > 15
        assert len({theme.regions[name].hatch for name in REGION_NAMES}) == 4

    def test_text_reads_on_every_color(self, theme):
        assert contrast(theme.ink, theme.paper) > 7 and contrast(theme.muted, theme.paper) > 4.5
        assert (
            min(contrast(contrast_color(color), color) for color in theme.classes + theme.levels)
            > 4.5
        )

    def test_contrast_is_that_of_wcag(self, theme):
        assert contrast("#000000", "#ffffff") == pytest.approx(21)
        assert contrast("#777777", "#ffffff") == pytest.approx(
            4.478, abs=1e-3
        )  # just too little for text

    def test_levels_and_classes_are_found_by_their_number(self, theme):
        assert (
            theme.level(3) == theme.levels[0]
            and theme.level(7) == theme.levels[4]
            and theme.level(-1) == theme.muted
        )
        assert theme.label(0) == theme.label(len(theme.classes))


def sample_drawing():
    pixels = (np.arange(8 * 8 * 3).reshape(8, 8, 3) % 251).astype(np.uint8)
    drawing = Svg(300, 120, 'A level & its "cells"')
    drawing.image(pixels, 10, 10, 80, 80)
    drawing.cells(np.arange(16).reshape(4, 4) % 4, 10, 10, 20)
    drawing.box(20, 5, 60, 60, LIGHT.label(1), "<cat> 0.9")
    Axes(drawing, 230, 10, 60, 60, [8, 16, 32], [3, 5], "size").line([8, 32], [3, 5], LIGHT.ink)
    return drawing


class TestSvg:
    def test_the_same_drawing_has_the_same_bytes_also_in_another_process(self):
        here = str(Path(__file__).parent)
        assert (
            run(
                f"import sys; sys.path.insert(0, {here!r}); import test_plots as t; print(t.sample_drawing())"
            )
            == str(sample_drawing()) + "\n"
        )

    def test_it_is_xml_with_alt_text_shown_in_notebooks(self):
        drawing = sample_drawing()
        root = ElementTree.fromstring(str(drawing))
        assert root.get("aria-label") == root[0].text == repr(drawing) == 'A level & its "cells"'
        shown, _ = DisplayFormatter().format(drawing)
        assert shown == {"image/svg+xml": str(drawing), "text/plain": 'A level & its "cells"'}
        assert "id=" not in str(drawing)  # two figures on one page never share a name

    def test_any_change_of_a_number_changes_the_bytes(self):
        plain, moved = Svg(50, 50, ""), Svg(50, 50, "")
        plain.circle(10, 10, 3)
        moved.circle(10, 10.01, 3)
        assert str(plain) != str(moved)

    def test_each_region_is_one_path(self):
        drawing = Svg(50, 50, "")
        drawing.cells(np.array([[0, 0, 0], [1, 2, 3]]), 0, 0, 10)
        paths = {
            node.get("class"): node.get("d")
            for node in ElementTree.fromstring(str(drawing)).iter()
            if node.get("class")
        }
        assert {name: d.count("z") for name, d in paths.items()} == {
            "negative": 3,
            "ignoring": 1,
            "effective": 1,
            "lost": 1,
        }
        assert paths["effective"] == "M10 10h10v10h-10z"

    def test_numbers_are_short_and_finite(self):
        assert [number(value) for value in (3.0, 3.10, -0.001, 1 / 3, 1200)] == [
            "3",
            "3.1",
            "0",
            "0.33",
            "1200",
        ]
        with pytest.raises(ValueError, match="cannot draw nan"):
            number(float("nan"))

    def test_charts_put_points_where_the_ticks_say(self):
        chart = Axes(Svg(100, 100, ""), 0, 0, 80, 80, [0, 8, 16], [0, 1])
        points = [chart.at(*point) for point in ((0, 0), (8, 0.5), (16, 1))]
        assert points == [(0, 80), (40, 40), (80, 0)]


class TestPng:
    @pytest.mark.parametrize("shape", [(1, 1), (3, 5), (300, 400)])
    def test_gray_is_exact(self, shape):
        pixels = (
            np.random.default_rng(0).integers(0, 256, (*shape, 1)).astype(np.uint8).repeat(3, 2)
        )
        assert (np.array(Image.open(io.BytesIO(png(pixels))).convert("RGB")) == pixels).all()

    def test_few_colors_are_exact_and_many_are_near(self):
        rng = np.random.default_rng(0)
        few = rng.integers(0, 256, (200, 3)).astype(np.uint8)[rng.integers(0, 200, (20, 30))]
        assert (np.array(Image.open(io.BytesIO(png(few))).convert("RGB")) == few).all()
        y, x = np.mgrid[:64, :64]
        many = np.stack([x * 4, y * 4, (x + y) * 2], 2).astype(np.uint8)
        seen = np.array(Image.open(io.BytesIO(png(many))).convert("RGB")).astype(int)
        assert np.abs(seen - many).mean() < 6
        assert len(median_cut(many.reshape(-1, 3))[0]) <= 256

    def test_only_images_are_accepted(self):
        with pytest.raises(ValueError, match="png needs pixels of shape"):
            png(np.zeros((4, 4, 3)))


def test_small_images_are_enlarged_until_names_can_be_read():
    small, large = Image.new("RGB", (128, 96)), Image.new("RGB", (640, 480))
    drawn = plots.draw_boxes(small, [[10, 10, 40, 40]], [0], [0.9], SCENE_CLASSES)
    assert drawn.size == (512, 384)
    assert drawn.getpixel((4 * 25, 4 * 40)) == tuple(
        int(LIGHT.label(0)[i : i + 2], 16) for i in (1, 3, 5)
    )  # the lower edge
    assert plots.draw_boxes(large, [], [], [], SCENE_CLASSES).size == (640, 480)
    tall = Image.new("RGB", (20, 4000))
    odd = plots.draw_boxes(tall, [[0, 0, 20, 4000], [-5, -5, 3, 2]], [0, 9], None, ["Ä"] * 10)
    assert odd.size == (20, 4000) and tall.getbbox() is None  # the picture itself is left as it was


def test_names_of_overlapping_boxes_do_not_cover_each_other():
    taken = []
    for box in ([50, 50, 90, 90], [51, 51, 91, 91], [50, 52, 90, 92]):
        taken.append(plots._place_tab(34, 13, box, taken, (200, 200)))
    for a, b in itertools.combinations(taken, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.fixture
def run_dir(tmp_path):
    """Return a folder with the numbers that training and evaluation write."""
    levels = {"P3": 5, "P4": 3, "P5": 1, "P6": 0}
    train = [
        {
            "step": step,
            "loss": 1 + 50 / step,
            "af_cls": 50 / step,
            "af_box": 1.0,
            "levels": levels,
            "dead": 0.1,
            "waiting": 0.01,
        }
        for step in (20, 40, 60)
    ]
    log = [*train, {"step": 60, "validation": {"AP": 0.2, "AP50": 0.5}}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    curve = np.linspace(1, 0, 101).tolist()
    causes = ("no cell at any level", "box too poor")
    metrics = {
        "AP": 0.2, "AP50": 0.5, "AP75": 0.1,
        "precision_recall": {"recall": curve[::-1], "0.50": curve, "0.75": curve, "mean": curve},
        "missed": {
            "instances": 9, "found": 6, "causes": {causes[0]: 1, causes[1]: 2},
            "by_size": {
                "8-16": {"instances": 5, causes[0]: 1, causes[1]: 1},
                "16-32": {"instances": 4, causes[0]: 0, causes[1]: 1},
            },
        },
    }  # fmt: skip
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "levels.json").write_text(
        json.dumps({"size": [8, 20, 50], "level": [3, -1, 5], "heuristic": [3, 3, 4]})
    )
    Image.new("RGB", (60, 40), "grey").save(tmp_path / "image.png")
    found = {"boxes": [[1, 1, 20, 20], [0, 0, 9, 9]], "labels": [0, 1], "scores": [0.9, 0.1]}
    image = {
        "file": str(tmp_path / "image.png"),
        "truth": {"boxes": [[2, 2, 20, 20]], "labels": [0]},
        "found": found,
    }
    (tmp_path / "pictures.json").write_text(
        json.dumps({"class_names": ["cat", "dog"], "images": [image] * 3})
    )
    return tmp_path


def test_a_run_is_drawn_from_its_numbers(run_dir):
    written = plots.write_run_figures(run_dir)
    assert [path.name for path in written] == [
        "detections.png",
        "losses.png",
        "levels.png",
        "precision_recall.png",
        "missed.png",
    ]
    for path in written:
        with Image.open(path) as picture:
            assert picture.text["Description"], path.name
            assert len(np.unique(np.asarray(picture.convert("L")))) > 5, path.name  # not blank
    assert plots.write_run_figures(run_dir) == written


def test_the_sheet_shows_a_file_as_the_detector_sees_it(tmp_path):
    """16 bits a pixel: Pillow alone would show all but the darkest as white."""
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(
        tmp_path / "deep.png"
    )
    nothing = {"boxes": [], "labels": [], "scores": []}
    sheet = plots.detections_beside_truth(
        [{"file": str(tmp_path / "deep.png"), "truth": nothing, "found": nothing}], ["cat"]
    )
    tile = np.asarray(sheet)[22:322, 8:308]
    assert 120 < tile.mean() < 136 and tile.std() > 60


def test_curves_show_the_log(run_dir):
    log = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    losses, validation, levels, small = plots.loss_curves(log).axes
    drawn = {
        line.get_label(): line.get_xydata().tolist()
        for ax in (losses, validation, small)
        for line in ax.lines
    }
    assert drawn["AP"] == [[60, 0.2]] and drawn["AP50"] == [[60, 0.5]]
    assert drawn["af_box"] == [[20, 1], [40, 1], [60, 1]] and drawn[
        "dead ReLUs of the box output"
    ] == [
        [20, 0.1],
        [40, 0.1],
        [60, 0.1],
    ]
    assert [part.get_label() for part in levels.collections] == ["P3", "P4", "P5", "P6"]


def test_the_row_of_objects_without_a_level_is_below_all_levels():
    """The heuristic names P3, and no object has selected it."""
    (ax,) = plots.levels_against_size([10, 20, 40], [4, -1, 5], [3, 4, 5]).axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["none", "P3", "P4", "P5"]


def test_what_a_run_did_not_write_is_not_drawn(tmp_path):
    assert plots.write_run_figures(tmp_path) == []
    (tmp_path / "log.jsonl").write_text("")
    assert [path.name for path in plots.write_run_figures(tmp_path)] == ["losses.png"]


def test_drawing_leaves_pyplot_alone(run_dir):
    code = f"import sys; from fsaf_core.viz.plots import write_run_figures as draw; draw({str(run_dir)!r})"
    assert run(code + "; print('matplotlib.pyplot' in sys.modules)") == "False\n"


def test_evaluation_imports_no_drawing():
    code = "import sys, fsaf_core, fsaf_core.evaluation.evaluator; print(sorted({'matplotlib', 'ipywidgets', 'IPython'} & sys.modules.keys()))"
    assert run(code) == "[]\n"
