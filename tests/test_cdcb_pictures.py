"""MNIST-CDCB's pictures in the layouts of the authors' archive and of IIAE-Pytorch, read directly."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents, write_config
from PIL import Image
from test_cli import call

from dataloader import DataError, open_dataset, preprocess_mnist
from dataloader.packed import read_split
from dataloader.preprocessing import run

COUNTS = {"train": 12, "test": 5}
OPENER = "dataloader.cdcb:open_mnist"


def pair(split: str, index: int, side: int = 256) -> np.ndarray:
    """x left and y right, [side, 2 side, 3]: of two colours for each pair."""
    random = np.random.default_rng([len(split), index])
    colours = random.integers(0, 256, (2, 3), np.uint8)
    picture = np.repeat(colours, side, axis=0)[None].repeat(side, axis=0)
    picture[side // 4 : side // 2, side // 4 : side // 2] = 255
    return picture


def write_archive(root: Path) -> Path:
    """As MNIST-CDCB-256Ims.tar.gz unpacks: train/ and test/ with 512 x 256 PNGs, numbered."""
    for split, count in COUNTS.items():
        (root / split).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(pair(split, index)).save(root / split / f"{index + 1:05}.png")
    return root


def write_prepared(root: Path, name: str = "{:05}.png", y_name: str | None = None) -> Path:
    """As IIAE-Pytorch's preprocess_mnist.py leaves it: each half of each file, under the file's name."""
    for split, count in COUNTS.items():
        for side, form in (("X", name), ("Y", y_name or name)):
            (root / f"{split}{side}").mkdir(parents=True)
            for index in reversed(range(count)):  # not made in the order of names
                half = np.split(pair(split, index), 2, axis=1)["XY".index(side)]
                Image.fromarray(half).save(root / f"{split}{side}" / form.format(index + 1))
    return root


def check_pairs(root: Path) -> None:
    for split, count in COUNTS.items():
        for size in (256, 64):  # of squares of one colour, so that only their edges could differ
            data = open_dataset(OPENER, root, split, size)
            assert len(data) == count and data.colour_domains == () and not data.knows
            x, y = ((image + 1) * 127.5 for image in data.at(np.arange(count)).images)
            wanted = torch.stack([torch.from_numpy(pair(split, i, size)) for i in range(count)]).movedim(3, 1)
            for shown, half in zip((x, y), wanted.float().chunk(2, dim=3)):
                inner = (shown - half)[:, :, 4:12, 4:12] if size == 64 else shown - half
                assert inner.abs().max() < 1e-3


@pytest.mark.parametrize("names", [("{:05}.png",), ("x{:05}.png", "y{:05}.png")], ids=["same", "in order"])
def test_iiae_pytorchs_folders_are_read_directly_partner_by_partner(tmp_path, names):
    check_pairs(write_prepared(tmp_path / "MNIST-CDCB", *names))


def test_the_authors_archive_is_read_directly(tmp_path):
    check_pairs(write_archive(tmp_path / "MNIST-CDCB"))


def test_where_both_are_the_archive_counts_for_the_other_may_be_unfinished(tmp_path):
    root = write_prepared(write_archive(tmp_path / "MNIST-CDCB"))
    (root / "trainY" / "00003.png").unlink()
    check_pairs(root)


def test_both_layouts_are_preprocessed_to_the_same_arrays(tmp_path):
    sources = write_archive(tmp_path / "a"), write_prepared(tmp_path / "b")
    arrays = []
    for source in sources:
        target = tmp_path / f"{source.name}-set"
        arguments = [source, target, "--resolution", "64", "--workers", "1"]
        assert run(preprocess_mnist.main, list(map(str, arguments))) == 0
        arrays.append(read_split(target / "train")[1]["images"])
    assert arrays[0].shape == (12, 2, 64, 64, 3) and np.array_equal(*arrays)


def test_the_cache_is_made_once_and_again_when_a_picture_changes(tmp_path):
    root = write_prepared(tmp_path / "set")
    open_dataset(OPENER, root, "test", 32)
    made = contents(root / ".packed")
    stamp = (root / ".packed/cdcb-32/test").stat().st_ino
    open_dataset(OPENER, root, "test", 32)
    assert (root / ".packed/cdcb-32/test").stat().st_ino == stamp
    Image.new("RGB", (256, 256), "red").save(root / "testX" / "00001.png")
    changed = open_dataset(OPENER, root, "test", 32).at(np.arange(1)).images[0]
    assert changed[0].amin(dim=(1, 2)).tolist() == [1, -1, -1]
    assert contents(root / ".packed").keys() == made.keys()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "trainX/00004.png").unlink(), r"trainY/00004.png has no partner in .*trainX"),
        (lambda root: (root / "trainY/00004.png").rename(root / "trainY/4.png"), r"trainX/00004.png has no"),
        (lambda root: (root / "trainY/00002.png").write_bytes(b"no"), r"trainY/00002.png: cannot be read"),
        (lambda root: Image.new("RGB", (9, 8)).save(root / "trainX/00002.png"), r"is 9 x 8; x and y are sq"),
        (lambda root: (root / "trainY").rename(root / "other"), r"no folder at .*trainY"),
    ],
)
def test_what_makes_no_pairs_is_named_and_nothing_is_kept(tmp_path, spoil, words):
    root = write_prepared(tmp_path / "set")
    spoil(root)
    with pytest.raises(DataError, match=words):
        open_dataset(OPENER, root, "train", 32)
    assert not list(root.rglob("*.npy"))


def test_unequal_numbers_of_other_names_make_no_pairs_and_a_split_may_be_missing(tmp_path):
    root = write_prepared(tmp_path / "set", "x{:05}.png", "y{:05}.png")
    (root / "trainY/y00004.png").unlink()
    with pytest.raises(DataError, match="holds 12 pictures and trainY 11"):
        open_dataset(OPENER, root, "train", 32)
    root = write_prepared(tmp_path / "other")
    for side in "XY":
        (root / f"test{side}").rename(root / f"elsewhere{side}")
    with pytest.raises(DataError, match="holds no test/ with pictures, and no testX/ and testY/"):
        open_dataset(OPENER, root, "test", 32)


def test_a_run_trains_on_them_and_a_bad_picture_is_one_line(experiment, tmp_path, capsys):
    root = write_prepared(tmp_path / "set")
    values = {**experiment, "dataset": "MNIST-CDCB", "path_to_data": str(root)}
    values["training"] = {**experiment["training"], "max_iters": 1, "batch_size": 4}
    path = write_config(values, tmp_path / "c.json")
    assert call(capsys, path, "test.after_training=false")[0] == 0
    (root / "trainX/00002.png").write_bytes(b"no")
    status, line = call(capsys, path, f"run_dir={tmp_path / 'second'}")
    assert status == 2 and line.count("\n") == 1 and "00002.png" in line and "--skip-bad: python" in line
    assert not (tmp_path / "second").exists()
