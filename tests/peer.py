"""Add torchvision's RetinaNet to an ablation: `python tests/peer.py runs/ablation`.

The folder is that of a finished `fsaf ablation`. The peer has the tiny backbone and pyramid, and the
scenes, recipe and steps of the rows in that folder, and their first five seeds. Finished runs are
kept. The script adds its row to ablation.json and to the table in ablation.md, and prints the table.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead

from fsaf_core import presets
from fsaf_core.config import Config, ModelConfig
from fsaf_core.data.loader import Loader, open_dataset
from fsaf_core.engine.optim import build_optimizer, clip_gradients, learning_rate, set_rate
from fsaf_core.evaluation.coco_metrics import coco_metrics, to_coco_results
from fsaf_core.model.anchor_branch import AnchorBased
from fsaf_core.model.backbone import build_backbone
from fsaf_core.model.fpn import FeaturePyramid
from fsaf_core.tools.ablation import MIN_SEEDS, ablation_table
from fsaf_core.utils.files import write_atomically

PEER = "torchvision_retinanet"


class BackboneAndPyramid(nn.Module):
    """The tiny backbone and pyramid, as what torchvision's detectors call a backbone."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(model, pretrained=False)
        levels = model.first_level, model.last_level
        self.neck = FeaturePyramid(self.backbone.out_channels, model.channels, *levels)
        self.out_channels = model.channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the levels by name."""
        return {
            str(index): level
            for index, level in enumerate(self.neck([*self.backbone(images).values()]))
        }


def torchvision_retinanet(model: ModelConfig) -> RetinaNet:
    """Return torchvision's RetinaNet with our backbone, pyramid, tower depth, tower norm and anchors."""
    anchors = AnchorBased(model.strides, model.anchor_scale)
    head = RetinaNetHead(
        model.channels, anchors.per_cell, model.num_classes, norm_layer=partial(nn.GroupNorm, 8)
    )
    for tower in (head.classification_head, head.regression_head):
        tower.conv = nn.Sequential(*list(tower.conv)[: model.tower_depth])
    return RetinaNet(
        BackboneAndPyramid(model),
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
    """Train the peer with the recipe, data and seed of `config`, and return its metrics.

    A finished run in `run_dir` is not trained again.
    """
    path = run_dir / "metrics.json"
    if path.exists():
        return json.loads(path.read_text())
    recipe = config.train
    torch.manual_seed(recipe.seed)
    data = Loader(open_dataset(config.data, "train"), config, training=True)
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model = torchvision_retinanet(config.model).to(memory_format=memory_format).train()
    optimizer = build_optimizer(recipe, model)
    batches = (batch for epoch in count() for batch in data.epoch(epoch))
    for step, (images, targets, _) in zip(range(recipe.steps), batches):
        set_rate(optimizer, learning_rate(recipe, step, recipe.steps))
        ground_truth = [
            {"boxes": target["boxes"], "labels": target["labels"]} for target in targets
        ]
        losses = model([image.float() / 255 for image in images], ground_truth)
        optimizer.zero_grad()
        torch.stack([*losses.values()]).sum().backward()
        clip_gradients(optimizer, recipe.clip_norm)
        optimizer.step()
    dataset = open_dataset(config.data, "val")
    ids, results = [], []
    with torch.inference_mode():
        for images, _, batch_ids in Loader(dataset, config, training=False).epoch():
            detections = model.eval()([image.float() / 255 for image in images])
            ids += batch_ids
            results += to_coco_results(batch_ids, detections, dataset.index.category_ids)
    metrics = coco_metrics(dataset.json_path, results, ids)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(metrics))
    return metrics


def compare_with_peer(out: Path, base: Config) -> str:
    """Add the peer as the last row to the ablation in `out`, and return the table.

    `base` has the data, the recipe and the sizes of the peer.
    """
    record = json.loads((out / "ablation.json").read_text())
    results: dict[str, list[float]] = {"AP": [], "AP50": []}
    for seed in range(min(record["seeds"], MIN_SEEDS)):
        config = replace(base, train=replace(base.train, steps=record["steps"], seed=seed))
        metrics = train_peer(config, out / f"{PEER}_seed{seed}")
        for name, values in results.items():
            values.append(100 * metrics[name])
        print(f"{PEER}, seed {seed}: AP {100 * metrics['AP']:.1f}", flush=True)
    record["rows"][PEER] = results
    write_atomically(out / "ablation.json", json.dumps(record, indent=1))
    table = ablation_table(record["rows"], record["steps"])
    write_atomically(out / "ablation.md", table + "\n")
    return table


if __name__ == "__main__":
    print(compare_with_peer(Path(sys.argv[1]), presets.get("tiny_retinanet")))
