"""Solutions of notebook 10."""

from math import sqrt


def name_cause(facts: dict[str, bool]) -> str:
    """Return the first cause that explains a miss."""
    if not facts["has_locations"]:
        return "no cell at any level"
    if not facts["keeps_locations"]:
        return "lost to a smaller one"
    if facts["found_without_limits"]:
        return "cut by top-k or the 100"
    if facts["found_without_nms"]:
        return "suppressed by NMS"
    if facts["other_class_fits"]:
        return "wrong class"
    return "score below threshold" if facts["low_score_fits"] else "box too poor"


def paired_interval(
    first: list[float], second: list[float], quantile: float
) -> tuple[float, float]:
    """Return the t interval of the mean difference, first minus second, seed by seed."""
    pairs = [one - other for one, other in zip(first, second)]
    mean = sum(pairs) / len(pairs)
    variance = sum((pair - mean) ** 2 for pair in pairs) / (len(pairs) - 1)
    half = quantile * sqrt(variance / len(pairs))
    return mean - half, mean + half
