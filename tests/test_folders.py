"""Folders of pictures: any size and kind, any number of domains, packed once and again after a change."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import contents, lines_until_kill, moments, noise
from PIL import Image

from dataloader import folders
from dataloader.folders import open_folders, pack_folders
from dataloader.packed import DataError
from dataloader.preprocessing import run

SIZES = {"A": (20, 20), "B": (40, 30), "C": (25, 50)}  # width, height


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three domains of pictures of different sizes and kinds."""
    root = tmp_path / "set"
    for number, (domain, size) in enumerate(SIZES.items()):
        for split, count in (("train", 4 + number), ("test", 2)):
            folder = root / f"{split}{domain}"
            folder.mkdir(parents=True)
            for index in range(count):
                noise(100 * number + index + 50 * (split == "test"), *size).save(folder / f"{index}.png")
    noise(9, 33, 33).convert("L").save(root / "trainA" / "grey.png")
    noise(9, 33, 33).convert("P").save(root / "trainA" / "palette.gif.png")
    return root


# What is read


def test_any_number_of_domains_come_in_alphabetical_order_with_their_own_lengths(source):
    dataset = open_folders(source, "train", 16)
    assert dataset.domains == ("A", "B", "C") and dataset.streams == (6, 5, 6)
    assert open_folders(source, "test", 16).streams == (2, 2, 2)
    assert [tuple(images.shape) for images in dataset.at(*(np.arange(2),) * 3).images] == [(2, 3, 16, 16)] * 3


def test_pictures_are_their_middle_squares_resized_as_pil_does(source):
    dataset = open_folders(source, "test", 16)
    images = dataset.at(*(np.arange(2),) * 3).images
    boxes = {"A": (0, 0, 20, 20), "B": (5, 0, 35, 30), "C": (0, 12, 25, 37)}
    for domain, stack in zip("ABC", images):
        for index in range(2):
            picture = Image.open(source / f"test{domain}" / f"{index}.png").crop(boxes[domain])
            expected = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR)) / 127.5 - 1
            assert np.abs(stack[index].permute(1, 2, 0).numpy() - expected).max() < 1e-6


def test_a_load_size_packs_larger_and_crops_to_the_resolution(source):
    dataset = open_folders(source, "train", 16, load_size=20)
    assert dataset.pictures[0].shape == (6, 20, 20, 3)
    assert dataset.render(dataset.read(*(np.arange(2),) * 3), training=True).images[0].shape == (2, 3, 16, 16)
    assert (source / ".packed" / "20" / "train" / "meta.json").is_file()
    with pytest.raises(DataError, match="below the resolution"):
        open_folders(source, "train", 16, load_size=8)


# The cache


def test_the_second_use_reads_the_cache_of_the_first(source, monkeypatch):
    open_folders(source, "train", 16)
    before = contents(source)
    monkeypatch.setattr(folders, "pack_stacks", None)
    open_folders(source, "train", 16)
    assert contents(source) == before


@pytest.mark.parametrize("change", ["added", "removed", "size", "time", "damaged"])
def test_a_change_of_the_folder_makes_the_cache_again(source, change):
    open_folders(source, "train", 20)
    first = source / "trainA" / "0.png"
    new = noise(777, 20, 20)
    match change:
        case "added":
            new.save(source / "trainA" / "00.png")
        case "removed":
            first.unlink()
        case "size":
            new.convert("L").save(first)
        case "time":
            facts = first.stat()
            new.save(first, compress_level=6)
            os.utime(first, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
        case "damaged":
            (source / ".packed" / "20" / "train" / "B.npy").write_bytes(b"spoilt")
    dataset = open_folders(source, "train", 20)
    assert dataset.streams[0] == {"added": 7, "removed": 5}.get(change, 6)
    shown = np.asarray(dataset.pictures[0][0])
    names = sorted(path.name for path in (source / "trainA").iterdir())
    assert (shown == np.asarray(Image.open(source / "trainA" / names[0]).convert("RGB"))).all()


def test_a_folder_that_cannot_be_written_is_packed_in_the_users_cache(source, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    (tmp_path / "home").mkdir()
    (source / ".packed").write_text("")  # no folder can be made here, not even by root
    before = contents(source)
    assert open_folders(source, "train", 16).streams == (6, 5, 6)
    assert contents(source) == before
    (cache,) = (tmp_path / "home" / ".cache" / "cross-domain-translation").iterdir()
    assert sorted(p.name for p in (cache / "16" / "train").iterdir()) == [
        "A.npy",
        "B.npy",
        "C.npy",
        "meta.json",
    ]


def test_killed_at_any_moment_it_is_packed_again_to_the_same_bytes(source):
    def pack() -> None:
        pack_folders(source, "train", 8, workers=1)

    cache = source / ".packed"
    lines = lines_until_kill(pack, None)
    expected = contents(cache)
    for moment in moments(lines, 4, late=(5, 20)):
        shutil.rmtree(cache)
        lines_until_kill(pack, moment)
        pack()
        assert contents(cache) == expected
        assert [p.name for p in (cache / "8").iterdir()] == ["train"]


# What is refused


def test_a_bad_picture_is_named_with_the_command_that_leaves_it_out(source, capsys):
    (source / "trainB" / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"trainB/1.png: cannot be read.*folders.py .* --skip-bad"):
        open_folders(source, "train", 16)
    assert list((source / ".packed" / "16").iterdir()) == []
    assert run(folders.main, [str(source), "--load-size", "16", "--skip-bad", "--workers", "1"]) == 0
    assert "left out: " in capsys.readouterr().out
    assert open_folders(source, "train", 16).streams == (6, 4, 6)


def test_what_is_no_folder_of_domains_is_one_line_that_says_what_to_do(source, tmp_path):
    how = "bash download/cyclegan.sh NAME"
    with pytest.raises(DataError, match=f"no folder at .*{how}"):
        open_folders(tmp_path / "nowhere", "train", 16)
    with pytest.raises(DataError, match=f"no trainA, trainB .*{how}"):
        open_folders(source / "trainA", "train", 16)
    shutil.rmtree(source / "testC")
    with pytest.raises(DataError, match="domain C is in only one of train and test"):
        open_folders(source, "test", 16)
    shutil.rmtree(source / "trainB")
    shutil.rmtree(source / "trainC")
    with pytest.raises(DataError, match="only trainA; translation needs two"):
        open_folders(source, "train", 16)


def test_validation_pictures_stand_in_where_there_is_no_test_split(source):
    for domain in SIZES:
        (source / f"test{domain}").rename(source / f"val{domain}")
    assert open_folders(source, "test", 16).streams == (2, 2, 2)
