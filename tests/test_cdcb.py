import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from scipy import ndimage, stats
from sklearn.datasets import load_digits

from configs.keys import DATASETS
from dataloader import DataError, open_dataset
from dataloader.cdcb import draw_colours, render_pairs
from dataloader.idx import read_idx
from dataloader.packed import new_folder, read_split, write_split


def test_a_rendered_pair_is_white_on_colour_and_colour_on_black():
    digits = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    colours = torch.randint(0, 256, (3, 2, 3), dtype=torch.uint8)
    x, y = render_pairs(digits, colours, 32)
    for b in range(3):
        for row in range(32):
            for column in (0, 5, 16, 29, 31):
                inside = 2 <= row < 30 and 2 <= column < 30
                ink = digits[b, row - 2, column - 2].item() / 255 if inside else 0.0
                for channel in range(3):
                    background, foreground = (colours[b, side, channel].item() / 255 for side in (0, 1))
                    want_x = ink * 1.0 + (1 - ink) * background
                    assert x[b, channel, row, column].item() == pytest.approx(2 * want_x - 1, abs=1e-5)
                    assert y[b, channel, row, column].item() == pytest.approx(
                        2 * ink * foreground - 1, abs=1e-5
                    )


@pytest.mark.parametrize("resolution", [32, 64, 256])
def test_pairs_are_rendered_at_any_resolution_within_range(digits_folder, resolution):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", resolution)
    batch = data.at(np.arange(5))
    assert [image.shape for image in batch.images] == [(5, 3, resolution, resolution)] * 2
    assert all(image.min() >= -1 and image.max() <= 1 for image in batch.images)
    corner = (batch.images[0][:, :, 0, 0] + 1) * 127.5  # the background of x, whatever the resolution
    labels = torch.stack([batch.labels[0][f"x_{c}"] for c in ("red", "green", "blue")], dim=1)
    assert torch.equal(corner.round().long(), labels)


def extent_and_stroke(ink: np.ndarray) -> tuple[float, float]:
    """Of digits [N, H, W], 0 to 1: how high or wide what is half black is, and how thick its strokes are,
    in pixels: twice the distance to the edge where it is largest. Means over the digits."""
    extents, strokes = [], []
    for mask in ink > 0.5:
        extents.append(max(np.ptp(place) + 1 for place in np.nonzero(mask)))
        depth = ndimage.distance_transform_edt(mask)
        strokes.append(2 * np.median(depth[(depth == ndimage.maximum_filter(depth, 5)) & mask]))
    return float(np.mean(extents)), float(np.mean(strokes))


def inks(digits: torch.Tensor, size: int, rendering: str) -> list[np.ndarray]:
    """What x and y show of the ink, [N, H, W] each, 0 to 1."""
    black_and_white = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    pair = render_pairs(digits, black_and_white.expand(len(digits), 2, 3), size, rendering)
    return [(image[:, 0].numpy() + 1) / 2 for image in pair]


@pytest.mark.skipif(not (SHARED / "data/mnist").exists(), reason="no MNIST at hand")
@pytest.mark.parametrize("size", [256, 128])
def test_the_authors_digits_have_no_margin_and_ys_strokes_are_thicker(size):
    digits = open_dataset("dataloader.cdcb:open_mnist", SHARED / "data/mnist", "test", size).arrays["digits"]
    digits = torch.from_numpy(digits[:100].copy())
    (x, x_stroke), (y, y_stroke) = (extent_and_stroke(ink) for ink in inks(digits, size, "authors"))
    assert x * 256 / size == pytest.approx(183, abs=4) and y * 256 / size == pytest.approx(185, abs=3)
    assert y_stroke / x_stroke == pytest.approx(1.2, abs=0.04)
    centred = [extent_and_stroke(ink) for ink in inks(digits, size, "centred")]
    assert centred[0] == centred[1] and centred[0][0] == pytest.approx(x * 7 / 8, rel=0.01)


@pytest.mark.parametrize("size", [32, (32, 64)])
def test_the_authors_rendering_fills_the_picture_and_is_a_key(tmp_path, size):
    arrays = {
        "digits": np.full((2, 28, 28), 100, np.uint8),
        "colours": np.full((2, 2, 3), 255, np.uint8),
    }
    for split in ("train", "test"):
        write_split(tmp_path / split, arrays, dataset="MNIST-CDCB")
    opened = {
        name: open_dataset(DATASETS["MNIST-CDCB"].opener, tmp_path, "test", size, rendering=name)
        for name in ("authors", "centred")
    }
    inked = {name: (data.at(np.arange(2)).images[1][0, 0] > -1).numpy() for name, data in opened.items()}
    assert inked["authors"].sum() == 32 * 32 and inked["centred"].sum() == 28 * 28
    assert DATASETS["MNIST-CDCB"]().options == {"rendering": "centred"}


def test_colours_are_uniform_independent_and_the_same_everywhere():
    colours = draw_colours(20_000, "train")
    assert colours[0].tolist() == [[193, 129, 227], [239, 41, 116]]
    assert np.array_equal(colours[:100], draw_colours(100, "train"))
    flat = colours.reshape(-1, 6)
    for channel in range(6):
        assert stats.kstest((flat[:, channel] + 0.5) / 256, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(flat.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.03
    assert not np.array_equal(draw_colours(100, "test"), draw_colours(100, "train"))


def test_digits_cdcb_makes_itself_from_the_bundled_digits_with_no_digit_in_both_splits(tmp_path):
    train = open_dataset("dataloader.cdcb:open_digits", tmp_path / "new", "train", 32)
    test = open_dataset("dataloader.cdcb:open_digits", tmp_path / "new", "test", 32)
    used = [{d.tobytes() for d in split.arrays["digits"]} for split in (train, test)]
    source = {np.round(d * 255 / 16).astype(np.uint8).tobytes() for d in load_digits().images}
    assert used[0] | used[1] == source
    assert len(used[0] & used[1]) <= 2  # the bundle itself holds a few digits twice
    assert (len(test), len(train)) == (360, 8 * 1437)


def test_labels_follow_their_digits(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    bundle = load_digits()
    known = {
        np.round(d * 255 / 16).astype(np.uint8).tobytes(): t for d, t in zip(bundle.images, bundle.target)
    }
    raw = data.read(np.arange(len(data)))
    assert all(known[d.numpy().tobytes()] == t for d, t in zip(raw["digits"], raw["labels"]))


def test_idx_files_are_read_gzipped_or_not_and_refused_when_truncated(tmp_path):
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    data = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 4) + array.tobytes()
    (tmp_path / "plain").write_bytes(data)
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(data))
    assert np.array_equal(read_idx(tmp_path / "plain"), array)
    assert np.array_equal(read_idx(tmp_path / "zipped.gz"), array)
    (tmp_path / "short").write_bytes(data[:-1])
    (tmp_path / "short.gz").write_bytes(gzip.compress(data)[:-9])
    (tmp_path / "other").write_bytes(b"hello")
    for name in ("short", "short.gz", "other"):
        with pytest.raises(DataError, match=name):
            read_idx(tmp_path / name)


@pytest.mark.skipif(not (SHARED / "data/mnist").exists(), reason="no MNIST at hand")
def test_real_mnist_opens_straight_from_its_idx_files():
    data = open_dataset("dataloader.cdcb:open_mnist", SHARED / "data/mnist", "test", 32)
    assert len(data) == 10_000
    batch = data.at(np.arange(4))
    assert batch.labels[0]["digit"].tolist() == [7, 2, 1, 0]  # as published
    ink = (batch.images[0][0, :, 2:30, 2:30].amin(dim=0) + 1) / 2
    assert ink.max() == 1.0


def test_a_missing_data_set_says_how_to_make_it(tmp_path):
    with pytest.raises(DataError, match=r"no MNIST-CDCB at .*bash download/mnist_cdcb.sh"):
        open_dataset("dataloader.cdcb:open_mnist", tmp_path / "none", "train", 32)


def test_a_foreign_folder_is_not_written_into(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="holds something else"):
        open_dataset("dataloader.cdcb:open_digits", tmp_path, "train", 32)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_packed_set_is_named(tmp_path):
    split = tmp_path / "set/train"
    with new_folder(tmp_path / "set") as work:
        write_split(work / "train", {"digits": np.zeros((4, 8, 8), np.uint8)}, dataset="t")
    assert read_split(split)[0]["count"] == 4
    whole = (split / "digits.npy").read_bytes()
    (split / "digits.npy").write_bytes(whole[:-10])
    with pytest.raises(DataError, match="damaged"):
        read_split(split)
    np.save(split / "digits.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(DataError, match="another shape"):
        read_split(split)


def test_a_folder_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/old").write_text("old")

    def fail():
        with new_folder(tmp_path / "set") as work:
            (work / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["set", "set/old"]


def test_another_data_set_is_refused_in_one_line(tmp_path):
    for split in ("train", "test"):
        write_split(tmp_path / split, {"images": np.zeros((2, 24, 8, 8, 1), np.uint8)}, dataset="Cars")
    for name in ("MNIST-CDCB", "Digits-CDCB"):
        with pytest.raises(DataError, match=f"holds Cars, not {name}"):
            open_dataset(DATASETS[name].opener, tmp_path, "train", 32)


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/old").write_text("old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), new_folder(tmp_path / "set") as work:
        (work / "new").write_text("new")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["set", "set/old"]


@pytest.mark.parametrize("size", [32, 64])
def test_a_colour_is_told_by_the_looks_of_a_picture(digits_folder, size):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", size)
    batch = data.at(np.arange(len(data)))
    for domain, name in enumerate("xy"):
        true = torch.stack([batch.labels[domain][f"{name}_{c}"] for c in ("red", "green", "blue")], dim=1)
        error = (data.colour_of(batch.images[domain], domain) - true / 255).abs()
        assert error.mean() < 0.02
        if domain == 0:
            assert error.max() < 1e-6
    assert data.colour_domains == (0, 1)
