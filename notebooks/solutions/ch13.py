"""Solutions of notebook 13."""


def fit_card(fixed: float, per_image: float, memory: float, batch: int) -> tuple[int, int]:
    """The largest micro-batch that divides the batch and leaves a fifth of the card free, and how many make the batch."""
    for micro in range(batch, 0, -1):
        if batch % micro == 0 and fixed + micro * per_image <= 0.8 * memory:
            return micro, batch // micro
    return 0, 0


def joined_loss(losses: list[float], positives: list[int]) -> float:
    """The loss of all images together, out of the processes' own losses and counts of effective cells."""
    sums = [
        loss * max(count, 1) for loss, count in zip(losses, positives)
    ]  # undo each process's division
    return sum(sums) / max(sum(positives), 1)
