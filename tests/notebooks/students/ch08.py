"""Functions as students write them for chapter 08, with what a tutor should make of each."""

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from . import breaks, right, wrong

# Exercise 1: my_train_step(detector, optimizer, images, targets, rate)


def _forward(detector, images, targets):
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, targets, batch.sizes)
    losses = detector.losses(outputs, assignment, targets)
    return losses["af_cls"] + losses["af_box"], assignment


def _rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


@wrong(
    "my_train_step",
    fault="never calls zero_grad",
    true="zero_grad|old|add|this step|earlier",
    false="rate|clip",
)
def step_no_zero_grad(detector, optimizer, images, targets, rate):
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@wrong(
    "my_train_step",
    fault="zero_grad between backward and step: nothing is learned",
    true="zero_grad|order|gradient|weights",
    false="rate\\b|clip",
)
def step_zero_grad_after_backward(detector, optimizer, images, targets, rate):
    total, assignment = _forward(detector, images, targets)
    total.backward()
    optimizer.zero_grad()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


# wrong where gradients from somewhere else are there before the call
@wrong(
    "my_train_step",
    fault="zero_grad only after the step: gradients from before the call are added",
    true="zero_grad|old|before|this step|earlier",
    false="rate\\b|clip",
)
def step_zero_grad_at_the_end(detector, optimizer, images, targets, rate):
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    optimizer.zero_grad()
    return total.item(), assignment


@wrong(
    "my_train_step",
    fault="the rate is set after the step",
    true="rate|order|before",
    false="zero_grad|clip",
)
def step_rate_after_step(detector, optimizer, images, targets, rate):
    total, assignment = _forward(detector, images, targets)
    optimizer.zero_grad()
    total.backward()
    clip_grad_norm_(detector.parameters(), 10.0)
    optimizer.step()
    _rate(optimizer, rate)
    return total.item(), assignment


@wrong("my_train_step", fault="never sets the rate", true="rate|lr|param_groups", false="clip|zero")
def step_no_rate(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    optimizer.step()
    return total.item(), assignment


# wrong for an optimizer with two groups
@wrong(
    "my_train_step",
    fault="the rate only in the first group",
    true="all|group|every|rate",
    false="clip|zero_grad",
)
def step_first_group(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    return total.item(), assignment


# wrong where the old rate of a group is not 1
@wrong(
    "my_train_step",
    fault="multiplies the old rate instead of setting it",
    true="rate|lr|set",
    false="clip|zero_grad",
)
def step_multiplies_rate(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    for group in optimizer.param_groups:
        group["lr"] *= rate
    optimizer.step()
    return total.item(), assignment


# wrong where the norm exceeds 10
@wrong("my_train_step", fault="no clipping", true="clip|norm|limit|10", false="rate\\b|zero_grad")
def step_no_clipping(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


# wrong where the norm exceeds 10
@wrong(
    "my_train_step",
    fault="clips after the step",
    true="clip|order|before",
    false="rate\\b|zero_grad",
)
def step_clips_after_step(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    _rate(optimizer, rate)
    optimizer.step()
    clip_grad_norm_(detector.parameters(), 10)
    return total.item(), assignment


@wrong(
    "my_train_step",
    fault="clips before backward, when there is no gradient yet",
    true="clip|order|after|before",
    false="rate\\b",
)
def step_clips_before_backward(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    clip_grad_norm_(detector.parameters(), 10)
    total.backward()
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@wrong(
    "my_train_step",
    fault="clips each value at 10, not the norm",
    true="clip|norm|one long vector|length",
    false="rate\\b|zero_grad",
)
def step_clips_values(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_value_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@wrong(
    "my_train_step",
    fault="clips the gradient of each weight by itself",
    true="clip|norm|one long vector|all weights|together",
    false="rate\\b|zero_grad",
)
def step_clips_each(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    for parameter in detector.parameters():
        if parameter.grad is not None:
            clip_grad_norm_([parameter], 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@wrong("my_train_step", fault="limit 1 instead of 10", true="clip|norm|10|limit", false="zero_grad")
def step_clips_at_one(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 1)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


# wrong where the norm is below 10: the gradient must stay as it is
@wrong(
    "my_train_step",
    fault="always scales the gradient to the norm 10, small ones too",
    true="clip|norm|limit|small|stay",
    false="rate\\b|zero_grad",
)
def step_always_scales(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    grads = [one.grad for one in detector.parameters() if one.grad is not None]
    norm = torch.sqrt(sum(grad.pow(2).sum() for grad in grads))
    for grad in grads:
        grad.mul_(10 / norm)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@wrong(
    "my_train_step", fault="returns a tensor", true="tensor|item|float|number", false="rate|clip"
)
def step_returns_tensor(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total, assignment


@wrong("my_train_step", fault="af_box is forgotten", true="af_box|sum|both|add|loss", false="clip")
def step_only_class(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, targets, batch.sizes)
    loss = detector.losses(outputs, assignment, targets)["af_cls"]
    loss.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return loss.item(), assignment


@wrong(
    "my_train_step",
    fault="the mean of both losses, not the sum",
    true="add|sum|half|loss",
    false="clip|rate\\b",
)
def step_mean_of_losses(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total = total / 2
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@wrong("my_train_step", fault="returns the loss alone", true="assignment|two|both|pair|returns")
def step_returns_loss_alone(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, _ = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return total.item()


@wrong("my_train_step", fault="no step at all", true="step|weights|update", false="clip")
def step_forgets_step(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, assignment = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    return total.item(), assignment


# the loss and the assignment of the second call would not be those of the step
@wrong(
    "my_train_step",
    fault="returns the loss after the step, of a second pass",
    true="loss|before|order|after",
    false="clip",
)
def step_loss_after_step(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    total, _ = _forward(detector, images, targets)
    total.backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    with torch.no_grad():
        total, assignment = _forward(detector, images, targets)
    return total.item(), assignment


@right("my_train_step", unusual="autograd.grad and a clipping of one's own")
def step_own_clipping(detector, optimizer, images, targets, rate):
    total, assignment = _forward(detector, images, targets)
    weights = [one for one in detector.parameters() if one.requires_grad]
    grads = torch.autograd.grad(total, weights, allow_unused=True)
    norm = sum(float((grad.double() ** 2).sum()) for grad in grads if grad is not None) ** 0.5
    factor = min(1.0, 10 / (norm + 1e-6))
    for weight, grad in zip(weights, grads):
        weight.grad = None if grad is None else grad * factor
    _rate(optimizer, rate)
    optimizer.step()
    return total.item(), assignment


@right("my_train_step", unusual="rate first, zero_grad twice, extra asserts and a print")
def step_careful(detector, optimizer, images, targets, rate):
    assert len(images) == len(targets)
    for index in range(len(optimizer.param_groups)):
        optimizer.param_groups[index].update(lr=rate)
    optimizer.zero_grad(set_to_none=False)
    total, assignment = _forward(detector, images, targets)
    optimizer.zero_grad()
    total.backward()
    norm = clip_grad_norm_(list(detector.parameters()), max_norm=10)
    print(f"loss {total.item():.3f}, norm {float(norm):.3f}")
    optimizer.step()
    return total.detach().tolist(), assignment


@right("my_train_step", unusual="each loss goes backward by itself, and the gradients add up")
def step_two_backwards(detector, optimizer, images, targets, rate):
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, targets, batch.sizes)
    losses = detector.losses(outputs, assignment, targets)
    for parameter in detector.parameters():
        parameter.grad = None
    losses["af_cls"].backward(retain_graph=True)
    losses["af_box"].backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return losses["af_cls"].item() + losses["af_box"].item(), assignment


@breaks("my_train_step", how="raises RuntimeError: backward twice through one graph")
def step_backward_twice(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, targets, batch.sizes)
    losses = detector.losses(outputs, assignment, targets)
    losses["af_cls"].backward()
    losses["af_box"].backward()
    clip_grad_norm_(detector.parameters(), 10)
    _rate(optimizer, rate)
    optimizer.step()
    return (losses["af_cls"] + losses["af_box"]).item(), assignment


@breaks("my_train_step", how="raises TypeError: the object of preprocess goes into the network")
def step_whole_batch(detector, optimizer, images, targets, rate):
    optimizer.zero_grad()
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch)
    assignment = detector.assign(outputs, targets, batch.sizes)
    losses = detector.losses(outputs, assignment, targets)
    total = sum(losses.values())
    total.backward()
    return total.item(), assignment


@breaks("my_train_step", how="endless loop: steps until the loss is small")
def step_until_small(detector, optimizer, images, targets, rate):
    _rate(optimizer, rate)
    while True:
        optimizer.zero_grad()
        total, assignment = _forward(detector, images, targets)
        total.backward()
        clip_grad_norm_(detector.parameters(), 10)
        if total.item() < 1e-9:
            return total.item(), assignment
