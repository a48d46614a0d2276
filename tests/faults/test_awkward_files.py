"""`fsaf predict` with a checkpoint in MMDetection's format on 40 unusual but good files, and bad ones among them."""

import io
import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fsaf_core as fsaf
from fsaf_core import cli
from fsaf_core.cli import commands
from fsaf_core.config import ModelConfig, SceneConfig
from fsaf_core.data.images import as_rgb, load_image
from fsaf_core.data.synthetic.renderer import render_scene

SCENE = render_scene(SceneConfig(image_size=96), 3, "train")[0].crop((0, 0, 96, 64))
GREY = np.asarray(SCENE.convert("L"))
BACK = {
    2: 0,
    3: 3,
    4: 1,
    5: 5,
    6: 2,
    7: 6,
    8: 4,
}  # EXIF orientation: the transposition that is stored


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def jpeg(**options) -> bytes:
    out = io.BytesIO()
    SCENE.save(out, "JPEG", quality=95, subsampling=0, **options)
    return out.getvalue()


def with_exif(tags: bytes) -> bytes:
    """The scene with any bytes for EXIF."""
    whole, tags = jpeg(), b"Exif\0\0" + tags
    return whole[:2] + b"\xff\xe1" + (len(tags) + 2).to_bytes(2, "big") + tags + whole[2:]


def write(folder: Path) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """40 good files, each with its width and height as seen, and bad ones."""
    good: dict[str, tuple[int, int]] = {}

    def save(name, picture, size=None, **options):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, **options)
        good[name] = size or picture.size

    for orientation in range(1, 9):
        stored = SCENE if orientation == 1 else SCENE.transpose(Image.Transpose(BACK[orientation]))
        save(f"exif {orientation}.png", stored, SCENE.size, exif=exif(orientation))
    turned = SCENE.transpose(Image.Transpose(BACK[6]))
    save("turned.webp", turned, SCENE.size, exif=exif(6), lossless=True)
    save("turned.tif", turned, SCENE.size, exif=exif(6))
    save("turned.JPG", turned, SCENE.size, exif=exif(6), quality=95, subsampling=0)
    save("cmyk.jpg", SCENE.convert("CMYK"))
    save("grey.jpg", SCENE.convert("L"))
    save("16 bit.png", Image.fromarray(GREY.astype(np.uint16) * 257))
    save("16 bit.tif", Image.fromarray(GREY.astype(np.uint16) * 257))
    save("32 bit.tif", Image.fromarray(GREY.astype(np.int32) * 2**20))
    save("float.tif", Image.fromarray((GREY / 255).astype(np.float32)))
    save("palette.png", SCENE.quantize(64))
    save("palette, transparent.png", SCENE.quantize(64), transparency=3)
    save("grey and alpha.png", SCENE.convert("LA"))
    save("alpha.png", Image.merge("RGBA", [*SCENE.split(), Image.new("L", SCENE.size, 9)]))
    save("one bit.png", SCENE.convert("1"))
    for name in ("moves.gif", "moves.webp", "moves.png", "pages.tif"):
        save(
            name, SCENE, save_all=True, append_images=[SCENE.transpose(Image.Transpose.ROTATE_180)]
        )
    save("large.jpg", SCENE.resize((4000, 3000)), quality=80)
    save("1 x 1.png", Image.new("RGB", (1, 1)))
    save("1 x 4000.png", SCENE.resize((1, 4000)))
    save("4000 x 20.png", SCENE.resize((4000, 20)))
    save("progressive.jpeg", SCENE, progressive=True)
    save("profile.jpg", SCENE, icc_profile=b"no profile at all")
    for name in (
        "upper.BMP",
        "a.ppm",
        "a.tga",
        "a.jp2",
        "a.ico",
        "ünï 映像 \n'\".png",
        "deep/er/still.png",
        "x" * 240 + ".png",
    ):
        save(name, SCENE, (48, 32) if name == "a.ico" else None)
    good["a.ico"] = load_image(folder / "a.ico").size
    for name, tags in {
        "exif garbage.jpg": b"garbage",
        "exif cut.jpg": b"II*\0\x08\0\0\0\2\0\x12\1\3\0\1\0\0\0\1\0\0\0",
    }.items():
        (folder / name).write_bytes(with_exif(tags))
        good[name] = SCENE.size

    bad = {
        "empty.jpg": b"",
        "text.jpg": b"<html>404</html>",
        "cut.jpg": jpeg()[:1500],
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n",
        "nan.tif": None,
    }
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(folder / "nan.tif")
    for name, content in bad.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return good, set(bad)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Weights in MMDetection's format whose scores lie far apart."""
    torch.manual_seed(0)
    detector = fsaf.build_detector(
        ModelConfig(class_names=("a", "b"), backbone="resnet18", channels=8, tower_depth=1)
    )
    with torch.no_grad():
        detector.network.head.af_cls.weight.mul_(40)
        detector.network.head.af_cls.bias.fill_(0)
    path = tmp_path_factory.mktemp("weights") / "reference.pth"
    torch.save({"state_dict": fsaf.to_mmdet(detector), "meta": {}}, path)
    return path


@pytest.fixture(scope="module")
def predicted(checkpoint, tmp_path_factory):
    """The command's exit code, what it said, its results by file name, and the files."""
    folder = tmp_path_factory.mktemp("awkward")
    good, bad = write(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        load, said = commands.load_any, io.StringIO()

        def small(*args):  # MMDetection's 800 x 1333 would take minutes
            detector = load(*args)
            detector.config = replace(detector.config, short_side=96, long_side=192)
            return detector

        patch.setattr(commands, "load_any", small)
        patch.setattr(sys, "stderr", said)
        files = [str(folder / "in"), str(folder / "in" / "program.eps")]
        code = cli.main(
            ["predict", *files, "--weights", str(checkpoint), "--out", str(folder / "out")]
        )
    results = {}
    for row in json.loads((folder / "out" / "detections.json").read_text()):
        results.setdefault(str(Path(row["file_name"]).relative_to(folder / "in")), []).append(row)
    return code, said.getvalue(), results, good, bad, folder


def test_forty_good_files_are_all_detected_on_with_boxes_in_their_own_pixels(predicted):
    _, said, results, good, _, folder = predicted
    assert len(good) >= 40
    drawn = {path.name.partition("_")[2] for path in (folder / "out").glob("*.png")}
    assert len(list((folder / "out").glob("*.png"))) == len(good)
    for name, (width, height) in good.items():
        assert name not in said
        assert f"{Path(name).stem[:60]}.png" in drawn
        for row in results.get(name, []):
            x, y, w, h = row["bbox"]
            assert (
                min(x, y) >= 0
                and min(w, h) > 0
                and x + w <= width + 0.01
                and y + h <= height + 0.01
            ), name
        # Something is found on all that is not too thin for a box.
        assert name in results or min(width, height) == 1, name


def test_bad_ones_are_named_in_one_sentence_each_and_the_exit_code_says_so(predicted):
    code, said, results, good, bad, _ = predicted
    assert code == 2
    assert not bad & set(results)
    lines = said.strip().splitlines()
    for name in bad:
        (line,) = [line for line in lines if name in line]
        assert line.startswith("fsaf: ") and line.endswith(".") and "Traceback" not in line
    assert len(lines) == len(bad) + 1
    assert lines[-1].startswith(
        f"fsaf: {len(bad)} of {len(good) + len(bad)} images could not be read, as said above"
    )


def boxes(rows):
    return [(row["category"], row["score"], *row["bbox"]) for row in rows]


def test_a_picture_turned_by_exif_gives_what_the_upright_one_gives(predicted):
    results = predicted[2]
    upright = boxes(results["exif 1.png"])
    assert len(upright) > 3
    for name in [
        *(f"exif {orientation}.png" for orientation in range(2, 9)),
        "turned.webp",
        "turned.tif",
    ]:
        assert boxes(results[name]) == upright, name


def test_other_formats_of_the_same_picture_give_the_same_detections(predicted):
    results = predicted[2]
    same = [
        "upper.BMP",
        "a.ppm",
        "a.tga",
        "moves.webp",
        "moves.png",
        "pages.tif",
        "alpha.png",
        "ünï 映像 \n'\".png",
    ]
    for name in ["deep/er/still.png", "x" * 240 + ".png", *same[:3], *same[4:]]:
        assert boxes(results[name]) == boxes(results["exif 1.png"]), name
    for name in ("16 bit.tif", "float.tif"):
        assert boxes(results[name]) == boxes(results["16 bit.png"]), name


@pytest.mark.parametrize("name", ["16 bit.png", "16 bit.tif", "32 bit.tif", "float.tif"])
def test_deep_grey_is_neither_clipped_to_white_nor_black(name, predicted):
    seen = np.asarray(load_image(predicted[5] / "in" / name))[..., 0].astype(int)
    scale = GREY.astype(float) * (255 / GREY.max() if name == "32 bit.tif" else 1)
    assert abs(seen - scale).max() <= 1


def test_a_picture_that_was_read_is_not_turned_again(predicted):
    once = load_image(predicted[5] / "in" / "exif 6.png")
    assert once.size == as_rgb(once).size == SCENE.size and not once.getexif()


def test_pil_images_and_arrays_are_read_as_files_are(predicted, checkpoint):
    detector, folder = fsaf.load_mmdet(checkpoint), predicted[5] / "in"
    detector.config = replace(detector.config, short_side=96, long_side=192)
    for name in ("16 bit.png", "exif 6.png", "palette, transparent.png", "cmyk.jpg"):
        with Image.open(folder / name) as picture:
            assert torch.equal(
                detector.predict(picture)["boxes"], detector.predict(folder / name)["boxes"]
            )


@pytest.mark.parametrize("name", ["f.png", "f.tif", "f.pgm", "int.tif"])
def test_two_frames_of_one_camera_get_one_scale(name, tmp_path):
    """White goes by the file's depth. The largest value of a frame says nothing about the next."""
    for largest, grey in (255, 1), (256, 1), (65535, 255):
        values = np.full((4, 6), largest, np.int32 if name == "int.tif" else np.uint16)
        Image.fromarray(values).save(tmp_path / name)
        assert np.asarray(load_image(tmp_path / name)).max() == grey


def test_white_of_a_tiff_of_12_bits_is_4095(tmp_path):
    packed = bytes([0xFF, 0xF8, 0x00]) * 2  # two rows of the values 4095 and 2048
    tags = [(256, 2), (257, 2), (258, 12), (259, 1), (262, 1), (273, 122), (278, 2), (279, 6)]
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags) + 1)
    content += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (277, 1)])
    content = content[:10] + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted([*tags, (277, 1)])
    )
    (tmp_path / "x.tif").write_bytes(content + b"\0" * 4 + packed)
    assert np.asarray(load_image(tmp_path / "x.tif"))[..., 0].tolist() == [[255, 128]] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_that_is_no_text_and_a_folder_that_cannot_be_are_no_tracebacks(tmp_path, capsys):
    fsaf.save(fsaf.build_detector(fsaf.presets.get("tiny").model), tmp_path / "tiny.safetensors")
    name = bytes(tmp_path / "in") + b"\xff.png"
    SCENE.resize((24, 16)).save(tmp_path / "x.png")
    Path(tmp_path / "x.png").rename(name.decode(errors="surrogateescape"))
    (tmp_path / "file").write_text("")
    options = ["--weights", str(tmp_path / "tiny.safetensors"), "--score", "0"]
    command = [
        sys.executable,
        "-m",
        "fsaf_core",
        "predict",
        name,
        *options,
        "--out",
        tmp_path / "out",
    ]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    assert r"\udcff.png" in ended.stdout
    assert (
        cli.main(
            ["predict", str(tmp_path / "in\udcff.png"), *options, "--out", str(tmp_path / "file")]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert (
        said
        == f"fsaf: {tmp_path / 'file'}: File exists: check the path, its rights and the disk.\n"
    )
