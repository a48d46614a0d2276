"""Downloads of COCO 2017 and of single files: resumed, checked and unpacked."""

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
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from torchvision.datasets.utils import check_integrity
from tqdm.auto import tqdm

from ..config import FSAFError
from ..utils.files import write_atomically

COCO_URL = "http://images.cocodataset.org"
TRIES = 5  # consecutive connections that may deliver nothing
TIMEOUT = 20  # seconds without a byte


@dataclass(frozen=True)
class Archive:
    """A zip file of a set, and which of its files are needed."""

    path: str  # below the server's address
    size: int  # bytes
    md5: str
    members: str  # pattern of the names of the needed files
    files: int  # number of these files


COCO = (
    Archive(
        path="annotations/annotations_trainval2017.zip",
        size=252_907_541,
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
        members="annotations/instances_*.json",
        files=2,
    ),
    Archive(
        path="zips/val2017.zip",
        size=815_585_330,
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        members="val2017/*.jpg",
        files=5_000,
    ),
    Archive(
        path="zips/train2017.zip",
        size=19_336_861_798,
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        members="train2017/*.jpg",
        files=118_287,
    ),
)


def fetch(url: str, path: Path | str, sha256: str = "", md5: str | None = None) -> Path:
    """Download a file, unless a correct one is there.

    The download grows as `path`.part, continues where an earlier one stopped, and is renamed when
    it is complete and correct.

    Args:
        url: http or https.
        path: where to store the file.
        sha256: hex digits; the first ones are enough.
        md5: hex digits.

    Returns:
        The path.

    Raises:
        FSAFError: "HOST cannot be reached (...): check your connection and try again."; "The server
            answers 404 ... for URL: ..."; "The connection to URL broke 5 times ...: try again
            later; ..."; "x.part cannot be written (...): make room ..."; "URL was received with a
            wrong checksum and removed: try again."
    """
    path = Path(path)
    if _is_correct(path, sha256, md5):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    idle = 0
    while idle < TRIES:
        before = _size(part)
        try:
            if _continue(url, part):
                break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # there is nothing left to send
                break
            if error.code < 500:
                raise FSAFError(
                    f"The server answers {error.code} {error.reason} for {url}: try again later."
                ) from None
        except urllib.error.URLError as error:
            if not before:
                host = urllib.request.Request(url).host
                raise FSAFError(
                    f"{host} cannot be reached ({error.reason}): check your connection and try "
                    "again."
                ) from None
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            pass  # the connection broke; the loop continues with the rest
        except OSError as error:
            raise FSAFError(
                f"{part} cannot be written ({error.strerror}): make room and try again; the part "
                "that was received is kept."
            ) from None
        idle = 0 if _size(part) > before else idle + 1
        time.sleep(min(2**idle, 10))
    else:
        raise FSAFError(
            f"The connection to {url} broke {TRIES} times without delivering anything: "
            "try again later; the part that was received is kept."
        )
    if not _is_correct(part, sha256, md5):
        part.unlink()
        raise FSAFError(f"{url} was received with a wrong checksum and removed: try again.")
    os.replace(part, path)
    return path


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is_correct(file: Path, sha256: str, md5: str | None) -> bool:
    """Return whether a file is there and has the checksums."""
    if not check_integrity(file, md5):
        return False
    return not sha256 or hashlib.sha256(file.read_bytes()).hexdigest().startswith(sha256)


def _continue(url: str, part: Path) -> bool:
    """Append what one connection delivers; return whether the file is now complete."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server sends the whole file
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        bar = {"total": total, "initial": start, "desc": part.stem, "mininterval": 1}
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm.wrapattr(file, "write", **bar) as counted,
        ):
            shutil.copyfileobj(response, counted)
    return total is None or _size(part) >= total


def unpack(archive: Path, folder: Path, pattern: str = "*") -> None:
    """Unpack those files of a zip whose names match a pattern.

    Files that are there in their full size are skipped. zipfile writes nothing outside the folder
    and makes no links, whatever the names in the archive.

    Raises:
        FSAFError: "x.zip is damaged (...): remove it and fetch it again."
    """
    try:
        with zipfile.ZipFile(archive) as source:
            wanted = [entry for entry in source.infolist() if fnmatch(entry.filename, pattern)]
            for entry in tqdm(wanted, f"unpacking {archive.name}", unit=" files", mininterval=1):
                if _size(folder / entry.filename) != entry.file_size:
                    source.extract(entry, folder)
    # zipfile raises RuntimeError for a password and for an unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise FSAFError(f"{archive} is damaged ({error}): remove it and fetch it again.") from None


def download_coco(
    root: Path | str = "data",
    subset: int | None = None,
    url: str = COCO_URL,
    archives: tuple[Archive, ...] = COCO,
) -> Path:
    """Download COCO 2017 into `root/coco` and unpack it.

    The folder then has `annotations/instances_*2017.json`, `train2017/` and `val2017/`. Archives
    are removed after unpacking. With `subset`, only val2017 (1.1 GB) is downloaded, and two jsons
    of images in `val2017/` are made: `annotations/subset{N}_train.json` with N images for
    training, and `annotations/subset{N}_val.json` with up to 1,000 others for evaluation.

    Args:
        root: the data folder.
        subset: number of images of a small training set, 1..4000; None: all of COCO, 20 GB, and
            40 GB while unpacking.
        url: the server's address.
        archives: annotations, val2017, train2017.

    Returns:
        `root/coco`.

    Raises:
        FSAFError: "subset is 5000, but it must lie in 1..4000: ..."; "COCO 2017 needs 39.7 GB in
            ..., but ...: ..."; as `fetch` and `unpack`.
    """
    folder = Path(root) / "coco"
    if subset is not None and not 1 <= subset <= 4000:
        raise FSAFError(
            f"subset is {subset}, but it must lie in 1..4000: "
            "val2017 has 5,000 images, and some are kept for evaluation."
        )
    missing = {}
    for archive in archives[: 2 if subset else 3]:
        path = folder / Path(archive.path).name
        # An archive that is still there has not been unpacked to its end.
        if path.exists() or len([*folder.glob(archive.members)]) < archive.files:
            missing[path] = archive
    if missing:
        _check_room(folder, missing)
    for path, archive in missing.items():
        fetch(f"{url}/{archive.path}", path, md5=archive.md5)
        unpack(path, folder, archive.members)
        path.unlink()
    if subset:
        _make_subset(folder / "annotations", subset)
    return folder


def _check_room(folder: Path, missing: dict[Path, Archive]) -> None:
    """Create the folder and raise if its disk has too little room for the archives."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [archive.size for archive in missing.values()]
    present = sum(_size(path) + _size(path.with_name(f"{path.name}.part")) for path in missing)
    # Unpacked images are as large as their archive. At worst all files are unpacked and the
    # largest archive is still there.
    needed = sum(sizes) + max(sizes) - present
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FSAFError(
            f"COCO 2017 needs {needed / 1e9:.1f} GB in {folder}, but only {free / 1e9:.1f} GB are "
            "free: make room or choose another folder."
        )


def _make_subset(folder: Path, count: int) -> None:
    """Write two jsons of random images of val2017, the same ones each time."""
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
