"""Damaged image files (cut off, flipped bits, spliced, bombs) give an image or one sentence, never a traceback."""

import io
import random
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from fsaf_core.config import FSAFError, SceneConfig
from fsaf_core.data.images import load_image
from fsaf_core.data.synthetic.renderer import render_scene


def encoded(kind: str) -> bytes:
    """A scene as the project writes it, and in other formats."""
    picture, _ = render_scene(SceneConfig(image_size=96), 3, "train")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8769] = (
        6,
        "maker",
        {0x9003: "2020:01:01 00:00:00", 0xA002: 96},
    )
    name, options = {
        "jpeg": ("JPEG", {"quality": 90, "subsampling": 0}),
        "progressive": ("JPEG", {"progressive": True, "exif": exif}),
        "png": ("PNG", {}),
        "palette": ("PNG", {"exif": exif}),
        "webp": ("WEBP", {"exif": exif}),
        "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    }[kind]
    out = io.BytesIO()
    (picture.quantize(32) if kind == "palette" else picture).save(out, name, **options)
    return out.getvalue()


FILES = {kind: encoded(kind) for kind in ("jpeg", "progressive", "png", "palette", "webp", "tiff")}
WAYS = ("cut", "one bit", "fifty bits", "header", "spliced")


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("way", WAYS)
def test_30_ways_to_break_an_image_each_give_a_picture_or_one_sentence(kind, way, tmp_path):
    whole, path, chance = FILES[kind], tmp_path / "x.jpg", random.Random(f"{kind} {way}")
    refused = 0
    for _ in range(25):
        content = bytearray(whole)
        if way == "cut":
            content = content[: chance.randrange(len(content))]
        elif way == "spliced":
            content = (
                content[: chance.randrange(len(content))]
                + FILES[chance.choice(list(FILES))][chance.randrange(500) :]
            )
        else:
            for _ in range(50 if way == "fifty bits" else 1):
                content[chance.randrange(60 if way == "header" else len(content))] ^= (
                    1 << chance.randrange(8)
                )
        path.write_bytes(content)
        start = time.process_time()
        try:
            picture = load_image(path)
            assert picture.mode == "RGB" and np.asarray(picture).shape == (
                picture.height,
                picture.width,
                3,
            )
        except FSAFError as fault:
            refused += 1
            text = str(fault)
            assert (
                text.startswith(f"{path} ")
                and text.endswith(".")
                and "\n" not in text
                and len(text) < 300 + len(str(path))
            )
        assert time.process_time() - start < 5
    assert refused > 20 or way != "cut"  # a JPEG with a wrong bit is still a picture


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(
    width: int, height: int, before: bytes = b"", pixels: bytes = b"", after: bytes = b""
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + before
        + chunk(b"IDAT", pixels)
        + after
        + chunk(b"IEND", b"")
    )


def zeros(megabytes: int) -> bytes:
    """So many megabytes of zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


PIXELS = zlib.compress(bytes(48 * (1 + 64 * 3)))  # of 64 x 48
BOMBS = {
    "60000 x 60000": (lambda: png(60_000, 60_000, pixels=zeros(8)), "pixels"),
    "10000 x 10000": (lambda: png(10_000, 10_000, pixels=zeros(8)), "too many pixels"),
    "2147483647 wide": (lambda: png(2**31 - 1, 1, pixels=PIXELS), "pixels"),
    "colour profile": (
        lambda: png(64, 48, chunk(b"iCCP", b"a\0\0" + zeros(200)), PIXELS),
        "too large",
    ),
    "text": (lambda: png(64, 48, chunk(b"zTXt", b"a\0\0" + zeros(200)), PIXELS), "too large"),
    "text behind": (
        lambda: png(64, 48, b"", PIXELS, chunk(b"zTXt", b"a\0\0" + zeros(200))),
        "too large",
    ),
    "international text": (
        lambda: png(64, 48, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(200)), PIXELS),
        "too large",
    ),
    "many texts": (
        lambda: png(64, 48, chunk(b"zTXt", b"a\0\0" + zeros(1)) * 200, PIXELS),
        "Too much memory",
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_would_fill_the_memory_is_refused_by_its_size(kind, tmp_path):
    make, said = BOMBS[kind]
    path = tmp_path / "bomb.png"
    path.write_bytes(make())
    assert path.stat().st_size < 250_000
    tracemalloc.start()
    with pytest.raises(FSAFError) as fault:
        load_image(path)
    assert tracemalloc.get_traced_memory()[1] < 80e6
    tracemalloc.stop()
    assert (
        said.lower() in str(fault.value).lower()
        and str(path) in str(fault.value)
        and "\n" not in str(fault.value)
    )


def test_pixels_beyond_the_picture_are_not_unpacked(tmp_path):
    (tmp_path / "x.png").write_bytes(png(64, 48, pixels=zeros(200)))
    tracemalloc.start()
    assert load_image(tmp_path / "x.png").size == (64, 48)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
