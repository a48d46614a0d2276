"""Functions as students write them for chapter 12, with what a tutor should make of each."""

import heapq

import numpy as np
import torch

from . import breaks, right, wrong

# Exercise 1: my_threshold(overlaps, distances, k=9)


def _candidates(overlaps, distances, k):
    return [level[far.argsort()[:k]] for level, far in zip(overlaps, distances)]


@wrong(
    "my_threshold",
    fault="deviation divided by n",
    true="n - 1|n − 1|unbiased|too small|numpy",
    false="level by level|candidates",
)
def threshold_biased(overlaps, distances, k=9):
    chosen = torch.cat(_candidates(overlaps, distances, k)).numpy()
    return chosen.mean() + chosen.std()


@wrong(
    "my_threshold",
    fault="the k nearest over all levels together",
    true="level by level|each level|every level|two levels",
    false="n - 1|std",
)
def threshold_joined_first(overlaps, distances, k=9):
    values, far = torch.cat(overlaps), torch.cat(distances)
    chosen = values[far.topk(min(k, len(far)), largest=False).indices]
    return chosen.mean() + chosen.std()


@wrong(
    "my_threshold",
    fault="the mean of the thresholds of the levels",
    true="join|together|over all levels|before the mean",
    false="n - 1|nearest",
)
def threshold_mean_of_levels(overlaps, distances, k=9):
    levels = _candidates(overlaps, distances, k)
    each = [one.mean() + (one.std() if len(one) > 1 else 0.0) for one in levels]
    return sum(each) / len(each)


@wrong(
    "my_threshold",
    fault="the k largest IoUs, not the k nearest locations",
    true="near|distance|IoU",
    false="n - 1|std|join",
)
def threshold_largest(overlaps, distances, k=9):
    chosen = torch.cat([level.topk(min(k, len(level))).values for level in overlaps])
    return chosen.mean() + chosen.std()


@wrong(
    "my_threshold",
    fault="the k farthest: topk without largest=False",
    true="near|far|largest|smallest|distance",
    false="n - 1|join",
)
def threshold_farthest(overlaps, distances, k=9):
    parts = []
    for level, distance in zip(overlaps, distances):
        parts.append(level[distance.topk(min(k, len(distance))).indices])
    chosen = torch.cat(parts)
    return chosen.mean() + chosen.std()


@wrong("my_threshold", fault="9 written in", true="\\bk\\b|9|nine|argument", false="std|n - 1")
def threshold_nine(overlaps, distances, k=9):
    chosen = torch.cat(_candidates(overlaps, distances, 9))
    return chosen.mean() + chosen.std()


@wrong(
    "my_threshold",
    fault="mean minus deviation",
    true="plus|sign|minus|sum|\\+",
    false="near|join",
)
def threshold_minus(overlaps, distances, k=9):
    chosen = torch.cat(_candidates(overlaps, distances, k))
    return chosen.mean() - chosen.std()


@wrong(
    "my_threshold",
    fault="the mean alone",
    true="deviation|std|plus",
    false="near|join|n - 1",
)
def threshold_mean(overlaps, distances, k=9):
    return torch.cat(_candidates(overlaps, distances, k)).mean()


@wrong(
    "my_threshold",
    fault="variance instead of deviation",
    true="deviation|std|variance|root|square",
    false="near|join",
)
def threshold_variance(overlaps, distances, k=9):
    chosen = torch.cat(_candidates(overlaps, distances, k))
    return chosen.mean() + chosen.var()


@wrong(
    "my_threshold",
    fault="all anchors instead of the k nearest",
    true="near|candidate|\\bk\\b|all",
    false="n - 1|join",
)
def threshold_all(overlaps, distances, k=9):
    chosen = torch.cat(list(overlaps))
    return chosen.mean() + chosen.std()


# with IoUs of 0 among the nine, as for every small box
@wrong(
    "my_threshold",
    fault="candidates with IoU 0 are left out",
    true="all|zero|\\b0\\b|candidate|left out|nine",
    false="n - 1|near",
)
def threshold_without_zeros(overlaps, distances, k=9):
    chosen = torch.cat(_candidates(overlaps, distances, k))
    chosen = chosen[chosen > 0]
    return chosen.mean() + chosen.std()


@wrong(
    "my_threshold",
    fault="sorts the distances but takes the first k overlaps in the given order",
    true="near|order|sort|ind(ex|ices)|distance",
    false="n - 1|join",
)
def threshold_first_k(overlaps, distances, k=9):
    parts = []
    for level, distance in zip(overlaps, distances):
        distance.sort()
        parts.append(level[:k])
    chosen = torch.cat(parts)
    return chosen.mean() + chosen.std()


# one candidate too many where a level has more than k locations
@wrong(
    "my_threshold",
    fault="k + 1 candidates a level, by <= on the rank",
    true="\\bk\\b|nine|candidate|one too|many|near",
    false="n - 1|join",
)
def threshold_one_more(overlaps, distances, k=9):
    parts = [level[far.argsort().argsort() <= k] for level, far in zip(overlaps, distances)]
    chosen = torch.cat(parts)
    return chosen.mean() + chosen.std()


@wrong(
    "my_threshold",
    fault="levels with fewer than k locations are skipped",
    true="fewer|coarse|all of them|skip|P6|every level",
    false="n - 1|sign",
)
def threshold_skips(overlaps, distances, k=9):
    levels = [pair for pair in zip(overlaps, distances) if len(pair[0]) >= k]
    if not levels:
        return torch.tensor(0.0)
    chosen = torch.cat(_candidates(*zip(*levels), k))
    return chosen.mean() + chosen.std()


@right("my_threshold", unusual="plain Python with a heap, a float returned")
def threshold_heap(overlaps, distances, k=9):
    chosen = []
    for level, distance in zip(overlaps, distances):
        pairs = zip(distance.tolist(), range(len(level)))
        chosen += [float(level[index]) for _, index in heapq.nsmallest(k, pairs)]
    mean = sum(chosen) / len(chosen)
    variance = sum((one - mean) ** 2 for one in chosen) / (len(chosen) - 1)
    return mean + variance**0.5


@right("my_threshold", unusual="numpy with ddof=1")
def threshold_numpy(overlaps, distances, k=9):
    parts = []
    for level, distance in zip(overlaps, distances):
        order = np.argsort(np.asarray(distance), kind="stable")[:k]
        parts.append(np.asarray(level)[order])
    chosen = np.concatenate(parts).astype(np.float64)
    return chosen.mean() + chosen.std(ddof=1)


@right("my_threshold", unusual="mean of squares less square of the mean, with a print")
def threshold_moments(overlaps, distances, k=9):
    n, total, squares = 0, 0.0, 0.0
    for level, distance in zip(overlaps, distances):
        nearest = distance.topk(min(k, distance.numel()), largest=False).indices
        values = level[nearest].double()
        n += len(values)
        total += values.sum()
        squares += (values**2).sum()
    print(n, "candidates")
    mean = total / n
    return mean + ((squares - n * mean**2).clamp(min=0) / (n - 1)).sqrt()


@right("my_threshold", unusual="var_mean, joined before the sort of each level")
def threshold_var_mean(overlaps, distances, k=9):
    kept = [far.argsort().argsort() < k for far in distances]
    variance, mean = torch.var_mean(torch.cat(list(overlaps))[torch.cat(kept)], correction=1)
    return (mean + variance.sqrt()).item()


@breaks("my_threshold", how="raises RuntimeError: topk of 9 at a level with fewer locations")
def threshold_topk(overlaps, distances, k=9):
    parts = []
    for level, distance in zip(overlaps, distances):
        parts.append(level[distance.topk(k, largest=False).indices])
    chosen = torch.cat(parts)
    return chosen.mean() + chosen.std()


@breaks("my_threshold", how="endless loop: removes no candidate from the list of the nearest")
def threshold_endless(overlaps, distances, k=9):
    chosen = []
    for level, distance in zip(overlaps, distances):
        best = []
        while len(best) < k:
            index = int(distance.argmin())
            if index not in best:
                best.append(index)
        chosen.append(level[best])
    chosen = torch.cat(chosen)
    return chosen.mean() + chosen.std()
