"""Pairs: three layouts, packed once, rendered whole or augmented alike, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, contents, noise, refusal
from PIL import Image

from dataloader import pairs
from dataloader.packed import DataError
from dataloader.pairs import open_pairs
from dataloader.preprocessing import run

COUNTS = {"train": 5, "test": 3}
FACADES = SHARED / "data" / "facades"


def images(split: str, index: int) -> tuple[Image.Image, Image.Image]:
    """A and B of one pair, 60 x 40."""
    seed = 100 * index + (split == "test")
    return noise(seed, 60, 40), noise(seed + 50, 60, 40)


def halves(root: Path) -> None:
    for split, count in COUNTS.items():
        (root / split).mkdir(parents=True)
        for index in range(count):
            both = np.concatenate([np.asarray(picture) for picture in images(split, index)], axis=1)
            Image.fromarray(both).save(root / split / f"{index}.png")


def folders(root: Path) -> None:
    for split, count in COUNTS.items():
        for side in (0, 1):
            place = root / f"{split}{'AB'[side]}"
            place.mkdir(parents=True)
            for index in range(count):
                images(split, index)[side].save(place / f"{index}.{('png', 'bmp')[side]}")


def pair_folders(root: Path) -> None:
    for split, count in COUNTS.items():
        for index in range(count):
            place = root / split / f"pair{index}"
            place.mkdir(parents=True)
            a, b = images(split, index)
            b.save(place / "cubist.png")  # the report: by name the first is y
            a.save(place / "impressionist.png")


LAYOUTS = {"halves": halves, "folders": folders, "pair_folders": pair_folders}


@pytest.fixture
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    LAYOUTS[getattr(request, "param", "halves")](tmp_path / "set")
    return tmp_path / "set"


every_layout = pytest.mark.parametrize("source", LAYOUTS, indirect=True)


def of_pil(picture: Image.Image, box: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Cut and resized by Pillow, [3, H, W] in [-1, 1]; `size` is width, height."""
    made = np.asarray(picture.crop(box).resize(size, Image.Resampling.BILINEAR))
    return made.transpose(2, 0, 1) / 127.5 - 1


# What is read


@every_layout
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_every_layout_gives_the_same_pairs_in_both_directions(source, direction):
    dataset = open_pairs(source, "test", 32, direction)
    assert dataset.domains == ("x", "y") and dataset.paired and dataset.streams == (3,)
    x, y = dataset.at(np.arange(3)).images
    for index in range(3):
        a, b = (of_pil(picture, (10, 0, 50, 40), (32, 32)) for picture in images("test", index))
        expected = (a, b) if direction == "AtoB" else (b, a)
        for made, right in zip((x, y), expected):
            assert np.abs(made[index].numpy() - right).max() < 1e-6


@pytest.mark.parametrize(
    ("resize", "box", "size"),
    [("squash", (0, 0, 60, 40), (48, 48)), ("crop", (10, 0, 50, 40), (48, 48))],
)
def test_the_middle_or_all_of_a_picture_is_taken(source, resize, box, size):
    x, _ = open_pairs(source, "test", 48, resize=resize).at(np.arange(1)).images
    assert np.abs(x[0].numpy() - of_pil(images("test", 0)[0], box, size)).max() < 1e-6


def test_pictures_need_not_be_square(source):
    dataset = open_pairs(source, "train", (32, 48))
    assert dataset.pairs.shape == (5, 36, 54, 6)  # 286/256 of 32 x 48
    for training in (False, True):
        batch = dataset.render(dataset.read(np.arange(2)), training)
        assert [tuple(image.shape) for image in batch.images] == [(2, 3, 32, 48)] * 2


def test_validation_pairs_are_a_split_of_their_own_and_stand_in_for_a_missing_test_split(source):
    (source / "test").rename(source / "val")
    whole = (np.arange(3),)
    val, test = (open_pairs(source, split, 32).at(*whole).images for split in ("val", "test"))
    assert torch.equal(val[0], test[0])


@pytest.mark.skipif(not FACADES.is_dir(), reason="no facades beside the repository")
def test_facades_are_halves_of_256_each(tmp_path):
    (tmp_path / "test").mkdir()
    for path in sorted((FACADES / "test").iterdir())[:2]:
        shutil.copy(path, tmp_path / "test")
    x, y = open_pairs(tmp_path, "test", 256, "BtoA").at(np.arange(2)).images
    whole = np.asarray(Image.open(sorted((tmp_path / "test").iterdir())[1])).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(np.concatenate([y[1], x[1]], axis=2) - whole).max() < 1e-6


# Training


def test_a_jitter_cuts_one_window_from_both_images_and_mirrors_both(source):
    dataset = open_pairs(source, "train", 32, load_size=36)
    pair = dataset.pairs[:1]
    assert pair.shape == (1, 36, 36, 6)
    windows = {}
    for mirrored in (False, True):
        for top in range(5):
            for left in range(5):
                window = pair[0, top : top + 32, left : left + 32]
                window = window[:, ::-1] if mirrored else window
                windows[np.ascontiguousarray(window).tobytes()] = (top, left, mirrored)
    torch.manual_seed(0)
    seen = set()
    raw = dataset.read(np.zeros(200, int))
    for x, y in zip(*dataset.render(raw, training=True).images):
        both = ((torch.cat((x, y)) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        seen.add(windows[np.ascontiguousarray(both).tobytes()])
    assert len(seen) > 40  # of 50; 200 draws leave out one on average
    dataset.flip = False
    upright = dataset.render(raw, training=True).images[0]
    assert all((image - image.flip(2)).abs().max() > 0 for image in upright)


def test_without_flip_nothing_is_mirrored(source):
    dataset = open_pairs(source, "train", 32, load_size=32, flip=False)
    raw = dataset.read(np.zeros(20, int))
    plain, drawn = dataset.render(raw), dataset.render(raw, training=True)
    assert torch.equal(plain.images[0], drawn.images[0])


def test_pairs_stored_at_another_size_are_resized_before_the_crop(source):
    stored = open_pairs(source, "train", 32, load_size=40).pairs
    dataset = type(open_pairs(source, "test", 32))(stored, 32, load_size=36)
    x, y = dataset.render({"pairs": torch.from_numpy(np.array(stored))}, training=True).images
    assert x.shape == y.shape == (5, 3, 32, 32)


@pytest.mark.parametrize("augment", ["jitter", "report"])
def test_partners_that_are_equal_stay_equal_and_draws_follow_the_seed(tmp_path, augment):
    for index in range(4):
        (tmp_path / "train").mkdir(exist_ok=True)
        pixels = np.asarray(noise(index, 40, 40))
        Image.fromarray(np.concatenate([pixels, pixels], axis=1)).save(tmp_path / "train" / f"{index}.png")
    dataset = open_pairs(tmp_path, "train", 32, augment=augment)
    raw = dataset.read(np.arange(4))

    def draw(seed: int) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(seed)
        return dataset.render(raw, training=True).images

    first, again, other = draw(0), draw(0), draw(1)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], other[0])
    whole = dataset.render(raw).images
    assert torch.equal(whole[0], whole[1]) and not torch.equal(whole[0], first[0])


def test_without_an_augmentation_training_sees_what_tests_see(source):
    dataset = open_pairs(source, "train", 32, augment="none")
    assert dataset.pairs.shape == (5, 32, 32, 6)
    raw = dataset.read(np.arange(5))
    assert torch.equal(dataset.render(raw, training=True).images[1], dataset.render(raw).images[1])


# The cache


@every_layout
def test_the_second_use_reads_the_cache_and_a_change_makes_it_again(source, monkeypatch):
    open_pairs(source, "train", 32)
    before = contents(source)
    with monkeypatch.context() as patched:
        patched.setattr(pairs, "pack_images", None)
        open_pairs(source, "train", 32, "BtoA")
    assert contents(source) == before
    (first, *_) = (p for p in sorted(source.rglob("*.*")) if "train" in str(p) and ".packed" not in str(p))
    Image.open(first).resize((120, 40) if source.joinpath("train/0.png").is_file() else (30, 20)).save(first)
    open_pairs(source, "train", 32)
    assert contents(source / ".packed") != {
        name.removeprefix(".packed/"): content for name, content in before.items() if ".packed/" in name
    }


def test_the_command_line_packs_what_training_then_uses(source, monkeypatch):
    words = ["--resolution", "32x48", "--load-size", "40x60", "--resize", "squash", "--workers", "1"]
    assert run(pairs.main, [str(source), *words]) == 0
    monkeypatch.setattr(pairs, "pack_images", None)
    assert open_pairs(source, "train", (32, 48), load_size=40, resize="squash").pairs.shape[1:3] == (40, 60)
    assert open_pairs(source, "test", (32, 48), load_size=40, resize="squash").pairs.shape[1:3] == (32, 48)


# What is refused


def refused(folder: Path, *patterns: str, split: str = "train", **options: object) -> str:
    with pytest.raises(DataError) as caught:
        open_pairs(folder, split, 32, **options)
    text = str(caught.value)
    assert "\n" not in text
    for pattern in patterns:
        assert re.search(pattern, text), text
    return text


def skip_bad(folder: Path, capsys: pytest.CaptureFixture) -> str:
    assert run(pairs.main, [str(folder), "--resolution", "32", "--skip-bad", "--workers", "1"]) == 0
    return capsys.readouterr().out


def test_halves_of_unequal_width_are_named_and_can_be_left_out(source, capsys):
    noise(0, 81, 40).save(source / "train" / "2.png")
    how = r"pairs.py .*set --resolution 32 --load-size 36 --layout auto --skip-bad"
    refused(source, r"train/2\.png: its 81 columns", how)
    assert "left out: " in skip_bad(source, capsys)
    assert open_pairs(source, "train", 32).streams == (4,)


def test_a_picture_of_one_pixel_and_a_half_of_one_column_are_named(source):
    noise(0, 1, 1).save(source / "train" / "2.png")
    refused(source, r"train/2\.png: its 1 columns \(1 x 1\)")
    noise(0, 2, 1).save(source / "train" / "2.png")
    refused(source, r"train/2\.png: 1 x 1 pixels")


@pytest.mark.parametrize("source", ["folders"], indirect=True)
def test_files_without_a_partner_are_named_and_can_be_left_out(source, capsys):
    (source / "trainB" / "1.bmp").unlink()
    refused(source, r"trainA/1\.png has no partner in trainB; --skip-bad")
    (source / "trainA" / "3.png").rename(source / "trainA" / "Three.png")
    (source / "trainB" / "3.bmp").rename(source / "trainB" / "three.bmp")
    refused(source, r"trainA/1\.png has no partner .*\(and 2 more\)")
    assert "Three.png has no partner in trainB (three.bmp differs in upper and lower case)" in skip_bad(
        source, capsys
    )
    assert open_pairs(source, "train", 32).streams == (3,)


@pytest.mark.parametrize("source", ["folders"], indirect=True)
def test_partners_of_other_proportions_and_names_that_come_twice_are_named(source):
    noise(0, 120, 80).save(source / "trainB" / "1.bmp")  # twice as large
    assert open_pairs(source, "train", 32).streams == (5,)
    noise(0, 60, 45).save(source / "trainB" / "1.bmp")
    refused(source, r"trainA/1\.png is 60 x 40 and .*trainB/1\.bmp 60 x 45.*squash")
    assert open_pairs(source, "train", 32, resize="squash").streams == (5,)
    noise(0, 60, 40).save(source / "trainA" / "1.bmp")
    refused(source, r"trainA/1\.png has the name of 1\.bmp")


@pytest.mark.parametrize("source", ["pair_folders"], indirect=True)
def test_pair_folders_of_one_of_three_and_of_names_that_differ_in_case_are_named(source, capsys):
    place = source / "train" / "pair1"
    third = place / "third.png"
    shutil.copy(place / "cubist.png", third)
    refused(source, r"pair1 holds 3 pictures \(cubist.png, impressionist.png, third.png\), not two")
    for path in (third, place / "cubist.png"):
        path.unlink()
    refused(source, r"pair1 holds 1 picture \(impressionist.png\), not two")
    shutil.copy(place / "impressionist.png", place / "Impressionist.png")
    refused(source, r"pair1: Impressionist.png, impressionist.png differ in upper and lower case only")
    assert "left out: " in skip_bad(source, capsys)
    assert open_pairs(source, "train", 32).streams == (4,)


def test_what_could_be_two_layouts_asks_for_the_key(source, tmp_path):
    folders(source)
    refused(source, "could be read as halves or folders; set data.layout")
    assert open_pairs(source, "train", 32, layout="folders").streams == (5,)
    meta = json.loads((source / ".packed/pairs-36/train/meta.json").read_text())
    assert (meta["layout"], meta["source"], meta["count"]) == ("folders", "trainA, trainB", 5)
    refused(source, "no train/ with a folder for each pair", layout="pair_folders")


def test_a_folder_without_pairs_says_where_to_get_some(source, tmp_path, capsys):
    refused(tmp_path / "nowhere", r"no folder at .*bash download/pix2pix.sh NAME")
    refused(source / "train", "no train/ with pictures, no trainA/ and trainB/, no train/ with a folder for")
    (source / "train").rename(source / "trainA")
    refused(source, "holds only trainA of trainA and trainB")
    assert "holds only trainA" in refusal(capsys, pairs.main, source)
    refused(source, "below the resolution", split="test", load_size=16)
