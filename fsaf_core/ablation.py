"""`fsaf ablation`: the paper's five rows in the tiny world, with paired seeds, and torchvision's RetinaNet beside them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead

from . import presets
from .anchors import AnchorBased
from .config import Config
from .data.loading import Loader, open_dataset
from .files import write_atomically
from .metrics import coco_metrics, to_coco_results
from .network import FeaturePyramid, body_features, make_body
from .optim import build_optimizer, clip_gradients, learning_rate, set_rate
from .train import train

PEER = "torchvision_retinanet"


class _BodyAndPyramid(nn.Module):
    """The tiny body and pyramid as torchvision's detectors want a backbone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        model = config.model
        self.backbone, channels = make_body(model, pretrained=False)
        self.neck = FeaturePyramid(channels, model.channels, model.first_level, model.last_level)
        self.out_channels = model.channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Levels by name."""
        return {str(index): level for index, level in enumerate(self.neck(body_features(self.backbone, images)))}


def torchvision_retinanet(config: Config) -> RetinaNet:
    """torchvision's RetinaNet on the same body and pyramid, towers of the same depth and norm, anchors scaled as ours."""
    model = config.model
    anchors = AnchorBased(model.strides, model.anchor_scale)
    head = RetinaNetHead(model.channels, anchors.per_cell, model.num_classes, norm_layer=partial(nn.GroupNorm, 8))
    for tower in (head.classification_head, head.regression_head):
        tower.conv = nn.Sequential(*list(tower.conv)[: model.tower_depth])
    return RetinaNet(
        _BodyAndPyramid(config),
        model.num_classes,
        anchor_generator=anchors.generator,
        head=head,
        min_size=model.short_side,
        max_size=model.long_side,
        image_mean=list(model.image_mean),
        image_std=list(model.image_std),
        score_thresh=model.score_thresh,
        nms_thresh=model.nms_thresh,
        topk_candidates=model.topk_candidates,
        detections_per_img=model.detections_per_img,
    )


def train_peer(config: Config, run_dir: Path) -> dict:
    """Trains the peer with the recipe, data and seeds of `config`; its metrics, kept in `run_dir`."""
    done = run_dir / "metrics.json"
    if done.exists():
        return json.loads(done.read_text())
    recipe = config.train
    torch.manual_seed(recipe.seed)
    data = Loader(open_dataset(config.data, "train"), config, training=True)
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model = torchvision_retinanet(config).to(memory_format=memory_format).train()
    optimizer, total, step = build_optimizer(recipe, model), recipe.steps or recipe.epochs * len(data), 0
    while step < total:
        for images, targets, _ in data.epoch(step // len(data)):
            set_rate(optimizer, learning_rate(recipe, step, total))
            wanted = [{"boxes": target["boxes"], "labels": target["labels"]} for target in targets]
            losses = model([image.float() / 255 for image in images], wanted)
            optimizer.zero_grad()
            torch.stack([*losses.values()]).sum().backward()
            clip_gradients(optimizer, recipe.clip_norm)
            optimizer.step()
            step += 1
            if step == total:
                break
    dataset = open_dataset(config.data, "val", training=False)
    ids, results = [], []
    with torch.inference_mode():
        for images, _, own in Loader(dataset, config, training=False).epoch():
            found = model.eval()([image.float() / 255 for image in images])
            ids += own
            results += to_coco_results(own, found, dataset.index.category_ids)
    metrics = coco_metrics(dataset.json_path, results, ids)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(done, json.dumps(metrics))
    return metrics


def ablation(
    out: str | Path = "runs/ablation",
    rows: Sequence[str] = presets.FIVE,
    seeds: int = 5,
    steps: int | None = None,
    base: Config | None = None,
) -> str:
    """Trains each row with each seed, and writes and returns the table with paired differences to the first row.

    Runs that are finished are kept, one that was stopped goes on: the same command again.

    Args:
        rows: presets of the tiny world, and `torchvision_retinanet`.
        seeds: 0..seeds-1; the same for every row (weights, order, augmentation).
        steps: of each run; None: half of tiny's.
        base: whose data and recipe all rows take; None: tiny's.

    Raises:
        FSAFError: "no preset 'foo': there are ..."; as `train`.
    """
    out, base = Path(out), base or presets.get("tiny")
    steps = steps or (base.train.steps or 0) // 2
    figures: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        for row in rows:
            recipe = replace(base.train, steps=steps, seed=seed, snapshots=0, validate_every=steps)
            own = presets.get("tiny_retinanet" if row == PEER else row)
            config = replace(own, train=recipe, data=base.data, evaluate=base.evaluate)
            run_dir = out / f"{row}_seed{seed}"
            if row == PEER:
                metrics = train_peer(config, run_dir)
            elif (run_dir / "model.safetensors").exists():
                metrics = json.loads((run_dir / "metrics.json").read_text())
            else:
                metrics = train(config, run_dir).metrics
            for name in ("AP", "AP50"):
                figures.setdefault(row, {}).setdefault(name, []).append(100 * metrics[name])
            print(f"{row}, seed {seed}: AP {100 * metrics['AP']:.1f}", flush=True)
    write_atomically(out / "ablation.json", json.dumps({"steps": steps, "seeds": seeds, "rows": figures}, indent=1))
    text = ablation_table(figures, steps, rows[0])
    write_atomically(out / "ablation.md", text + "\n")
    return text


def ablation_table(figures: dict[str, dict[str, list[float]]], steps: int, first: str) -> str:
    """Markdown: mean and standard deviation over seeds; mean paired difference to `first`, 95 % bootstrap interval."""
    lines = [f"| row ({steps} steps) | seeds | AP | AP50 | AP minus {first}'s, paired |", "|---|---|---|---|---|"]
    reference = np.array(figures[first]["AP"])
    for row, values in figures.items():
        ap, ap50 = np.array(values["AP"]), np.array(values["AP50"])
        spread = f" ± {ap.std(ddof=1):.1f}" if len(ap) > 1 else ""
        difference = "-"
        if row != first:
            low, high = bootstrap_interval(ap - reference)
            difference = f"{(ap - reference).mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        lines.append(f"| {row} | {len(ap)} | {ap.mean():.1f}{spread} | {ap50.mean():.1f} | {difference} |")
    return "\n".join(lines)


def bootstrap_interval(values: np.ndarray, draws: int = 10_000) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` (n,) by resampling them with replacement."""
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
    return float(low), float(high)
