"""Data sets of images that are no squares, each against PIL, a slice or a loop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor

from dataloader import folders
from dataloader.afhq import open_afhq
from dataloader.cars import Cars
from dataloader.cdcb import CDCB, digit_arrays
from dataloader.colour_modes import ColourModes, mode_arrays
from dataloader.folders import open_folders
from dataloader.mnist_m import MnistM
from dataloader.packed import DataError, write_split
from dataloader.preprocessing import run
from dataloader.resampling import resample
from dataloader.sizes import fit_within, load_sides, middle_window
from dataloader.unpaired import Unpaired, gathered, random_resized_crop_and_flip, windows

LEVEL = 2 / 255  # of an 8-bit picture, in [-1, 1]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def scaled(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> [3, H, W] in [-1, 1]."""
    return np.asarray(picture).transpose(2, 0, 1) / 127.5 - 1


def by_pil(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def close(image: Tensor, expected: np.ndarray) -> bool:
    """To 8-bit rounding, within and after resizing."""
    return image.shape == expected.shape and np.abs(image.numpy() - expected).max() <= 1.6 * LEVEL


def photographs(count: int, height: int, width: int) -> np.ndarray:
    photos = load_sample_images().images
    return np.stack([photos[i % 2][9 * i : 9 * i + height, 21 * i : 21 * i + width] for i in range(count)])


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits in the middle of 28 x 28, and what they show."""
    bundle = load_digits()
    small = (bundle.images[:count] * 15).astype(np.uint8)
    return np.stack([by_pil(picture, 28, 28) for picture in small]), bundle.target[:count]


# Sizes


@pytest.mark.parametrize(
    "load_size, size, expected",
    [
        (72, (64, 96), (72, 108)),
        (72, (96, 64), (108, 72)),
        (37, (32, 48), (37, 56)),  # 55.5, to the even one
        ([40, 80], (32, 48), (40, 80)),
        (None, (32, 48), (32, 48)),
        (64, (64, 64), (64, 64)),
    ],
)
def test_a_number_to_load_at_is_the_shorter_side_of_a_picture_shaped_like_the_resolution(
    load_size, size, expected
):
    assert load_sides(load_size, size) == expected


def test_the_largest_size_that_fits_is_that_of_a_search():
    rng = np.random.default_rng(0)
    for shape in rng.integers(1, 200, (50, 2)).tolist():
        for room in rng.integers(1, 100, (20, 2)).tolist():
            scale = min(inside / whole for inside, whole in zip(room, shape))
            fitted = fit_within(tuple(shape), tuple(room))
            assert all(abs(a - max(1, b * scale)) <= 0.5 + 1e-9 for a, b in zip(fitted, shape))
            assert fitted[0] <= room[0] and fitted[1] <= room[1]
            assert fitted[0] == room[0] or fitted[1] == room[1]
            top, left, height, width = middle_window(tuple(shape), tuple(room))
            assert top >= 0 and top + height <= shape[0] and left >= 0 and left + width <= shape[1]
            assert abs(2 * top + height - shape[0]) <= 1 and abs(2 * left + width - shape[1]) <= 1


# Digits


@pytest.mark.parametrize("size, at", [((32, 48), (2, 10)), ((64, 32), (18, 2))])
def test_a_digit_on_a_larger_canvas_is_its_own_pixels_in_the_middle(size, at):
    pictures, labels = digits(4)
    arrays = digit_arrays(pictures, labels, "train")
    batch = CDCB(arrays, size).at(np.arange(4))
    for index in range(4):
        ink = np.zeros(size)
        ink[at[0] : at[0] + 28, at[1] : at[1] + 28] = pictures[index] / 255
        background, foreground = (arrays["colours"][index][:, :, None, None] / 255).astype(float)
        assert np.abs(batch.images[0][index].numpy() - (2 * (ink + (1 - ink) * background) - 1)).max() < 1e-5
        assert np.abs(batch.images[1][index].numpy() - (2 * ink * foreground - 1)).max() < 1e-5


@pytest.mark.parametrize("size, side, at", [((64, 96), 56, (4, 20)), ((96, 64), 56, (20, 4))])
def test_colour_modes_and_mnist_m_keep_a_digits_proportions(size, side, at):
    pictures, labels = digits(6)
    window = (slice(at[0], at[0] + side), slice(at[1], at[1] + side))
    arrays = mode_arrays(pictures, labels, "test")
    white = ColourModes(arrays, size).at(np.arange(3), np.arange(3)).images[0]
    assert white.shape == (3, 3, *size)
    colour = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8)
    framed = MnistM({"digits": pictures, "images": colour, "labels": labels}, size)
    plain, blended = framed.at(np.arange(6), np.arange(6)).images
    for index in range(3):
        expected = by_pil(arrays["white"][index], side, side)[None].repeat(3, 0) / 127.5 - 1
        assert close(white[index][:, *window], expected)
        outside = white[index].clone()
        outside[:, *window] = -1
        assert (outside == -1).all()
    for index in range(6):
        inner = scaled(by_pil(colour[index], side, side))
        rows, columns = ((at[axis], size[axis] - side - at[axis]) for axis in (0, 1))
        assert close(blended[index], np.pad(inner, ((0, 0), rows, columns), mode="edge"))
        assert plain[index].shape == (3, *size)


# Pictures


@pytest.mark.parametrize("size, box", [((32, 48), (32, 32, 0, 8)), ((64, 32), (32, 32, 16, 0))])
def test_a_car_is_shown_whole_and_its_background_goes_on(size, box):
    views = np.stack([photographs(24, 48, 48)] * 2)
    cars = Cars({"images": views, "car": np.arange(2), "elevation": np.arange(2)}, size)
    batch = cars.at(np.arange(4))
    height, width, top, left = box
    for index in range(4):
        azimuth = int(batch.labels[1]["azimuth"][index])
        row = int(batch.labels[1]["car"][index])
        inner = scaled(by_pil(views[row, azimuth], height, width))
        border = ((0, 0), (top, size[0] - height - top), (left, size[1] - width - left))
        assert close(batch.images[1][index], np.pad(inner, border, mode="edge"))


def test_afhq_shows_the_middle_in_the_images_proportions(tmp_path):
    stack = photographs(4, 64, 64)
    for split in ("train", "test"):
        write_split(tmp_path / split, {"cat": stack, "dog": stack}, dataset="AFHQ", resolution=64)
    dataset = open_afhq(tmp_path, "test", (32, 48))
    images = dataset.at(np.arange(4), np.arange(4)).images[0]
    for image, picture in zip(images, stack):
        middle = picture[10:53]  # 43 of 64 rows: 64 * 32 / 48 = 42.7
        assert close(image, scaled(by_pil(middle, 32, 48)))
    torch.manual_seed(0)
    made = dataset.render(dataset.read(np.arange(4), np.arange(4)), training=True).images[0]
    assert made.shape == (4, 3, 32, 48) and made.abs().max() < 1.001
    with pytest.raises(DataError, match="stored at 64, below 96"):
        open_afhq(tmp_path, "test", (32, 96))


def test_random_windows_have_the_pictures_own_proportions():
    columns = torch.arange(240.0).expand(300, 1, 120, 240)
    rows = torch.arange(120.0)[:, None].expand(300, 1, 120, 240)
    torch.manual_seed(0)
    made = random_resized_crop_and_flip(torch.cat((rows, columns), 1), (60, 120), probability=1)
    assert made.shape == (300, 2, 60, 120)
    high = (made[:, 0, -2, 50] - made[:, 0, 1, 50]) / 57 * 60
    wide = (made[:, 1, 30, -2] - made[:, 1, 30, 1]).abs() / 117 * 120
    ratio = wide / high / 2
    assert 0.88 < ratio.min() < 0.92 and 1.08 < ratio.max() < 1.12 and 0.98 < ratio.mean() < 1.02
    area = wide * high / (120 * 240)
    assert 0.78 < area.min() < 0.83 and 0.94 < area.max() <= 1.01


def test_resampled_windows_of_any_shape_are_those_of_pil():
    stack = photographs(3, 40, 50)
    top, left, height, width = (torch.tensor(v) for v in ([0, 3, 7], [0, 5, 2], [40, 30, 33], [50, 41, 37]))
    mirrored = torch.tensor([False, True, False])
    images = torch.tensor(stack).movedim(3, 1).float() / 127.5 - 1
    for size in ((20, 31), (61, 24)):
        for i, image in enumerate(resample(images, top, left, height, width, mirrored, size)):
            cut = stack[i][top[i] : top[i] + height[i], left[i] : left[i] + width[i]]
            expected = scaled(by_pil(cut, *size))
            assert close(image, expected[:, :, ::-1] if mirrored[i] else expected)


@pytest.mark.parametrize("cut", [windows, gathered])
def test_windows_of_any_shape_are_slices(cut):
    stack = photographs(3, 40, 50)
    top, left, mirrored = torch.tensor([0, 4, 9]), torch.tensor([9, 0, 3]), torch.tensor([True, False, True])
    for i, window in enumerate(cut(torch.tensor(stack), top, left, mirrored, (31, 22)).numpy()):
        expected = stack[i][top[i] : top[i] + 31, left[i] : left[i] + 22]
        assert np.array_equal(window, expected[:, ::-1] if mirrored[i] else expected)


def test_crops_reach_every_place_in_training_and_the_middle_in_testing():
    stack = photographs(1, 36, 57)
    dataset = Unpaired({"A": stack, "B": stack}, (32, 50), load_size=(36, 57))
    index = np.zeros(400, int)
    torch.manual_seed(0)
    raw = dataset.read(index, index)
    found = ((dataset.render(raw, training=True).images[0] + 1) * 127.5).round().byte().movedim(1, 3).numpy()
    places = {
        stack[0, t : t + 32, l : l + 50][:, ::step].tobytes(): (t, l, step)
        for t in range(5)
        for l in range(8)  # noqa: E741
        for step in (1, -1)
    }
    assert len({places[picture.tobytes()] for picture in found}) == 80
    middle = dataset.at(np.zeros(1, int), np.zeros(1, int)).images[0][0]
    assert np.abs(middle.numpy() - scaled(stack[0, 2:34, 3:53])).max() < 1e-6


# Folders


def shaped_by_pil(path: Path, resize: str, filter: str) -> np.ndarray:
    """At 32 x 48, as uint8."""
    picture = Image.open(path)
    if resize == "crop":  # 50 x 90: 75 columns of 90; 70 x 40: 27 rows (26.7) of 70
        picture = picture.crop({(90, 50): (7, 0, 82, 50), (40, 70): (0, 21, 40, 48)}[picture.size])
    if resize != "fit":
        return np.asarray(picture.resize((48, 32), FILTERS[filter]))
    if picture.width > picture.height:  # 27 x 48 (26.7)
        inner = np.asarray(picture.resize((48, 27), FILTERS[filter]))
        return np.concatenate([inner[:1]] * 2 + [inner] + [inner[-1:]] * 3)
    inner = np.asarray(picture.resize((18, 32), FILTERS[filter]))  # 18.3
    return np.concatenate([inner[:, :1]] * 15 + [inner] + [inner[:, -1:]] * 15, axis=1)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", ["crop", "squash", "fit"])
def test_pictures_are_brought_to_shape_as_pil_does(mixed_folder, resize, filter):
    dataset = open_folders(mixed_folder, "test", (32, 48), resize=resize, filter=filter)
    for domain, stack in zip("AB", dataset.pictures):
        for index in range(4):
            expected = shaped_by_pil(mixed_folder / f"test{domain}" / f"{index}.png", resize, filter)
            assert np.array_equal(stack[index], expected)


def test_each_shape_has_a_cache_of_its_own(mixed_folder):
    for options in ({}, {"resize": "squash"}, {"filter": "bicubic"}, {"resize": "fit", "filter": "bicubic"}):
        for size in (32, (32, 48)):
            for _ in range(2):
                open_folders(mixed_folder, "train", size, **options)
    names = {path.name for path in (mixed_folder / ".packed").iterdir()}
    ends = ("", "-squash", "-bicubic", "-fit-bicubic")
    assert names == {f"{size}{end}" for size in ("32", "32x48") for end in ends}
    about = json.loads((mixed_folder / ".packed/32x48-fit-bicubic/train/meta.json").read_text())
    assert (about["resolution"], about["resize"], about["filter"]) == ([32, 48], "fit", "bicubic")


def test_a_cache_of_before_there_were_shapes_is_still_used(mixed_folder, monkeypatch):
    open_folders(mixed_folder, "train", 32)
    meta = mixed_folder / ".packed/32/train/meta.json"
    keys = {"format", "count", "arrays", "dataset", "source", "source_digest", "resolution", "left_out"}
    assert json.loads(meta.read_text()).keys() == keys  # what it has always said
    before = contents(mixed_folder)
    monkeypatch.setattr(folders, "pack_stacks", None)
    open_folders(mixed_folder, "train", 32, resize="crop", filter="bilinear")
    assert contents(mixed_folder) == before


def test_the_command_line_packs_what_training_then_uses(mixed_folder, monkeypatch):
    shape = ["--load-size", "36x54", "--resize", "squash", "--filter", "bicubic", "--workers", "1"]
    assert run(folders.main, [str(mixed_folder), *shape]) == 0
    monkeypatch.setattr(folders, "pack_stacks", None)
    dataset = open_folders(mixed_folder, "train", (32, 48), 36, "squash", "bicubic")
    assert dataset.pictures[0].shape == (4, 36, 54, 3)
    assert dataset.at(np.arange(2), np.arange(2)).images[0].shape == (2, 3, 32, 48)


def test_the_command_in_an_error_packs_the_same_shape(mixed_folder):
    (mixed_folder / "trainB" / "1.png").write_bytes(b"no picture")
    words = r"--load-size 36x54 --resize fit --filter bicubic --skip-bad"
    with pytest.raises(DataError, match=words):
        open_folders(mixed_folder, "train", (32, 48), 36, "fit", "bicubic")


@pytest.mark.parametrize("wrong", ["12x", "x12", "1x2x3", "0", "32x-3"])
def test_what_is_no_size_is_refused_on_the_command_line(mixed_folder, wrong, capsys):
    assert run(folders.main, [str(mixed_folder), "--load-size", wrong]) == 2
    assert "--load-size" in capsys.readouterr().err
