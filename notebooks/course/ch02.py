"""Pictures of chapter 02: the backbone."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import conv2d

from fsaf_core.viz.colors import LIGHT


def window_sum(image: Tensor, kernel: Tensor) -> Figure:
    """Draw one window of an image, the kernel over it, and the output that they give.

    Args:
        image: (H, W), numbers to be written into its squares.
        kernel: (k, k); it lies over the upper left window.
    """
    output = conv2d(image[None, None], kernel[None, None])[0, 0]
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[len(image), len(kernel), len(output)])
    for ax, title, numbers in zip(axes, ("image", "kernel", "output"), (image, kernel, output)):
        rows, columns = numbers.shape
        ax.set(title=title, xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[], aspect="equal")
        for i in range(rows):
            for j in range(columns):
                ax.add_patch(Rectangle((j, i), 1, 1, fill=False, ec=LIGHT.grid, lw=1))
                ax.text(j + 0.5, i + 0.5, f"{numbers[i, j]:g}", ha="center", va="center")
    axes[0].add_patch(Rectangle((0, 0), *kernel.shape, fill=False, ec=LIGHT.level(5), lw=3))
    axes[2].add_patch(Rectangle((0, 0), 1, 1, fill=False, ec=LIGHT.level(5), lw=3))
    return figure


def gradient_chart(rows: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the gradient norm after each layer, one line for each network, on a logarithmic axis.

    Args:
        rows: for each network its gradient norms, from the input to the last layer.
    """
    figure = Figure(figsize=(6.4, 3), layout="constrained")
    ax = figure.subplots()
    for index, (name, norms) in enumerate(rows.items()):
        style = ("--", "-")["skip" in name]
        ax.plot(range(len(norms)), norms, style, color=LIGHT.label(index), lw=2, label=name)
    ax.set(yscale="log", xlabel="layer (0 is the input)", ylabel="norm of the gradient")
    ax.legend(fontsize=9)
    ax.grid(color=LIGHT.grid)
    return figure


def loss_chart(rows: Mapping[str, Sequence[float]], chance: float) -> Figure:
    """Draw the loss of each network against the step, and the loss of a guess as a dotted line."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    ax = figure.subplots()
    for index, (name, losses) in enumerate(rows.items()):
        ax.plot(losses, ("--", "-")[index], color=LIGHT.label(index), lw=2, label=name)
    ax.axhline(chance, color=LIGHT.muted, ls=":", label="a guess")
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, 2.5))
    ax.legend(fontsize=9)
    ax.grid(color=LIGHT.grid)
    return figure


def feature_maps(image: np.ndarray, maps: Mapping[str, Tensor], count: int = 5) -> Figure:
    """Draw the image and, in a row for each map, its `count` channels of greatest mean.

    Args:
        image: (H, W, 3) uint8.
        maps: (C, h, w) by name.
    """
    figure = Figure(figsize=(1.7 * (count + 1), 1.9 * len(maps)), layout="constrained")
    axes = figure.subplots(len(maps), count + 1, squeeze=False)
    for row, (name, features) in zip(axes, maps.items()):
        row[0].imshow(image)
        row[0].set_title("scene", fontsize=9)
        for ax, channel in zip(row[1:], strongest(features, count)):
            ax.imshow(features[channel], cmap="gray_r", vmin=0)
            ax.set_title(f"{name}, channel {channel}", fontsize=9)
        for ax in row:
            ax.set(xticks=[], yticks=[])
    return figure


def strongest(features: Tensor, count: int) -> list[int]:
    """Return the channels of greatest mean, the greatest first."""
    return features.mean((1, 2)).topk(count).indices.tolist()


def fan_in(layers: Sequence[tuple[int, int]], names: Sequence[str]) -> Figure:
    """Draw which locations one location of the last map depends on, in one dimension.

    Args:
        layers: (kernel, stride) of each layer, the first one first.
        names: of the maps, the input first: one more than there are layers.
    """
    spans, strides = [(0, 0)], [1]
    for kernel, stride in reversed(layers):  # from the last map down to the input
        low, high = spans[0]
        reach = kernel // 2
        spans.insert(0, (low * stride - reach, high * stride + reach))
    for _, stride in layers:
        strides.append(strides[-1] * stride)
    figure = Figure(figsize=(6, 0.8 + 0.7 * len(layers)), layout="constrained")
    ax = figure.subplots()
    edge = max(map(abs, spans[0])) + 2
    for height, ((low, high), step) in enumerate(zip(spans, strides)):
        everywhere = np.arange(-(edge // step) * step, edge + 1, step)
        ax.plot(everywhere, [height] * len(everywhere), "o", color=LIGHT.grid, ms=7)
        inside = np.arange(low, high + 1) * step
        ax.plot(inside, [height] * len(inside), "o", color=LIGHT.label(height), ms=9)
        ax.text(edge + 1, height, f"{names[height]}: {len(inside)}", va="center")
        if height:
            kernel = layers[height - 1][0]
            for center in inside:
                for tap in range(-(kernel // 2), kernel // 2 + 1):
                    below = center + tap * strides[height - 1]
                    ax.plot([center, below], [height, height - 1], color=LIGHT.muted, lw=0.8)
    ax.set(xlim=(-edge - 1, edge + 6), ylim=(-0.5, len(layers) + 0.5))
    ax.axis("off")
    return figure


def effective_fields(
    image: np.ndarray,
    gradients: Mapping[int, Tensor],
    locations: Mapping[int, tuple[int, int]],
    sides: Mapping[int, int],
) -> Figure:
    """Draw the image as bright as the gradient at each pixel, and the receptive field as a frame.

    Args:
        image: (H, W, 3) uint8.
        gradients: (H, W) for each level.
        locations: row and column of the location of each level.
        sides: of the receptive field of each level, pixels.
    """
    figure = Figure(figsize=(3 * len(gradients), 3.2), layout="constrained")
    height, width = image.shape[:2]
    for ax, (level, gradient) in zip(
        figure.subplots(1, len(gradients), squeeze=False)[0], gradients.items()
    ):
        light = 0.2 + 0.8 * (gradient / gradient.max()).sqrt()[..., None]
        ax.imshow((image * light.numpy()).astype("uint8"), extent=(0, width, height, 0))
        _frame(ax, [at * 2**level + 0.5 for at in locations[level]], sides[level])
        ax.set(title=f"C{level}", xlim=(0, width), ylim=(height, 0))
        ax.set(xticks=(0, width // 2, width), yticks=(0, height // 2, height))
    return figure


def _frame(ax: Axes, middle: Sequence[float], side: int) -> None:
    y, x = middle
    corner = (x - side / 2, y - side / 2)
    ax.add_patch(Rectangle(corner, side, side, fill=False, ec=LIGHT.label(1), lw=2))


def neighbors(outputs: Mapping[str, Sequence[Tensor]], titles: Sequence[str]) -> Figure:
    """Draw one channel of an image after a norm, once for each image that shared its batch.

    Args:
        outputs: for each norm the channel (H, W) with each neighbor.
        titles: of the neighbors.
    """
    figure = Figure(figsize=(2.4 * len(titles), 2.5 * len(outputs)), layout="constrained")
    axes = figure.subplots(len(outputs), len(titles), squeeze=False)
    for row, (name, channels) in zip(axes, outputs.items()):
        row[0].set_ylabel(name)
        for ax, output, title in zip(row, channels, titles):
            channel = output.detach()
            ax.imshow(channel, cmap="gray", vmin=-2, vmax=2)
            ax.set(xticks=[], yticks=[])
            ax.set_title(f"{title}\nmean {float(channel.mean()):.2f}", fontsize=10)
    return figure
