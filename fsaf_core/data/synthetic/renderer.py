"""Generated scenes: an image and the known boxes of its objects.

The six classes differ in shape, and each has a range of hues that overlaps its neighbors', because
shape alone is too hard to learn from scratch. A scene is a pure function of (config, split, index):
the same settings give the same bytes, and a notebook can render a single scene.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

from ...config import SCENE_CLASSES, SceneConfig

VERSION = 2  # of the renderer; part of the folder's name, so older scenes are never reused
SUPERSAMPLE = 4  # shapes are drawn at this factor and averaged, which gives smooth edges
HUE_SPREAD = 40.0  # degrees on either side of a class's hue; the hues of the classes are 60 apart
CROWD = (5, 12)  # number of objects of one class in a crowd
MIN_CENTER_DISTANCE = 5.5  # pixels; of two closer centers, the lower object is hardly recognizable
TRIES = 30  # positions tried for an object before it is left out
Split = Literal["train", "val"]
Kind = Literal["plain", "fine", "coarse"]


class SceneObject(NamedTuple):
    """One object of a scene.

    The box is tight around the whole shape, hidden parts included, and clipped to the image.
    """

    label: int  # 0..5, SCENE_CLASSES
    box: tuple[float, float, float, float]  # x1 y1 x2 y2, pixels
    visible: float  # fraction of its pixels that no later object hides
    kind: Kind = "plain"  # what shows its class; see SceneConfig.detail


def _polygon(radii: list[float], turn: float = 0.0) -> Float[np.ndarray, "P 2"]:
    """Return corners at these distances from the origin, at equal angles."""
    angles = turn + np.arange(len(radii)) * (2 * np.pi / len(radii))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]


_ARM = 0.34  # half the width of a bar of the cross
_CORNER = np.array([[1, -_ARM], [1, _ARM], [_ARM, _ARM]])
OUTLINES: dict[str, list[np.ndarray]] = {  # the outline, then the hole if there is one
    "circle": [_polygon([1.0] * 40)],
    "square": [_polygon([1.0] * 4)],
    "triangle": [_polygon([1.0] * 3)],
    "star": [_polygon([1.0, 0.42] * 5)],
    "cross": [
        np.concatenate(
            [_CORNER @ np.array([[c, s], [-s, c]]) for c, s in [(1, 0), (0, 1), (-1, 0), (0, -1)]]
        )
    ],
    "ring": [_polygon([1.0] * 40), _polygon([0.55] * 40)],
}


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Convert hue in degrees, saturation 0..1 and value 0..1 to RGB 0..255."""
    k = (np.array([5.0, 3.0, 1.0]) + hue / 60) % 6
    return 255 * value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))


def _background(rng: np.random.Generator, size: int, clutter: int) -> np.ndarray:
    """Return a grayish texture of two low frequencies, float32 (size, size, 3).

    On it lie up to `clutter` gray strokes and blobs.
    """
    light = np.full((size, size), rng.uniform(70, 175), dtype=np.float32)
    for cells, swing in ((4, 28), (14, 14)):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
        wave = np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
        light += wave * (swing / 128) - swing
    canvas = np.clip(light[..., None] + rng.normal(0, 5, 3), 0, 255).astype(np.uint8)

    overlay = Image.new("RGBA", (2 * size, 2 * size))
    draw = ImageDraw.Draw(overlay)
    for _ in range(rng.integers(0, clutter + 1)):
        tone = _rgb(rng.uniform(0, 360), rng.uniform(0, 0.2), rng.uniform(0.15, 0.9))
        fill = (*(int(t) for t in tone), int(rng.integers(90, 220)))
        at = rng.uniform(0, 2 * size, 2)
        if rng.random() < 0.6:  # a bent stroke
            way = at + np.cumsum(rng.normal(0, 0.25 * size, (4, 2)), axis=0)
            width = int(rng.integers(2, 2 + size // 25))
            draw.line([tuple(p) for p in way], fill=fill, width=width, joint="curve")
        else:  # a blob
            outline = _polygon(list(rng.uniform(0.4, 1.0, 9)), rng.uniform(0, 7))
            blob = at + outline * rng.uniform(0.03, 0.22, 2) * 2 * size
            draw.polygon([tuple(p) for p in blob], fill=fill)
    overlay = overlay.resize((size, size), Image.Resampling.BOX)
    image = Image.alpha_composite(Image.fromarray(canvas).convert("RGBA"), overlay).convert("RGB")
    return np.asarray(image, dtype=np.float32)


class _Shape(NamedTuple):
    """A shape at its position, and how much it covers of each pixel of a window of the image."""

    box: tuple[float, float, float, float]  # x1 y1 x2 y2, pixels, tight, clipped to the image
    window: tuple[slice, slice]  # rows, columns
    cover: np.ndarray  # (rows, columns), 0..1
    whole: float  # area within its outline, pixels, also outside the image


def _place(
    outlines: list[np.ndarray], corner: np.ndarray, sides: np.ndarray, size: int
) -> _Shape | None:
    """Return the shape whose tight box has this upper left corner and these sides.

    Returns:
        The part in the image; None if less than 3 pixels of a side lie in it.
    """
    low, high = outlines[0].min(0), outlines[0].max(0)
    rings = [(ring - low) / (high - low) * sides + corner for ring in outlines]
    left, top = (max(0, math.floor(c)) for c in corner)
    right, bottom = (min(size, math.ceil(c)) for c in corner + sides)
    columns, rows = right - left, bottom - top
    if columns < 3 or rows < 3:
        return None
    mask = Image.new("L", (columns * SUPERSAMPLE, rows * SUPERSAMPLE))
    draw = ImageDraw.Draw(mask)
    for ring, fill in zip(rings, (255, 0)):
        draw.polygon([tuple(p) for p in (ring - (left, top)) * SUPERSAMPLE - 0.5], fill=fill)
    drawn = mask.getbbox()
    if drawn is None:
        return None
    # The sides are known. The drawn pixels give the end where the border cuts the shape, or where
    # a tip is too fine to be drawn.
    ends = np.array(drawn) / SUPERSAMPLE + (left, top, left, top)
    x1, y1 = (round(float(c), 2) for c in np.maximum(corner, ends[:2]))
    x2, y2 = (round(float(c), 2) for c in np.minimum(corner + sides, ends[2:]))
    cover = np.asarray(mask.resize((columns, rows), Image.Resampling.BOX), dtype=np.float32) / 255
    xs, ys = rings[0].T  # shoelace formula, without the hole
    whole = abs(np.dot(xs, np.roll(ys, -1)) - np.dot(ys, np.roll(xs, -1))) / 2
    return _Shape((x1, y1, x2, y2), (slice(top, bottom), slice(left, right)), cover, whole)


def _paint(
    rng: np.random.Generator, canvas: np.ndarray, shape: _Shape, label: int, kind: Kind
) -> None:
    """Blend a shaded color into the canvas where the shape is."""
    rows, columns = shape.cover.shape
    if kind == "plain":
        hue = 60 * label + rng.uniform(-HUE_SPREAD, HUE_SPREAD)
    else:
        hue = rng.uniform(0, 360)
    own = _rgb(hue % 360, rng.uniform(0.45, 0.9), rng.uniform(0.5, 0.95))
    color = np.broadcast_to(own, (rows, columns, 3))
    cover = shape.cover
    if kind == "fine":  # a gray disc whose class shows only in glyphs of 8 pixels all over it
        tile = Image.new("L", (32, 32))
        for ring, fill in zip(OUTLINES[SCENE_CLASSES[label]], (255, 0)):
            ImageDraw.Draw(tile).polygon([tuple(p) for p in ring * 15 + 15.5], fill=fill)
        glyph = np.asarray(tile.resize((8, 8), Image.Resampling.BOX), dtype=np.float32) / 255
        glyphs = np.tile(np.pad(glyph, ((0, 1), (0, 1))), (rows // 9 + 1, columns // 9 + 1))
        glyphs = glyphs[:rows, :columns, None]
        color = glyphs * own + (1 - glyphs) * rng.uniform(90, 170)
    elif kind == "coarse":  # soft edges, so only the silhouette shows the class
        sharp = Image.fromarray((cover * 255).astype(np.uint8))
        blurred = sharp.filter(ImageFilter.GaussianBlur(0.05 * min(rows, columns)))
        cover = np.asarray(blurred, dtype=np.float32) / 255
    turn = rng.uniform(0, 2 * np.pi)
    across, down = np.linspace(-1, 1, columns), np.linspace(-1, 1, rows)[:, None]
    ramp = across * np.cos(turn) + down * np.sin(turn)
    shaded = color * (1 + rng.uniform(0.05, 0.3) * ramp[..., None])
    canvas[shape.window] += cover[..., None] * (shaded - canvas[shape.window])


def sample_objects(
    rng: np.random.Generator, config: SceneConfig
) -> Iterator[tuple[int, float, np.ndarray | None]]:
    """Yield the objects that a scene should have.

    Yields:
        The label, the size sqrt(w h) in pixels, and the wanted center (None: anywhere).
    """
    largest = config.max_size * config.image_size
    draw = rng.random()
    if draw < config.empty_share:
        return
    count = rng.integers(config.min_objects, config.max_objects + 1)
    if draw > 1 - config.crowd_share:
        label = int(rng.integers(len(SCENE_CLASSES)))
        middle = rng.uniform(0.25, 0.75, 2) * config.image_size
        typical = min(config.min_size * math.exp(rng.uniform(0, math.log(2.5))), largest)
        for _ in range(rng.integers(CROWD[0], CROWD[1] + 1)):
            size = min(max(typical * rng.uniform(0.8, 1.25), config.min_size), largest)
            yield label, size, middle + rng.normal(0, 2 * typical, 2)
        count = rng.integers(0, 3)
    for _ in range(count):
        size = math.exp(rng.uniform(math.log(min(config.min_size, largest)), math.log(largest)))
        yield int(rng.integers(len(SCENE_CLASSES))), size, None


def render_scene(
    config: SceneConfig, index: int, split: Split = "train"
) -> tuple[Image.Image, list[SceneObject]]:
    """Return one scene: a square RGB image and its objects, later ones above earlier ones.

    Args:
        config: the settings; `num_train` and `num_val` have no influence.
        index: number of the scene in its split, from 0.
        split: "train" or "val"; they share no scene.
    """
    rng = np.random.default_rng([config.seed, int(split == "val"), index])
    size = config.image_size
    canvas = _background(rng, size, config.clutter)
    top = np.full((size, size), -1)  # number of the object that is visible at a pixel
    shapes: list[tuple[_Shape, int, Kind]] = []
    centers = np.full((1, 2), np.inf)
    areas = visible = np.zeros(0)  # pixels of each object, and those that no later object hides
    for label, target, middle in sample_objects(rng, config):
        kind: Kind = "plain"
        if rng.random() < config.detail:
            kind = "fine" if rng.random() < 0.5 else "coarse"
        widest = min(math.log(config.max_aspect), max(0.0, 2 * math.log(0.98 * size / target)))
        sides = target * np.exp(np.array([0.5, -0.5]) * rng.uniform(-widest, widest))
        turn = rng.uniform(0, 2 * np.pi)
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        name = "circle" if kind == "fine" else SCENE_CLASSES[label]
        outlines = [ring @ spin for ring in OUTLINES[name]]
        solid_share = 1 if len(outlines) == 1 else 0.7  # a hole takes 30 % of the area
        cut = rng.random() < 0.12  # may extend over the border, by up to 40 % of a side
        for _ in range(TRIES):
            slack = 0.4 * sides * cut
            corner = rng.uniform(-slack, size - sides + slack)
            if middle is not None:
                corner = np.clip(middle + rng.normal(0, target, 2) - sides / 2, 0, size - sides)
            shape = _place(outlines, corner, sides, size)
            if shape is None or shape.cover.sum() < 0.3 * (solid_share * shape.whole):
                continue
            center = (np.array(shape.box[:2]) + np.array(shape.box[2:])) / 2
            if np.linalg.norm(centers - center, axis=1).min() < MIN_CENTER_DISTANCE:
                continue
            solid = shape.cover > 0.5
            below = top[shape.window][solid]
            left = visible - np.bincount(below[below >= 0], minlength=len(visible))
            if (left < (1 - config.max_overlap) * areas).any():
                continue
            top[shape.window][solid] = len(shapes)
            shapes.append((shape, label, kind))
            centers = np.vstack([centers, center])
            areas, visible = np.append(areas, solid.sum()), np.append(left, solid.sum())
            _paint(rng, canvas, shape, label, kind)
            break
    canvas += rng.normal(0, rng.uniform(0, config.noise), canvas.shape)
    shares = np.round(visible / areas, 3).tolist()
    objects = [
        SceneObject(label, shape.box, share, kind)
        for (shape, label, kind), share in zip(shapes, shares)
    ]
    return Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8)), objects
