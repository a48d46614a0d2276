"""Solutions of notebook 08."""

from torch.nn.utils import clip_grad_norm_


def train_step(detector, optimizer, images, targets, rate):
    """Train one step and return its loss, a float, and the assignment behind it."""
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, targets, batch.sizes)
    losses = detector.losses(outputs, assignment, targets)
    total = losses["af_cls"] + losses["af_box"]
    optimizer.zero_grad()
    total.backward()
    clip_grad_norm_(detector.parameters(), 10.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return total.item(), assignment


# The faults of the runs A to E in course/faults.json, by their numbers in the notebook's table.
DIAGNOSIS = {"A": 2, "B": 8, "C": 3, "D": 7, "E": 1}
