"""The commands on data sets: make the scenes, download COCO, check a set, convert one.

Each is a dataclass whose fields are its options. A call runs it.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from ..config import FSAFError, SceneConfig
from ..data.coco import CocoDataset
from ..data.coco_index import counted
from ..data.images import header_size
from ..utils.files import excerpt

#: Folders of a YOLO set that are trained on and validated on separately.
SPLITS = ("images/train", "images/val", "images/test", "train", "valid", "val", "test")
SHOWN = 10  # images that are drawn, and files whose fault is printed, at most


@dataclass(frozen=True)
class Scenes:
    """Generate the scenes: small images of shapes, with their boxes.

    Examples:
        fsaf data scenes
        fsaf data scenes --scenes.max-aspect 8 --scenes.seed 1
    """

    scenes: SceneConfig = field(default_factory=SceneConfig)
    root: Path = Path("data")

    def __call__(self) -> None:
        """Generate the scenes."""
        from ..data.synthetic.dataset import make_scenes

        folder = make_scenes(self.scenes, self.root)
        print(f"{self.scenes.num_train} + {self.scenes.num_val} scenes in {folder}")


@dataclass(frozen=True)
class Coco:
    """Download COCO 2017 (20 GB, or a small subset), check it and unpack it.

    Examples:
        fsaf data coco
        fsaf data coco --subset 500
    """

    root: Path = Path("data")
    subset: int | None = None  # images of a small training set, taken from val2017 alone

    def __call__(self) -> None:
        """Download, and print the command that trains on the result."""
        from ..data.download import download_coco

        folder = download_coco(self.root, subset=self.subset)
        print(f"COCO is in {folder}. To train on it:")
        command = ["fsaf", "train", "r50"]
        if self.subset is None:
            command += ["--data.root", str(self.root)]
        else:
            command += ["--data.source", "files"]
            for split in ("train", "val"):
                json_path = folder / "annotations" / f"subset{self.subset}_{split}.json"
                command += [f"--data.{split}-json", str(json_path)]
                command += [f"--data.{split}-images", str(folder / "val2017")]
            # r50's 500 steps are longer than this training; these are an epoch.
            command += ["--train.warmup-steps", str(-(-self.subset // 16))]
            command += ["--out", f"runs/subset{self.subset}"]
        print(shlex.join(command))


@dataclass(frozen=True)
class Check:
    """Print what a training would use of a COCO json, and draw ten of its images with their boxes.

    Examples:
        fsaf data check annotations.json photos
    """

    json: tyro.conf.Positional[Path]
    images: tyro.conf.Positional[Path]
    out: Path = Path("check")  # folder of the drawing

    def __call__(self) -> None:
        """Read the json and the start of each image file; print and draw."""
        dataset = CocoDataset(self.json, self.images, train=True)
        index = dataset.index
        turned: dict[int, bool] = {}  # of the usable images: whether EXIF data turn them
        faults = []
        silent = not sys.stderr.isatty()
        for i in tqdm(range(len(dataset)), "reading headers", leave=False, disable=silent):
            try:
                *size, is_turned = header_size(dataset.path(i))
                dataset.check_size(i, (size[0], size[1]))
                turned[i] = is_turned
            except FSAFError as fault:
                faults.append(str(fault))
        per_class = np.bincount(index.labels[~index.iscrowd], minlength=len(index.class_names))
        named = [f"{excerpt(n)} {count:,}" for n, count in zip(index.class_names, per_class)]
        noted = dataset.counts | {
            "classes without a box": int((per_class == 0).sum()),
            "files that cannot be used, as said below": len(faults),
            "images turned by their EXIF data": sum(turned.values()),
        }
        print(f"trained on: {len(turned):,} of {len(index):,} images, {dataset.instances:,} boxes")
        more = [f"and of {len(named) - 20} more classes"] if len(named) > 20 else []
        print(f"boxes of each class: {', '.join(named[:20] + more)}")
        print(f"repaired: {'; '.join(counted(dataset.repaired)) or 'nothing'}")
        print(f"noted or left out: {'; '.join(counted(noted)) or 'nothing'}")
        print(*faults[:SHOWN], sep="\n", end="\n" if faults else "")
        if turned:
            print(f"some images with their boxes: {_draw_sheet(dataset, turned, self.out)}")


def _draw_sheet(dataset: CocoDataset, turned: dict[int, bool], folder: Path) -> Path:
    """Draw images from the whole set with their boxes, and return the picture's path."""
    from ..viz.plots import draw_boxes

    side, head, columns = 320, 24, 5
    names = (*dataset.class_names, "crowd")
    usable = list(turned)
    chosen = [usable[len(usable) * place // SHOWN] for place in range(min(SHOWN, len(usable)))]
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * (side + head), rows * (side + head)), "white")
    for place, i in enumerate(chosen):
        try:
            sample = dataset[i]
        except FSAFError as fault:  # only its header is sound
            print(fault)
            continue
        boxes = torch.cat([sample["boxes"], sample["ignored"]]).tolist()
        labels = sample["labels"].tolist()
        labels += [len(names) - 1] * (len(boxes) - len(labels))
        image = Image.fromarray(sample["image"].permute(1, 2, 0).numpy())
        x, y = (side + head) * (place % columns), (side + head) * (place // columns)
        title = f"image {sample['image_id']}{', turned by EXIF data' if turned[i] else ''}"
        ImageDraw.Draw(sheet).text((x, y + 6), title, "black")
        sheet.paste(draw_boxes(image, boxes, labels, None, names, side), (x, y + head))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "check.png"
    sheet.save(path)
    return path


@dataclass(frozen=True)
class Convert:
    """Write the annotations of a YOLO folder or of Pascal VOC as a COCO json.

    Examples:
        fsaf data convert yolo photos/train train.json
        fsaf data convert voc VOC2007 voc.json
    """

    kind: tyro.conf.Positional[Literal["yolo", "voc"]]
    source: tyro.conf.Positional[Path]  # folder of the images and annotations
    out: tyro.conf.Positional[Path]  # the json to write

    def __call__(self) -> None:
        """Convert, and print the command that checks the result."""
        from ..data.convert import convert

        images, boxes = convert(self.kind, self.source, self.out)
        splits = [name for name in SPLITS if (self.source / name).is_dir()]
        if self.kind == "yolo" and len(splits) > 1:
            print(f"{self.out} joins {' and '.join(splits)}: for a training, convert each alone.")
        print(f"{self.out} has {images:,} images and {boxes:,} boxes. To look at them:")
        print(shlex.join(["fsaf", "data", "check", str(self.out), str(self.source)]))
