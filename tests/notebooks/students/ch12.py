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


# Exercise 2: my_simota(cost, overlap, q=10)


def _best(overlap, q):
    return overlap.sort(dim=1, descending=True).values[:, :q].sum(1)


def _resolve(cost, chosen):
    """Objects of each location, -1 for none; of several the cheapest."""
    result = []
    for place in range(cost.shape[1]):
        wanted = [index for index in range(cost.shape[0]) if chosen[index][place]]
        result.append(min(wanted, key=lambda index: float(cost[index, place])) if wanted else -1)
    return torch.tensor(result)


def _choose(cost, counts):
    chosen = torch.zeros(cost.shape, dtype=torch.bool)
    for index, count in enumerate(counts):
        chosen[index, cost[index].argsort()[: int(count)]] = True
    return chosen


@wrong(
    "my_simota",
    fault="rounded to the nearest",
    true="round|down",
    false="background|lowest cost decides",
)
def simota_rounded(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, _best(overlap, q).round().clamp(min=1)))


@wrong(
    "my_simota",
    fault="rounded up",
    true="round|down",
    false="background|lowest cost decides",
)
def simota_ceil(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, torch.ceil(_best(overlap, q))))


@wrong("my_simota", fault="no minimum of 1", true="at least 1", false="round the sum|lowest cost")
def simota_zero(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, _best(overlap, q).int()))


@wrong(
    "my_simota", fault="the sum of all IoUs", true="highest|all", false="background|round the sum"
)
def simota_all(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, overlap.sum(1).int().clamp(min=1)))


@wrong("my_simota", fault="10 written in", true="\\bq\\b|10|argument", false="background")
def simota_ten(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, _best(overlap, 10).int().clamp(min=1)))


@wrong(
    "my_simota",
    fault="q locations for each object",
    true="sum|\\bk\\b",
    false="background|lowest cost decides",
)
def simota_q(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, [q] * len(cost)))


@wrong(
    "my_simota",
    fault="the IoUs of the q cheapest locations",
    true="highest IoU|cheapest",
    false="background|round the sum",
)
def simota_cheapest(cost, overlap, q=10):
    order = cost.argsort(1)[:, :q]
    counts = overlap.gather(1, order).sum(1).long().clamp(min=1)
    return _resolve(cost, _choose(cost, counts))


@wrong(
    "my_simota",
    fault="the highest costs: topk without largest=False",
    true="lowest|highest|largest",
    false="background|round",
)
def simota_highest(cost, overlap, q=10):
    counts = _best(overlap, q).int().clamp(min=1).tolist()
    chosen = torch.zeros_like(cost, dtype=torch.bool)
    for index, count in enumerate(counts):
        chosen[index, cost[index].topk(count).indices] = True
    return _resolve(cost, chosen)


@wrong(
    "my_simota",
    fault="the locations of the best IoUs",
    true="cost|IoU",
    false="round|background",
)
def simota_by_iou(cost, overlap, q=10):
    counts = _best(overlap, q).int().clamp(min=1)
    return _resolve(cost, _choose(-overlap, counts))


# an object overwrites those before it
@wrong(
    "my_simota",
    fault="a later object takes a shared location",
    true="lowest cost|last",
    false="round|at least",
)
def simota_last(cost, overlap, q=10):
    assigned = torch.full((cost.shape[1],), -1)
    for index, count in enumerate(_best(overlap, q).int().clamp(min=1)):
        assigned[cost[index].argsort()[:count]] = index
    return assigned


@wrong(
    "my_simota",
    fault="an earlier object keeps a shared location",
    true="lowest cost|index",
    false="round|at least",
)
def simota_first(cost, overlap, q=10):
    chosen = _choose(cost, _best(overlap, q).int().clamp(min=1))
    first = chosen.int().argmax(0)
    return torch.where(chosen.any(0), first, torch.tensor(-1))


@wrong(
    "my_simota",
    fault="the object with the best IoU gets a shared location",
    true="lowest cost|share|several",
    false="round|at least",
)
def simota_shared_by_iou(cost, overlap, q=10):
    chosen = _choose(cost, _best(overlap, q).int().clamp(min=1))
    best = (overlap + 1) * chosen
    return best.argmax(0).where(chosen.any(0), -1)


@wrong(
    "my_simota",
    fault="objects choose in turn, among free locations",
    true="all locations|afterwards|exchange|order",
    false="round|background",
)
def simota_greedy(cost, overlap, q=10):
    assigned = torch.full((cost.shape[1],), -1)
    for index in range(len(cost)):
        k = max(1, int(_best(overlap, q)[index]))
        for place in cost[index].argsort().tolist():
            if k and assigned[place] < 0:
                assigned[place] = index
                k -= 1
    return assigned


@wrong(
    "my_simota",
    fault="no background: the cheapest object of each location",
    true="background|no object",
    false="round",
)
def simota_argmin(cost, overlap, q=10):
    return cost.argmin(dim=0)


@wrong("my_simota", fault="background is 0", true="background|-1", false="round|lowest cost")
def simota_background(cost, overlap, q=10):
    return _resolve(cost, _choose(cost, _best(overlap, q).int().clamp(min=1))).clamp(min=0)


@wrong("my_simota", fault="returns the mask", true="index|mask|return", false="round")
def simota_mask(cost, overlap, q=10):
    assigned = _resolve(cost, _choose(cost, _best(overlap, q).int().clamp(min=1)))
    return torch.stack([assigned == index for index in range(len(cost))])


@wrong(
    "my_simota",
    fault="one k for all objects, the mean of their sums",
    true="\\bk\\b|each object",
    false="background|lowest cost decides",
)
def simota_mean(cost, overlap, q=10):
    k = max(1, int(_best(overlap, q).mean()))
    return _resolve(cost, _choose(cost, [k] * len(cost)))


@right("my_simota", unusual="plain Python, a list returned")
def simota_lists(cost, overlap, q=10):
    rows, assigned = cost.tolist(), [-1] * cost.shape[1]
    paid = [float("inf")] * cost.shape[1]
    for index, overlaps in enumerate(overlap.tolist()):
        k = max(int(sum(heapq.nlargest(q, overlaps))), 1)
        for place in heapq.nsmallest(k, range(len(paid)), key=rows[index].__getitem__):
            if rows[index][place] < paid[place]:
                paid[place], assigned[place] = rows[index][place], index
    return assigned


@right("my_simota", unusual="numpy, ranks by a double argsort")
def simota_numpy(cost, overlap, q=10):
    costs, overlaps = cost.numpy(), overlap.numpy()
    counts = np.maximum(1, np.sort(overlaps, 1)[:, ::-1][:, :q].sum(1).astype(int))
    chosen = costs.argsort(1).argsort(1) < counts[:, None]
    price = np.where(chosen, costs, np.inf)
    return np.where(chosen.any(0), price.argmin(0), -1)


@right("my_simota", unusual="topk with a clamped number, integers of int32")
def simota_topk(cost, overlap, q=10):
    counts = overlap.topk(min(q, overlap.size(1)), dim=1).values.sum(1).floor().int()
    price = torch.full_like(cost, torch.inf)
    for index in range(cost.size(0)):
        near = cost[index].topk(max(int(counts[index]), 1), largest=False)
        price[index, near.indices] = near.values
    least, who = price.min(0)
    who[least == torch.inf] = -1
    return who.int()


@breaks("my_simota", how="raises RuntimeError: topk of q in a table with fewer locations")
def simota_topk_error(cost, overlap, q=10):
    counts = overlap.topk(q).values.sum(1).int().clamp(min=1)
    return _resolve(cost, _choose(cost, counts))
