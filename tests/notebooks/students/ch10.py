"""Functions as students write them for chapter 10, with what a tutor should make of each."""

import statistics
import sys

import numpy as np
import torch

from . import breaks, right, wrong

# Exercise 1: name_cause(facts). The order by the text: no cell at any level, lost to a smaller one,
# cut by top-k or the 100, suppressed by NMS, wrong class, score below threshold, box too poor.


@wrong(
    "name_cause",
    fault="asks for NMS before the limits",
    true="limits|top-k|first|order|before",
    false="class|location|cell",
)
def cause_nms_first(facts):
    if not facts["has_locations"]:
        return "no cell at any level"
    if not facts["keeps_locations"]:
        return "lost to a smaller one"
    if facts["found_without_nms"]:
        return "suppressed by NMS"
    if facts["found_without_limits"]:
        return "cut by top-k or the 100"
    if facts["other_class_fits"]:
        return "wrong class"
    return "score below threshold" if facts["low_score_fits"] else "box too poor"


@wrong(
    "name_cause",
    fault="asks for the low score before the limits and NMS",
    true="score|last but one|order|low|before",
    false="location|cell",
)
def cause_score_early(facts):
    if not facts["has_locations"]:
        return "no cell at any level"
    if not facts["keeps_locations"]:
        return "lost to a smaller one"
    if facts["low_score_fits"]:
        return "score below threshold"
    if facts["found_without_limits"]:
        return "cut by top-k or the 100"
    if facts["found_without_nms"]:
        return "suppressed by NMS"
    if facts["other_class_fits"]:
        return "wrong class"
    return "box too poor"


@wrong(
    "name_cause",
    fault="asks for the low score before the other class",
    true="wrong class|other class|last but one|order|score",
    false="location|limits|NMS",
)
def cause_score_before_class(facts):
    if not facts["has_locations"]:
        return "no cell at any level"
    if not facts["keeps_locations"]:
        return "lost to a smaller one"
    if facts["found_without_limits"]:
        return "cut by top-k or the 100"
    if facts["found_without_nms"]:
        return "suppressed by NMS"
    if facts["low_score_fits"]:
        return "score below threshold"
    if facts["other_class_fits"]:
        return "wrong class"
    return "box too poor"


# the first branch is taken by every sound object
@wrong(
    "name_cause",
    fault="the not is missing in the first two questions",
    true="not|has_locations|sound|locations",
    false="NMS|score",
)
def cause_no_not(facts):
    if facts["has_locations"]:
        return "no cell at any level"
    if facts["keeps_locations"]:
        return "lost to a smaller one"
    if facts["found_without_limits"]:
        return "cut by top-k or the 100"
    if facts["found_without_nms"]:
        return "suppressed by NMS"
    if facts["other_class_fits"]:
        return "wrong class"
    return "score below threshold" if facts["low_score_fits"] else "box too poor"


# an object without locations keeps none either
@wrong(
    "name_cause",
    fault="asks for the lost locations before asking whether there were any",
    true="no cell|has_locations|first|order|locations",
    false="NMS|score",
)
def cause_lost_first(facts):
    if not facts["keeps_locations"]:
        return "lost to a smaller one"
    if not facts["has_locations"]:
        return "no cell at any level"
    if facts["found_without_limits"]:
        return "cut by top-k or the 100"
    if facts["found_without_nms"]:
        return "suppressed by NMS"
    if facts["other_class_fits"]:
        return "wrong class"
    return "score below threshold" if facts["low_score_fits"] else "box too poor"


@wrong(
    "name_cause",
    fault="None where nothing applies: box too poor is missing",
    true="box too poor|otherwise|nothing|None|last",
    false="NMS|location",
)
def cause_without_end(facts):
    if not facts["has_locations"]:
        return "no cell at any level"
    elif not facts["keeps_locations"]:
        return "lost to a smaller one"
    elif facts["found_without_limits"]:
        return "cut by top-k or the 100"
    elif facts["found_without_nms"]:
        return "suppressed by NMS"
    elif facts["other_class_fits"]:
        return "wrong class"
    elif facts["low_score_fits"]:
        return "score below threshold"


@wrong(
    "name_cause",
    fault="the last two are swapped: box too poor where a box with a low score fits",
    true="score|low|box too poor|otherwise|swap",
    false="NMS|location",
)
def cause_last_swapped(facts):
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
    return "box too poor" if facts["low_score_fits"] else "score below threshold"


@wrong(
    "name_cause",
    fault="other spelling: suppressed by nms",
    true="printed|spell|name|NMS|capital|exact",
    false="order|limits",
)
def cause_spelling(facts):
    cause = cause_right(facts)
    return cause.lower()


@wrong(
    "name_cause",
    fault="ifs without return: the last one that is true wins",
    true="first|order|return|elif|earlier",
    false="not is missing",
)
def cause_last_wins(facts):
    cause = "box too poor"
    if not facts["has_locations"]:
        cause = "no cell at any level"
    if not facts["keeps_locations"]:
        cause = "lost to a smaller one"
    if facts["found_without_limits"]:
        cause = "cut by top-k or the 100"
    if facts["found_without_nms"]:
        cause = "suppressed by NMS"
    if facts["other_class_fits"]:
        cause = "wrong class"
    if facts["low_score_fits"]:
        cause = "score below threshold"
    return cause


@wrong(
    "name_cause",
    fault="a list of all causes that apply",
    true="one|first|list|cause",
    false="spell",
)
def cause_all(facts):
    causes = []
    if not facts["has_locations"]:
        causes.append("no cell at any level")
    if not facts["keeps_locations"]:
        causes.append("lost to a smaller one")
    if facts["found_without_limits"]:
        causes.append("cut by top-k or the 100")
    if facts["found_without_nms"]:
        causes.append("suppressed by NMS")
    if facts["other_class_fits"]:
        causes.append("wrong class")
    if facts["low_score_fits"]:
        causes.append("score below threshold")
    return causes or ["box too poor"]


@right("name_cause", unusual="the first true one of a list of pairs, with next()")
def cause_right(facts):
    questions = [
        (not facts["has_locations"], "no cell at any level"),
        (not facts["keeps_locations"], "lost to a smaller one"),
        (facts["found_without_limits"], "cut by top-k or the 100"),
        (facts["found_without_nms"], "suppressed by NMS"),
        (facts["other_class_fits"], "wrong class"),
        (facts["low_score_fits"], "score below threshold"),
    ]
    return next((cause for answer, cause in questions if answer), "box too poor")


@right("name_cause", unusual="from the end to the beginning: an earlier rule overwrites")
def cause_backwards(facts):
    cause = "box too poor"
    if facts["low_score_fits"]:
        cause = "score below threshold"
    if facts["other_class_fits"]:
        cause = "wrong class"
    if facts["found_without_nms"]:
        cause = "suppressed by NMS"
    if facts["found_without_limits"]:
        cause = "cut by top-k or the 100"
    if not facts["keeps_locations"]:
        cause = "lost to a smaller one"
    if not facts["has_locations"]:
        cause = "no cell at any level"
    return cause


@right("name_cause", unusual="index of the first true one, by argmax")
def cause_argmax(facts):
    answers = [
        not facts["has_locations"],
        not facts["keeps_locations"],
        *(facts[name] for name in ("found_without_limits", "found_without_nms")),
        *(facts[name] for name in ("other_class_fits", "low_score_fits")),
        True,
    ]
    names = "no cell at any level, lost to a smaller one, cut by top-k or the 100, "
    names += "suppressed by NMS, wrong class, score below threshold, box too poor"
    return names.split(", ")[int(np.argmax(answers))]


@breaks("name_cause", how="raises KeyError: has_location without s")
def cause_key_error(facts):
    if not facts["has_location"]:
        return "no cell at any level"
    return "box too poor"


@breaks("name_cause", how="exit")
def cause_exit(facts):
    if not facts["has_locations"]:
        sys.exit("no cell at any level")
    return cause_right(facts)


# Exercise 2: paired_interval(first, second, quantile)


@wrong(
    "paired_interval",
    fault="unpaired: the deviations of both rows are added",
    true="pair|seed by seed|subtract|differences",
    false="n - 1|n − 1",
)
def interval_unpaired(first, second, quantile):
    a, b = np.asarray(first, float), np.asarray(second, float)
    error = ((a.var(ddof=1) + b.var(ddof=1)) / len(a)) ** 0.5
    center = a.mean() - b.mean()
    return center - quantile * error, center + quantile * error


@wrong(
    "paired_interval",
    fault="divisor n in the deviation",
    true="n - 1|n − 1|ddof|too narrow|sum of squares",
    false="pair|seed by seed",
)
def interval_biased(first, second, quantile):
    d = np.subtract(first, second)
    half = quantile * d.std() / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="not divided by the root of n",
    true="√|sqrt|root|error of a mean|too wide",
    false="n - 1|pair",
)
def interval_no_root(first, second, quantile):
    d = np.subtract(first, second)
    half = quantile * d.std(ddof=1)
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="divided by n, not by its root",
    true="√|sqrt|root|error of a mean",
    false="pair|sign",
)
def interval_by_n(first, second, quantile):
    d = np.subtract(first, second)
    half = quantile * d.std(ddof=1) / len(d)
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="second minus first",
    true="sign|minus|order|first minus",
    false="n - 1|root",
)
def interval_sign(first, second, quantile):
    d = np.subtract(second, first)
    half = quantile * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="2.776 and 5 written in, from the example",
    true="quantile|2\\.776|n\\b|argument|seeds",
    false="pair",
)
def interval_five_seeds(first, second, quantile):
    d = np.subtract(first, second)
    half = 2.776 * d.std(ddof=1) / 5**0.5
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="the variance instead of the deviation",
    true="deviation|root|variance|√|sqrt|s is",
    false="pair|sign",
)
def interval_variance(first, second, quantile):
    d = np.subtract(first, second)
    half = quantile * d.var(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="mean and half width instead of both ends",
    true="low|high|ends|half|mean",
    false="n - 1",
)
def interval_mean_and_half(first, second, quantile):
    d = np.subtract(first, second)
    return d.mean(), quantile * d.std(ddof=1) / len(d) ** 0.5


@wrong(
    "paired_interval",
    fault="high end first",
    true="low|order|first|swap|high",
    false="n - 1|root",
)
def interval_high_first(first, second, quantile):
    d = np.subtract(first, second)
    half = quantile * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() + half, d.mean() - half


@wrong(
    "paired_interval",
    fault="the median instead of the mean",
    true="mean|median|center|middle",
    false="n - 1|root",
)
def interval_median(first, second, quantile):
    d = np.subtract(first, second)
    half = quantile * d.std(ddof=1) / len(d) ** 0.5
    return np.median(d) - half, np.median(d) + half


@wrong(
    "paired_interval",
    fault="sorts both rows first, which destroys the pairs",
    true="seed by seed|pair|sort|order",
    false="n - 1|root",
)
def interval_sorted(first, second, quantile):
    d = np.sort(first) - np.sort(second)
    half = quantile * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


@wrong(
    "paired_interval",
    fault="absolute differences",
    true="sign|abs|minus|negative",
    false="n - 1|root",
)
def interval_absolute(first, second, quantile):
    d = np.abs(np.subtract(first, second))
    half = quantile * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


@right("paired_interval", unusual="the module statistics, plain Python")
def interval_statistics(first, second, quantile):
    d = [float(a) - float(b) for a, b in zip(first, second)]
    half = quantile * statistics.stdev(d) / len(d) ** 0.5
    return statistics.fmean(d) - half, statistics.fmean(d) + half


@right("paired_interval", unusual="variance of the difference from variances and the covariance")
def interval_covariance(first, second, quantile):
    c = np.cov(np.asarray(first, float), np.asarray(second, float), ddof=1)
    variance = max(c[0, 0] + c[1, 1] - 2 * c[0, 1], 0.0)
    center = np.mean(first) - np.mean(second)
    return [center + side * quantile * (variance / len(first)) ** 0.5 for side in (-1, 1)]


@right("paired_interval", unusual="torch, whose std divides by n - 1; returns an array")
def interval_torch(first, second, quantile):
    d = torch.as_tensor(np.subtract(first, second), dtype=torch.float64)
    half = quantile * d.std() / len(d) ** 0.5
    return torch.stack([d.mean() - half, d.mean() + half]).numpy()


@breaks("paired_interval", how="raises TypeError: subtracts two lists")
def interval_lists(first, second, quantile):
    d = list(first) - list(second)
    half = quantile * np.std(d, ddof=1) / len(d) ** 0.5
    return np.mean(d) - half, np.mean(d) + half
