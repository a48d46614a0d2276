"""Downloads, against a server on this machine that breaks off, lies and goes away."""

import errno
import hashlib
import io
import json
import os
import shutil
import socket
import stat
import threading
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from fsaf_core.config import FSAFError
from fsaf_core.data import download
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.download import Archive, download_coco, fetch, unpack

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; each connection ends after `limits.pop(0)` bytes, while there are limits."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.limits, self.asked, self.ranges, self.failures = (
            {"/file": CONTENT},
            [],
            [],
            True,
            [],
        )
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, span = self.server, self.headers.get("Range")
        server.asked.append((self.path, span))
        if server.failures:
            return self.send_error(server.failures.pop(0))
        if self.path not in server.files:
            return self.send_error(404)
        content, start = server.files[self.path], 0
        if span and server.ranges:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: server.limits.pop(0) if server.limits else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def zipped(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (
                stat.S_IFLNK | 0o777 if name in links else stat.S_IFREG | 0o644
            ) << 16
            archive.writestr(entry, content)
    return out.getvalue()


def test_a_file_comes_whole_and_a_correct_one_is_not_fetched_again(server, tmp_path):
    path = tmp_path / "deep" / "file"
    for _ in range(2):
        assert fetch(f"{server.url}/file", path, md5=MD5) == path
        assert path.read_bytes() == CONTENT and os.listdir(path.parent) == ["file"]
    fetch(f"{server.url}/file", path)  # without a checksum
    assert server.asked == [("/file", None)]
    path.write_bytes(b"cut")
    fetch(f"{server.url}/file", path, md5=MD5)
    assert path.read_bytes() == CONTENT and len(server.asked) == 2


def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.limits = [100_000, 50_000, 0, 70_000]
    path = fetch(
        f"{server.url}/file",
        tmp_path / "file",
        sha256=hashlib.sha256(CONTENT).hexdigest()[:8],
    )
    assert path.read_bytes() == CONTENT
    assert [span for _, span in server.asked] == [
        None,
        *(f"bytes={n}-" for n in (100_000, 150_000, 150_000, 220_000)),
    ]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:120_000])
    assert fetch(f"{server.url}/file", tmp_path / "file").read_bytes() == CONTENT
    (tmp_path / "all.part").write_bytes(CONTENT)  # killed just before the end
    assert fetch(f"{server.url}/file", tmp_path / "all", md5=MD5).read_bytes() == CONTENT
    assert [span for _, span in server.asked] == ["bytes=120000-", "bytes=300000-"]


def test_a_disk_that_fills_up_keeps_the_part(server, tmp_path, monkeypatch):
    def full(source, target):
        target.write(source.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(FSAFError, match=r"file\.part cannot be written .No space .* is kept"):
            fetch(f"{server.url}/file", tmp_path / "file", md5=MD5)
    assert fetch(f"{server.url}/file", tmp_path / "file", md5=MD5).read_bytes() == CONTENT
    assert [span for _, span in server.asked] == [None, "bytes=1000-"]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.ranges, server.limits = False, [200_000]
    assert fetch(f"{server.url}/file", tmp_path / "other").read_bytes() == CONTENT


def test_a_server_that_never_brings_anything_is_given_up(server, tmp_path):
    server.limits = [1000] + [0] * 100
    with pytest.raises(
        FSAFError,
        match=r"The connection to .* broke 5 times without delivering anything: .* is kept",
    ):
        fetch(f"{server.url}/file", tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size == 1000 and not (tmp_path / "file").exists()


def test_an_error_of_the_server_is_waited_for_and_a_refusal_is_not(server, tmp_path):
    server.failures = [503, 500]
    assert fetch(f"{server.url}/file", tmp_path / "file").read_bytes() == CONTENT
    with pytest.raises(FSAFError, match=r"The server answers 404 .*/none"):
        fetch(f"{server.url}/none", tmp_path / "none")
    assert len(server.asked) == 4


@pytest.mark.parametrize("wrong", [{"md5": "0" * 32}, {"sha256": "0" * 8}])
@pytest.mark.parametrize("part", [b"", CONTENT + b"more"])
def test_what_is_not_what_it_should_be_is_removed(server, tmp_path, wrong, part):
    (tmp_path / "file.part").write_bytes(part)
    with pytest.raises(FSAFError, match="with a wrong checksum and removed"):
        fetch(f"{server.url}/file", tmp_path / "file", **wrong)
    assert not os.listdir(tmp_path)


def test_offline_is_said_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pytest.fail("it waited"))
    with socket.socket() as free:  # a port where nobody listens
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(
            FSAFError, match=f"127.0.0.1:{port} cannot be reached .*: check your connection"
        ):
            fetch(f"http://127.0.0.1:{port}/file", tmp_path / "file")


def test_the_disk_is_asked_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: namedtuple("Usage", "total used free")(1, 1, 250_000)
    )
    with pytest.raises(
        FSAFError, match=r"COCO 2017 needs 39\.7 GB in .*coco, but only 0\.0 GB are free"
    ):
        download_coco(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x"])
def test_nothing_of_a_zip_lands_outside_its_folder(tmp_path, name):
    (tmp_path / "x.zip").write_bytes(zipped({"fine": b"1", name: b"2"}))
    unpack(tmp_path / "x.zip", tmp_path / "out" / "put")
    assert sorted(os.listdir(tmp_path)) == ["out", "x.zip"]
    assert os.listdir(tmp_path / "out") == ["put"]
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 2


def test_a_link_in_a_zip_becomes_a_plain_file(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped({"link": b"/etc/passwd"}, links=("link",)))
    unpack(tmp_path / "x.zip", tmp_path)
    assert (
        not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_bytes() == b"/etc/passwd"
    )


def test_unpacking_goes_on_where_it_stopped_and_damage_is_named(tmp_path):
    (tmp_path / "x.zip").write_bytes(
        zipped({"val/1.jpg": b"one", "val/2.jpg": b"two", "other/3": b"three"})
    )
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "1.jpg").write_bytes(b"old")  # of the right size: not touched
    (tmp_path / "val" / "2.jpg").write_bytes(b"t")
    unpack(tmp_path / "x.zip", tmp_path, "val/*")
    assert (tmp_path / "val" / "1.jpg").read_bytes() == b"old" and (
        tmp_path / "val" / "2.jpg"
    ).read_bytes() == b"two"
    assert not (tmp_path / "other").exists()
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[content.index(b"three")] ^= 1
    (tmp_path / "x.zip").write_bytes(content)
    packed, strange = io.BytesIO(), bytearray(zipped({"a": b"one"}))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", "many words " * 99)
    deflated = bytearray(packed.getvalue())
    deflated[31] = 255  # the first byte of the packed stream: no such kind of block
    strange[strange.index(b"PK\1\2") + 10] = 200  # a compression that nobody knows
    for broken in (content, deflated, strange, b"no zip"):
        (tmp_path / "x.zip").write_bytes(broken)
        with pytest.raises(FSAFError, match=r"x\.zip is damaged \("):
            unpack(tmp_path / "x.zip", tmp_path)


@pytest.fixture
def coco(server):
    """A COCO of 30 + 40 images at the server; returns the table of its archives."""
    archives, jsons = [], {}
    for split, count in (("train", 30), ("val", 40)):
        entry = {"category_id": 18, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 0}
        names = [f"{i:012d}.jpg" for i in range(count)]
        jsons[f"annotations/instances_{split}2017.json"] = json.dumps({
            "images": [{"id": i, "file_name": name, "width": 40, "height": 40} for i, name in enumerate(names)],
            "annotations": [{"id": i, "image_id": i, **entry} for i in range(count)],
            "categories": [{"id": 18, "name": "dog"}],
        }).encode()  # fmt: skip
        picture = io.BytesIO()
        Image.new("RGB", (40, 40)).save(picture, "jpeg")
        server.files[f"/zips/{split}2017.zip"] = zipped(
            {f"{split}2017/{name}": picture.getvalue() for name in names}
        )
    server.files["/annotations/annotations_trainval2017.zip"] = zipped(
        {**jsons, "annotations/captions_val2017.json": b"{}"}
    )
    for real, files in zip(download.COCO, (2, 40, 30)):
        content = server.files["/" + real.path]
        archives.append(
            Archive(
                real.path,
                len(content),
                hashlib.md5(content).hexdigest(),
                real.members,
                files,
            )
        )
    return tuple(archives)


def test_coco_comes_whole_over_a_bad_line(server, coco, tmp_path):
    server.limits = [1000, 300, 2000, 0, 500]
    folder = download_coco(tmp_path, url=server.url, archives=coco)
    assert sorted(os.listdir(folder)) == ["annotations", "train2017", "val2017"]
    assert sorted(os.listdir(folder / "annotations")) == [
        "instances_train2017.json",
        "instances_val2017.json",
    ]
    for split, count in (("train", 30), ("val", 40)):
        dataset = CocoDataset(
            folder / "annotations" / f"instances_{split}2017.json",
            folder / f"{split}2017",
            train=True,
        )
        assert len(dataset) == count and dataset[0]["image"].shape == (3, 40, 40)
    asked = len(server.asked)
    (
        folder / "val2017" / "000000000003.jpg"
    ).unlink()  # one is lost: its archive is fetched once more, no other
    download_coco(tmp_path, url=server.url, archives=coco)
    assert [path for path, _ in server.asked[asked:]] == ["/zips/val2017.zip"]
    assert len(os.listdir(folder / "val2017")) == 40


def test_a_subset_is_made_of_val2017_alone(server, coco, tmp_path):
    folder = download_coco(tmp_path, subset=25, url=server.url, archives=coco)
    assert sorted(os.listdir(folder)) == ["annotations", "val2017"]
    assert {path for path, _ in server.asked} == {
        "/annotations/annotations_trainval2017.zip",
        "/zips/val2017.zip",
    }
    train, val = (
        CocoDataset(
            folder / "annotations" / f"subset25_{split}.json",
            folder / "val2017",
            train=split == "train",
        )
        for split in ("train", "val")
    )
    assert (
        len(train) == 25
        and len(val) == 15
        and not set(train.index.image_ids) & set(val.index.image_ids)
    )
    assert train.class_names == ("dog",)
    with pytest.raises(FSAFError, match=r"subset is 0, but it must lie in 1\.\.4000"):
        download_coco(tmp_path, subset=0)
