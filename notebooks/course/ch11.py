"""The pictures and the progress bar of chapter 11."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsaf_core.viz.colors import LIGHT
from fsaf_core.viz.svg import Svg

from . import picture

MARKS = 40  # of a full progress bar


def progress(steps: int) -> Iterator[int]:
    """Count from 0 to steps - 1, and print a bar that grows to MARKS marks on the way."""
    print(f"{steps} steps ", end="", flush=True)
    for step in range(steps):
        yield step
        marks = (step + 1) * MARKS // steps - step * MARKS // steps
        if marks:
            print("█" * marks, end="", flush=True)
    print(" done", flush=True)


def locations(image: np.ndarray, box: Tensor, centers: Sequence[Tensor]) -> Svg:
    """Return the image with the star's box and the locations in it: dots of P4, rings of P5.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) x1 y1 x2 y2, pixels.
        centers: of P4 and of P5: (M, 2) x y, pixels.
    """
    alt = f"The star's box with {len(centers[0])} locations of P4 as dots"
    alt += f" and {len(centers[1])} of P5 as rings"
    drawing = picture(image, [box], ["star"], alt, colors=["#ffffff"])
    for x, y in (3 * centers[0]).tolist():
        drawing.circle(x, y, 4, fill=LIGHT.level(4), stroke="#ffffff")
    for x, y in (3 * centers[1]).tolist():
        drawing.circle(x, y, 9, stroke="#ffffff", stroke_width=3)
    return drawing


def selected_levels(shares: Tensor, steps: Sequence[int]) -> Figure:
    """Return stacked bars: the share of objects that select each level.

    Args:
        shares: (T, L), each row sums to 1.
        steps: (T,) middle of the steps that a row stands for.
    """
    figure = Figure((6.5, 2.6), layout="constrained")
    axes = figure.subplots()
    below = np.zeros(len(shares))
    width = 0.95 * (steps[1] - steps[0])
    for level, share in enumerate(shares.T.numpy(), start=3):
        axes.bar(steps, share, width, bottom=below, color=LIGHT.level(level), label=f"P{level}")
        below += share
    axes.set(xlabel="training step", ylabel="share of objects", ylim=(0, 1))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def detections(
    images: Sequence[Tensor],
    found: Sequence[tuple[Tensor, Tensor, Tensor]],
    class_names: Sequence[str],
) -> Figure:
    """Return two rows of images with their detections: the higher the score, the thicker the box.

    Args:
        images: (3, H, W) uint8 each; an even number.
        found: boxes, scores and labels of each image.
        class_names: of the labels.
    """
    figure = Figure((9, 4.8), layout="constrained")
    dark = {"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0}
    for axes, image, one in zip(figure.subplots(2, len(images) // 2).flat, images, found):
        axes.imshow(image.permute(1, 2, 0).numpy())
        axes.axis("off")
        for (x1, y1, x2, y2), score, label in zip(*(part.tolist() for part in one)):
            line = {"fill": False, "edgecolor": "white", "linewidth": 4 * score - 0.5}
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **line))
            text = {"color": "white", "fontsize": 7, "bbox": dark}
            axes.text(x1 + 2, y1 + 10, class_names[label], **text)
    return figure
