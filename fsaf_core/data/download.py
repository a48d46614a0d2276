"""Files from the network: resumed where a connection broke, checked, unpacked with care. COCO 2017, and a small set out of it."""

import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torchvision.datasets.utils import check_integrity
from tqdm.auto import tqdm

from ..config import FSAFError
from ..utils.files import write_atomically
from .coco_index import OUTSIDE

COCO_URL = "http://images.cocodataset.org"
TRIES = 5  # connections in a row that may bring nothing
TIMEOUT = 20  # seconds without a byte
BLOCK = 2**20


@dataclass(frozen=True)
class Archive:
    """One zip of a set, and what is wanted from it."""

    path: str  # below the server's address
    size: int  # bytes
    md5: str
    members: str  # only what starts so is unpacked
    files: int  # so many
    unpacked: int  # bytes, about


COCO = (
    Archive("annotations/annotations_trainval2017.zip", 252_907_541, "f4bbac642086de4f52a3fdda2de5fa2c",
            "annotations/instances_", 2, 490_000_000),
    Archive("zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80", "val2017/", 5_000, 820_000_000),
    Archive("zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2", "train2017/", 118_287, 19_400_000_000),
)  # fmt: skip


def _room(folder: Path, needed: int, what: str) -> None:
    """Make the folder, and refuse to begin what its disk cannot hold."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FSAFError(
            f"{folder}: cannot be made ({error.strerror}): choose another folder."
        ) from None
    free = shutil.disk_usage(folder).free
    if needed > free:
        lack = f"{what} needs {needed / 1e9:.1f} GB in {folder}, but {free / 1e9:.1f} GB are free"
        raise FSAFError(f"{lack}: make room or choose another folder.")


def fetch(
    url: str,
    path: Path | str,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
) -> Path:
    """Download a file; what lies at `path` afterwards is whole and checked.

    It grows as `path`.part, from where it broke off the last time, and is renamed when done. A file that is there, of the right
    size, is left alone.

    Args:
        url: http or https.
        path: where to put it.
        size: bytes, if known beforehand.
        sha256: hex digits, or as many of the first ones as are known.
        md5: hex digits.

    Raises:
        FSAFError: "cannot reach HOST ...: are you offline? ..."; "URL: the server says 404 ..."; "... needs 19.3 GB in ...";
            "URL: its size or checksum is not what ...".
    """
    path = Path(path)
    if path.is_file() and size in (None, path.stat().st_size):
        return path
    _room(path.parent, 0, path.name)
    part = path.with_name(path.name + ".part")
    idle = 0
    while idle < TRIES:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _continue(url, part, size):
                sound = size in (None, part.stat().st_size) and check_integrity(part, md5)
                if sound and sha256:
                    sound = hashlib.sha256(part.read_bytes()).hexdigest().startswith(sha256)
                if not sound:
                    part.unlink()
                    raise FSAFError(
                        f"{url}: its size or checksum is not what it should be: what came was removed; try again."
                    )
                os.replace(part, path)
                return path
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise FSAFError(
                    f"{url}: the server says {error.code} {error.reason}: try again later."
                ) from None
        except urllib.error.URLError as error:
            if not part.exists() or idle:  # never reached, or not any more
                host = urllib.request.Request(url).host
                raise FSAFError(
                    f"cannot reach {host} ({error.reason}): are you offline? Try again; what came is kept."
                ) from None
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            pass  # broke off
        except OSError as error:
            raise FSAFError(
                f"{part}: cannot be written ({error.strerror}): make room, what came is kept."
            ) from None
        idle = 0 if part.exists() and part.stat().st_size > before else idle + 1
        time.sleep(min(2**idle, 10) if idle else 0.1)
    raise FSAFError(
        f"{url}: the connection broke {TRIES} times without bringing anything: try again later; what came is kept."
    )


def _continue(url: str, part: Path, size: int | None) -> bool:
    """One connection's worth of the rest of the file; whether it is now whole."""
    start = part.stat().st_size if part.exists() else 0
    if size is not None and start >= size:
        return True
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        part.unlink()  # it holds more than the server's file
        return False
    with response:
        if response.status != 206:  # the server begins anew
            start = 0
        length = response.headers.get("Content-Length")
        total = size or (start + int(length) if length else None)
        if total is not None:
            _room(part.parent, total - start, part.stem)
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(
                desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, mininterval=1
            ) as bar,
        ):
            while block := response.read1(BLOCK):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
            return total is None or file.tell() >= total


def unpack(archive: Path | str, folder: Path | str, prefix: str = "") -> int:
    """Unpack a zip's files whose names start with `prefix`; returns how many there are. Those there in full are left alone.

    Raises:
        FSAFError: "x.zip: holds '../x', which leads outside ...: nothing was unpacked"; "x.zip: damaged: ...".
    """
    folder = Path(folder)
    try:
        with zipfile.ZipFile(archive) as source:
            wanted = [
                entry
                for entry in source.infolist()
                if entry.filename.startswith(prefix) and not entry.is_dir()
            ]
            for entry in wanted:
                if OUTSIDE.search(entry.filename):
                    held = f"{archive}: holds {entry.filename!r}, which leads outside {folder}"
                    raise FSAFError(f"{held}: nothing was unpacked, remove it.")
            sizes = {
                name: (folder / name).stat().st_size
                for name in source.namelist()
                if (folder / name).is_file()
            }
            missing = [entry for entry in wanted if sizes.get(entry.filename) != entry.file_size]
            _room(
                folder, sum(entry.file_size for entry in missing), f"unpacking {Path(archive).name}"
            )
            for entry in tqdm(
                missing,
                f"unpacking {Path(archive).name}",
                unit=" files",
                mininterval=1,
                disable=not missing,
            ):
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                with source.open(entry) as packed, open(part, "wb") as file:
                    shutil.copyfileobj(packed, file, BLOCK)
                os.replace(part, target)
    # RuntimeError: zipfile's word for a password, and for a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise FSAFError(f"{archive}: damaged: {error}: remove it and fetch it again.") from None
    return len(wanted)


def download_coco(
    root: Path | str = "data",
    subset: int | None = None,
    url: str = COCO_URL,
    archives: tuple[Archive, ...] = COCO,
) -> Path:
    """COCO 2017 in `root/coco`: `annotations/instances_*2017.json`, `train2017/`, `val2017/`; archives go once unpacked.

    With `subset`, only val2017 is fetched (1.1 GB), and `annotations/subset{N}_train.json` and `..._val.json` are made of it: N
    images to learn from, and up to 1,000 others to be judged by. Both name images in `val2017/`.

    Args:
        root: the data folder.
        subset: images of a small training set, 1..4000; None: all of COCO, 20 GB, 40 GB while unpacking.
        url: the server's address.
        archives: annotations, val2017, train2017.

    Returns:
        `root/coco`.

    Raises:
        FSAFError: "subset is 5000: it must lie in 1..4000: ..."; "COCO 2017 needs 40.0 GB in ..., but ..."; as `fetch`, `unpack`.
    """
    folder = Path(root) / "coco"
    if subset is not None and not 1 <= subset <= 4000:
        raise FSAFError(
            f"subset is {subset}: it must lie in 1..4000: of val2017's 5,000 images some are kept to judge by."
        )
    wanted = [
        archive for archive in archives[: 2 if subset else 3] if not _is_there(folder, archive)
    ]
    zips = [folder / Path(archive.path).name for archive in wanted]
    have = sum(
        file.stat().st_size
        for path in zips
        for file in (path, path.with_name(path.name + ".part"))
        if file.exists()
    )
    # Each archive goes when it is unpacked: at the worst, all is unpacked and the largest archive still there.
    if wanted:
        _room(
            folder,
            sum(a.unpacked for a in wanted) + max(a.size for a in wanted) - have,
            "COCO 2017",
        )
    for archive, path in zip(wanted, zips):
        fetch(f"{url}/{archive.path}", path, archive.size, md5=archive.md5)
        unpack(path, folder, archive.members)
        path.unlink()
    if subset:
        _make_subset(folder / "annotations", subset)
    return folder


def _is_there(folder: Path, archive: Archive) -> bool:
    """Whether all files of an archive are unpacked."""
    where, _, start = archive.members.rpartition("/")
    try:
        found = [
            name
            for name in os.listdir(folder / where)
            if name.startswith(start) and name.endswith((".jpg", ".json"))
        ]
    except OSError:
        return False
    return len(found) >= archive.files


def _make_subset(folder: Path, count: int) -> None:
    """Two jsons of images of val2017 drawn by chance, always the same ones."""
    whole = json.loads((folder / "instances_val2017.json").read_text())
    order = np.random.default_rng(0).permutation(len(whole["images"]))
    for name, chosen in (("train", order[:count]), ("val", order[count : count + 1000])):
        images = [whole["images"][i] for i in sorted(chosen)]
        ids = {image["id"] for image in images}
        annotations = [
            annotation for annotation in whole["annotations"] if annotation["image_id"] in ids
        ]
        part = {**whole, "images": images, "annotations": annotations}
        write_atomically(folder / f"subset{count}_{name}.json", json.dumps(part))
