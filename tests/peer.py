"""torchvision's RetinaNet beside an ablation: `fsaf ablation --out runs/peer ...`, then `python tests/peer.py runs/peer`.

It is trained on the tiny body, pyramid and scenes, with the seeds, the recipe and the steps of that folder's rows. What is
finished is kept. The table goes to the screen, its figures to peer.json.
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
from fsaf_core.model.backbone import backbone_features, build_backbone
from fsaf_core.model.fpn import FeaturePyramid
from fsaf_core.tools.ablation import ablation_table
from fsaf_core.utils.files import write_atomically

PEER = "torchvision_retinanet"


class BodyAndPyramid(nn.Module):
    """The tiny body and pyramid as torchvision's detectors want a backbone."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.backbone, channels = build_backbone(model, pretrained=False)
        self.neck = FeaturePyramid(channels, model.channels, model.first_level, model.last_level)
        self.out_channels = model.channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Levels by name."""
        return {
            str(index): level
            for index, level in enumerate(self.neck(backbone_features(self.backbone, images)))
        }


def torchvision_retinanet(model: ModelConfig) -> RetinaNet:
    """torchvision's RetinaNet on the same body and pyramid, towers of the same depth and norm, anchors scaled as ours."""
    anchors = AnchorBased(model.strides, model.anchor_scale)
    head = RetinaNetHead(
        model.channels, anchors.per_cell, model.num_classes, norm_layer=partial(nn.GroupNorm, 8)
    )
    for tower in (head.classification_head, head.regression_head):
        tower.conv = nn.Sequential(*list(tower.conv)[: model.tower_depth])
    return RetinaNet(
        BodyAndPyramid(model),
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
    model = torchvision_retinanet(config.model).to(memory_format=memory_format).train()
    optimizer = build_optimizer(recipe, model)
    batches = (batch for epoch in count() for batch in data.epoch(epoch))
    for step, (images, targets, _) in zip(range(recipe.steps), batches):
        set_rate(optimizer, learning_rate(recipe, step, recipe.steps))
        wanted = [{"boxes": target["boxes"], "labels": target["labels"]} for target in targets]
        losses = model([image.float() / 255 for image in images], wanted)
        optimizer.zero_grad()
        torch.stack([*losses.values()]).sum().backward()
        clip_gradients(optimizer, recipe.clip_norm)
        optimizer.step()
    dataset = open_dataset(config.data, "val")
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


def beside(out: Path, base: Config) -> str:
    """The table of the ablation in `out`, the peer its first row; `base` has the data, the recipe and the sizes of the peer."""
    found = json.loads((out / "ablation.json").read_text())
    figures: dict[str, list[float]] = {"AP": [], "AP50": []}
    for seed in range(found["seeds"]):
        config = replace(base, train=replace(base.train, steps=found["steps"], seed=seed))
        metrics = train_peer(config, out / f"{PEER}_seed{seed}")
        for name, values in figures.items():
            values.append(100 * metrics[name])
        print(f"{PEER}, seed {seed}: AP {100 * metrics['AP']:.1f}", flush=True)
    rows = {PEER: figures, **found["rows"]}
    write_atomically(out / "peer.json", json.dumps(found | {"rows": rows}, indent=1))
    return ablation_table(rows, found["steps"])


if __name__ == "__main__":
    print(beside(Path(sys.argv[1]), presets.get("tiny_retinanet")))
