"""Downloads of COCO 2017 and of single files: resumed, checked, and unpacked safely."""

import hashlib
import http.client
import json
import os
import re
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

COCO_URL = "http://images.cocodataset.org"
TRIES = 5  # consecutive connections that may deliver nothing
TIMEOUT = 20  # seconds without a byte
BLOCK = 2**20
# Names that lead out of their folder on some operating system.
OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")


@dataclass(frozen=True)
class Archive:
    """A zip file of a set, and which of its files are needed."""

    path: str  # below the server's address
    size: int  # bytes
    md5: str
    members: str  # only files whose names start with this are unpacked
    files: int  # number of these files
    unpacked: int  # their size, bytes, rounded


COCO = (
    Archive(
        path="annotations/annotations_trainval2017.zip",
        size=252_907_541,
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
        members="annotations/instances_",
        files=2,
        unpacked=490_000_000,
    ),
    Archive(
        path="zips/val2017.zip",
        size=815_585_330,
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        members="val2017/",
        files=5_000,
        unpacked=820_000_000,
    ),
    Archive(
        path="zips/train2017.zip",
        size=19_336_861_798,
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        members="train2017/",
        files=118_287,
        unpacked=19_400_000_000,
    ),
)


def _check_room(folder: Path, needed: int, what: str) -> None:
    """Create the folder and raise if its disk has fewer than `needed` bytes left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FSAFError(
            f"{folder} cannot be created ({error.strerror}): choose another folder."
        ) from None
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FSAFError(
            f"{what} needs {needed / 1e9:.1f} GB in {folder}, but only {free / 1e9:.1f} GB are "
            "free: make room or choose another folder."
        )


def fetch(
    url: str,
    path: Path | str,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
) -> Path:
    """Download a file, unless it is there in the right size, and check it.

    The download grows as `path`.part, continues where an earlier one stopped, and is renamed when
    it is complete and correct.

    Args:
        url: http or https.
        path: where to store the file.
        size: bytes, if known beforehand.
        sha256: hex digits; the first ones are enough.
        md5: hex digits.

    Returns:
        The path.

    Raises:
        FSAFError: "HOST cannot be reached (...): check your connection and try again; ..."; "The
            server answers 404 ... for URL: ..."; "x.zip needs 19.3 GB in ..., but ...: make ...";
            "URL was received with a wrong size or checksum and removed: try again."; "x.part
            cannot be written (...): make room; ..."; "The connection to URL broke 5 times ...: try
            again later; ...".
    """
    path = Path(path)
    if path.is_file() and size in (None, path.stat().st_size):
        return path
    _check_room(path.parent, 0, path.name)
    part = path.with_name(path.name + ".part")
    idle = 0
    while idle < TRIES:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _continue(url, part, size):
                correct = size in (None, part.stat().st_size) and check_integrity(part, md5)
                if correct and sha256:
                    correct = hashlib.sha256(part.read_bytes()).hexdigest().startswith(sha256)
                if not correct:
                    part.unlink()
                    raise FSAFError(
                        f"{url} was received with a wrong size or checksum and removed: try again."
                    )
                os.replace(part, path)
                return path
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise FSAFError(
                    f"The server answers {error.code} {error.reason} for {url}: try again later."
                ) from None
        except urllib.error.URLError as error:
            if not part.exists() or idle:  # the server was never reached, or not any more
                host = urllib.request.Request(url).host
                raise FSAFError(
                    f"{host} cannot be reached ({error.reason}): "
                    "check your connection and try again; the part that was received is kept."
                ) from None
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            pass  # the connection broke; the loop continues with the rest
        except OSError as error:
            raise FSAFError(
                f"{part} cannot be written ({error.strerror}): "
                "make room; the part that was received is kept."
            ) from None
        idle = 0 if part.exists() and part.stat().st_size > before else idle + 1
        time.sleep(min(2**idle, 10) if idle else 0.1)
    raise FSAFError(
        f"The connection to {url} broke {TRIES} times without delivering anything: "
        "try again later; the part that was received is kept."
    )


def _continue(url: str, part: Path, size: int | None) -> bool:
    """Append what one connection delivers; return whether the file is now complete."""
    start = part.stat().st_size if part.exists() else 0
    if size is not None and start >= size:
        return True
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        part.unlink()  # it is longer than the server's file
        return False
    with response:
        if response.status != 206:  # the server sends the whole file
            start = 0
        length = response.headers.get("Content-Length")
        total = size or (start + int(length) if length else None)
        if total is not None:
            _check_room(part.parent, total - start, part.stem)
        bar = tqdm(
            desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, mininterval=1
        )
        with bar, open(part, "ab" if start else "wb") as file:
            while block := response.read1(BLOCK):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
            return total is None or file.tell() >= total


def unpack(archive: Path | str, folder: Path | str, prefix: str = "") -> int:
    """Unpack those files of a zip whose names start with `prefix`.

    Files that are there in their full size are skipped.

    Returns:
        The number of files with the prefix.

    Raises:
        FSAFError: "x.zip contains '../x', which leads outside ...: ..."; "x.zip is damaged (...):
            ..."; "unpacking x.zip needs 0.8 GB in ..., but ...: make room ...".
    """
    folder = Path(folder)
    try:
        with zipfile.ZipFile(archive) as source:
            wanted = [
                entry
                for entry in source.infolist()
                if entry.filename.startswith(prefix) and not entry.is_dir()
            ]
            missing = []
            for entry in wanted:
                if OUTSIDE.search(entry.filename):
                    raise FSAFError(
                        f"{archive} contains {entry.filename!r}, which leads outside {folder}: "
                        "remove the archive, from which nothing was unpacked."
                    )
                target = folder / entry.filename
                if not (target.is_file() and target.stat().st_size == entry.file_size):
                    missing.append(entry)
            what = f"unpacking {Path(archive).name}"
            _check_room(folder, sum(entry.file_size for entry in missing), what)
            bar = tqdm(missing, what, unit=" files", mininterval=1, disable=not missing)
            for entry in bar:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                with source.open(entry) as packed, open(part, "wb") as file:
                    shutil.copyfileobj(packed, file, BLOCK)
                os.replace(part, target)
    # zipfile raises RuntimeError for a password and for an unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise FSAFError(f"{archive} is damaged ({error}): remove it and fetch it again.") from None
    return len(wanted)


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
        FSAFError: "subset is 5000, but it must lie in 1..4000: ..."; "COCO 2017 needs 40.0 GB in
            ..., but ...: ..."; as `fetch` and `unpack`.
    """
    folder = Path(root) / "coco"
    if subset is not None and not 1 <= subset <= 4000:
        raise FSAFError(
            f"subset is {subset}, but it must lie in 1..4000: "
            "val2017 has 5,000 images, and some are kept for evaluation."
        )
    wanted = [
        archive for archive in archives[: 2 if subset else 3] if not _is_unpacked(folder, archive)
    ]
    paths = [folder / Path(archive.path).name for archive in wanted]
    if wanted:
        parts = [path.with_name(f"{path.name}.part") for path in paths]
        present = sum(file.stat().st_size for file in [*paths, *parts] if file.exists())
        # An archive is removed once it is unpacked. At worst all files are unpacked and the
        # largest archive is still there.
        most = sum(a.unpacked for a in wanted) + max(a.size for a in wanted)
        _check_room(folder, most - present, "COCO 2017")
    for archive, path in zip(wanted, paths):
        fetch(f"{url}/{archive.path}", path, archive.size, md5=archive.md5)
        unpack(path, folder, archive.members)
        path.unlink()
    if subset:
        _make_subset(folder / "annotations", subset)
    return folder


def _is_unpacked(folder: Path, archive: Archive) -> bool:
    """Return whether all files of an archive are unpacked."""
    where, _, start = archive.members.rpartition("/")
    try:
        names = os.listdir(folder / where)
    except OSError:
        return False
    found = [name for name in names if name.startswith(start) and name.endswith((".jpg", ".json"))]
    return len(found) >= archive.files


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
