"""Image files: which there are, and how each is read as RGB."""

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..config import FSAFError

NO_PIXELS = (
    "BUFR",
    "EPS",
    "GRIB",
    "HDF5",
    "MPEG",
    "PDF",
    "WMF",
)  # Pillow knows their names; EPS is a program, and is not run


def image_files(sources: Sequence[Path]) -> list[Path]:
    """The image files among `sources` and, sorted, those in its folders.

    Raises:
        FSAFError: "photo.jpg: no such file or folder."; "pictures: no image file in this folder ..."
    """
    known = {
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in NO_PIXELS
    }
    files: list[Path] = []
    if not sources:
        raise FSAFError(
            "no image given: name files or folders, for example `fsaf predict --weights WEIGHTS photo.jpg`."
        )
    for source in sources:
        if source.is_dir():
            inside = sorted(path for path in source.rglob("*") if path.suffix.lower() in known)
            if not inside:
                raise FSAFError(f"{source}: no image file in this folder or below it.")
            files += inside
        elif source.exists():
            files.append(source)
        else:
            raise FSAFError(f"{source}: no such file or folder.")
    return files


def load_image(path: Path | str) -> Image.Image:
    """The picture as RGB (the first, of several), turned as its EXIF orientation says; `as_rgb` tells how grey levels are read.

    Raises:
        FSAFError: "photo.jpg: not a readable image (...)"; "photo.jpg: too many pixels: make it smaller."
    """
    if not os.path.isfile(path):  # opening a pipe would wait for ever, reading a device too
        raise FSAFError(
            f"{path}: {'not a file' if os.path.exists(path) else 'no such file'}: give the path of an image."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities that Pillow gets along with
            warnings.simplefilter(
                "error", Image.DecompressionBombWarning
            )  # a small file can claim any number of pixels
            with Image.open(path) as picture:
                if picture.format in NO_PIXELS:
                    raise ValueError(f"{picture.format} is no format of pixels")
                return as_rgb(picture)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise FSAFError(f"{path}: too many pixels: make it smaller.") from None
    except Exception as error:  # a broken file breaks its reader in many ways
        reason = " ".join((str(error) or type(error).__name__).split())
        reason = (
            "its format is not known, or it is damaged at the start"
            if reason.startswith("cannot identify")
            else reason
        )
        raise FSAFError(
            f"{path}: not a readable image ({reason}): get it anew, or leave it out."
        ) from None


def as_rgb(picture: Image.Image) -> Image.Image:
    """Any picture as RGB, turned as its EXIF orientation says: grey, palette, CMYK, alpha (dropped), 16-bit, float.

    Black to white of one channel of numbers is 0..1 for floats that fit, else 0..255, 0..65535, or up to the largest value.

    Raises:
        ValueError: "it has no pixels"; "it holds values that are no numbers".
    """
    if not picture.width * picture.height:
        raise ValueError("it has no pixels")
    picture = picture.copy()  # what was given stays as it is
    with suppress(Exception):  # broken EXIF is no reason to lose the picture
        ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode[0] in "IF":
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds values that are no numbers")
        ends = [255.0, 65535.0] if picture.mode[0] == "I" else [1.0, 255.0, 65535.0]
        white = next((end for end in ends if values.max() <= end), values.max())
        picture = Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))
    elif picture.mode == "P":
        picture = picture.convert("RGBA")
    picture = picture.convert("RGB")
    picture.info = {}  # with the orientation in it, the picture would be turned again where it is given on
    return picture
