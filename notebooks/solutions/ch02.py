"""Solutions of notebook 02."""

from torch import Tensor


def pixels_of(cell: int, layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    """(first, end) of the pixels that a cell of the last map sees; `layers`: (kernel, stride, padding), the first one first."""
    first = last = cell
    for kernel, stride, padding in reversed(layers):
        first = first * stride - padding
        last = last * stride - padding + kernel - 1
    return first, last + 1


def fold(
    weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does the work of a convolution and the batch norm after it."""
    scale = gamma / (var + eps).sqrt()  # (cout,): one number for each output channel
    return weight * scale[:, None, None, None], beta - mean * scale
