"""Image files: find them, and read each as RGB."""

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..config import FSAFError

# Formats that Pillow names but that hold no pixels. EPS is a program and is not run.
NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF")
SYSTEM_NAMES = ("__macosx", "@eadir", "thumbs.db", "$recycle.bin", "system volume information")
BITS_PER_SAMPLE = 258  # the TIFF tag
ORIENTATION = 0x0112  # the EXIF tag; its values 5..8 exchange width and height


def image_files(sources: Sequence[Path], exclude: Path | None = None) -> list[Path]:
    """Return the files among `sources` and, sorted, the image files in the folders among them.

    The number of other files in the folders is printed.

    Args:
        sources: files and folders.
        exclude: as in `images_below`.

    Raises:
        FSAFError: "photo.jpg: no such file or folder exists: check the path."; "pictures contains
            no image file: ..."; "No image is given: ..."
    """
    files: list[Path] = []
    others = 0
    if not sources:
        raise FSAFError(
            "No image is given: name files or folders, "
            "for example `fsaf predict --weights WEIGHTS photo.jpg`."
        )
    for source in sources:
        if source.is_dir():
            inside, passed_over = images_below(source, exclude)
            if not inside:
                where = "" if exclude is None else f" outside of {exclude}"
                raise FSAFError(f"{source} contains no image file{where}: name another folder.")
            files += inside
            others += passed_over
        elif source.exists():
            files.append(source)
        else:
            raise FSAFError(f"{source}: no such file or folder exists: check the path.")
    if others:
        print(f"{others:,} files of other kinds were passed over.")
    return files


def images_below(folder: Path, exclude: Path | None = None) -> tuple[list[Path], int]:
    """Return the image files in a folder and its folders, sorted, and the number of other files.

    Files and folders that are hidden, or that an operating system or a NAS puts there, are left
    out and not counted. Links to folders count as other files.

    Args:
        folder: where to look.
        exclude: a folder inside, whose files are left out, such as that of earlier results.
    """
    known = {
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in NO_PIXELS
    }
    excluded = exclude and exclude.resolve()
    if excluded in folder.resolve().parents:
        excluded = None  # no results are written into a folder below it
    images, others = [], 0
    for path in sorted(folder.rglob("*")):
        parts = [part.lower() for part in path.relative_to(folder).parts]
        if any(part.startswith(".") or part in SYSTEM_NAMES for part in parts):
            continue
        if path.is_dir() and not path.is_symlink():  # a link to a folder is not followed
            continue
        if excluded and path.resolve().is_relative_to(excluded):
            continue
        if path.suffix.lower() in known:
            images.append(path)
        else:
            others += 1
    return images, others


def header_size(path: Path | str) -> tuple[int, int, bool]:
    """Return width and height of an image after its EXIF rotation, and whether there is one.

    Only the start of the file is read.

    Raises:
        FSAFError: "photo.jpg is not a readable image: download it again, or leave it out."
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `load_image` refuses an image of too many pixels
            with Image.open(path) as picture:
                turn = 0
                with suppress(Exception):  # damaged EXIF data
                    turn = picture.getexif().get(ORIENTATION, 0)
                width, height = picture.size
    except Exception:  # a damaged file raises many kinds of exception in Pillow
        raise FSAFError(
            f"{path} is not a readable image: download it again, or leave it out."
        ) from None
    return (height, width, True) if turn in (5, 6, 7, 8) else (width, height, turn in (2, 3, 4))


def load_image(path: Path | str) -> Image.Image:
    """Return the image as RGB, in the orientation that its EXIF data gives.

    Of several images in one file, the first is read. `as_rgb` describes how values are scaled.

    Raises:
        FSAFError: "photo.jpg: no such file exists: give ..."; "photo.jpg is not a file: give ...";
            "photo.jpg is not a readable image (...): download ..."; "photo.jpg has too many
            pixels: make it smaller."
    """
    if not os.path.isfile(path):  # opening a pipe or reading a device would never end
        what = " is not a file" if os.path.exists(path) else ": no such file exists"
        raise FSAFError(f"{path}{what}: give the path of an image.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow reads the image in spite of most warnings
            # A small file can claim any number of pixels.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.format in NO_PIXELS:
                    raise ValueError(f"{picture.format} holds no pixels")
                return as_rgb(picture)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise FSAFError(f"{path} has too many pixels: make it smaller.") from None
    except Exception as error:  # a damaged file raises many kinds of exception in Pillow
        reason = " ".join((str(error) or type(error).__name__).split())
        if reason.startswith("cannot identify"):
            reason = "its format is unknown, or its start is damaged"
        raise FSAFError(
            f"{path} is not a readable image ({reason}): download it again, or leave it out."
        ) from None


def read_image(source: "str | Path | Image.Image | np.ndarray") -> Image.Image:
    """Return an image as RGB from a file, a PIL image or a uint8 RGB array (H, W, 3).

    Raises:
        FSAFError: "no image was given (...): give a path, a PIL image or a uint8 array ..."; as
            `load_image`.
    """
    try:
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8:  # the range of its values is anybody's guess
                raise TypeError(f"an array of {source.dtype}")
            source = Image.fromarray(source)
        return as_rgb(source) if isinstance(source, Image.Image) else load_image(source)
    except (TypeError, ValueError) as error:
        raise FSAFError(
            f"no image was given ({error}): give a path, a PIL image or a uint8 array (H, W, 3)."
        ) from None


def as_rgb(picture: Image.Image) -> Image.Image:
    """Return any image as RGB, in the orientation that its EXIF data gives.

    Gray, palette, CMYK, 16-bit and float images are converted; an alpha channel is dropped. The
    values of a single numeric channel from black to white are those of the file's bit depth, such
    as 0..65535; 0 up to the largest value beyond; for floats the first of 0..1, 0..255 and
    0..65535 that holds them all.

    Raises:
        ValueError: "it has no pixels"; "it contains NaN or infinite values".
    """
    if not picture.width * picture.height:
        raise ValueError("it has no pixels")
    # A TIFF file states its depth, which may be 12. Elsewhere whole numbers are 16 bits deep.
    (bits, *_) = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    picture = picture.copy()  # the argument stays unchanged
    with suppress(Exception):  # the pixels are usable in spite of damaged EXIF data
        ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode[0] in "IF":
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it contains NaN or infinite values")
        # The largest value of one frame says nothing about the next frame of the same camera.
        depth = 2.0 ** min(bits, 16) - 1
        ends = [depth] if picture.mode[0] == "I" else [1.0, 255.0, 65535.0]
        white = next((end for end in ends if values.max() <= end), values.max())
        picture = Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))
    elif picture.mode == "P":
        picture = picture.convert("RGBA")
    picture = picture.convert("RGB")
    picture.info = {}  # the orientation in it would make a later call turn the image again
    return picture
