"""Attributes: its pictures, labels, choices and cache, and a training run on it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from attribute_folders import FIVE, NAMES, SPLITS, VALUES, celeba, labels_of, names_of, own, refused
from conftest import contents, noise, write_config
from PIL import Image

from configs.keys.data import AttributesData
from dataloader import attributes, open_dataset
from dataloader.attributes import open_attributes, pack_attributes
from dataloader.cache import Shape
from dataloader.held_out import training_sets
from dataloader.preprocessing import run
from dataloader.sizes import Size
from main import main

__all__ = ["celeba", "own"]  # fixtures


def expected(path: Path, box: tuple[slice, slice], size: Size) -> np.ndarray:
    cut = Image.fromarray(np.asarray(Image.open(path).convert("RGB"))[box])
    resized = cut.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32).transpose(2, 0, 1) / 127.5 - 1


# Pictures and labels


def test_celeba_is_one_unpaired_domain_with_the_five_attributes_of_stargan(celeba):
    for number, split in enumerate(("train", "val", "test")):
        dataset = open_attributes(celeba, split, 16)
        assert (dataset.domains, dataset.paired) == (("images",), False)
        assert dataset.attributes == FIVE and dataset.exclusive_attributes == ((0, 1, 2),)
        assert dataset.streams == (int((number == SPLITS).sum()),)
        columns = [NAMES.index(name) for name in FIVE]
        assert (labels_of(dataset) == VALUES[number == SPLITS][:, columns]).all()


@pytest.mark.parametrize("size", [(16, 16), (12, 24)])
@pytest.mark.parametrize("crop", [None, 20, 7])
def test_a_picture_is_the_middle_square_of_so_many_pixels_resized_as_pil_does(celeba, size, crop):
    images = open_attributes(celeba, "test", size, crop=crop).at(np.arange(3)).images[0].numpy()
    boxes = {  # of 27 x 22, rows and columns; then the part with the proportions of the size
        (None, (16, 16)): (slice(2, 24), slice(0, 22)),
        (None, (12, 24)): (slice(8, 19), slice(0, 22)),
        (20, (16, 16)): (slice(3, 23), slice(1, 21)),
        (20, (12, 24)): (slice(8, 18), slice(1, 21)),
        (7, (16, 16)): (slice(10, 17), slice(7, 14)),
        (7, (12, 24)): (slice(11, 15), slice(7, 14)),
    }
    for image, name in zip(images, names_of()[-3:]):
        at = celeba / "img_align_celeba" / name
        assert np.abs(image - expected(at, boxes[crop, size], size)).max() < 1e-6


def test_the_split_val_is_what_validation_looks_at(celeba):
    train, validation = training_sets(lambda split: open_attributes(celeba, split, 16), celeba, 0.1)
    assert (len(train), len(validation)) == (7, 2)
    assert training_sets(lambda split: open_attributes(celeba, split, 16), celeba, 0.0)[1] is None


def test_without_a_split_val_a_share_is_held_out_that_knows_the_same(celeba):
    (celeba / "list_eval_partition.txt").unlink()
    for part in training_sets(lambda split: open_attributes(celeba, split, 16), celeba, 0.3):
        assert part.attributes == FIVE and part.exclusive_attributes == ((0, 1, 2),)
        assert set(part.at(np.arange(2)).labels[0]) == set(part.knows) == set(FIVE)


def test_attributes_and_groups_are_chosen_by_name(celeba):
    dataset = open_attributes(celeba, "train", 16, ["Young", "Gray_Hair", "Black_Hair"])
    assert dataset.exclusive_attributes == ((2, 1),)
    assert (labels_of(dataset) == VALUES[:7][:, [6, 4, 1]]).all()
    assert open_attributes(celeba, "train", 16, ["Young", "Male"]).exclusive_attributes == ()
    assert open_attributes(celeba, "train", 16, exclusive=[]).exclusive_attributes == ()
    dataset = open_attributes(celeba, "train", 16, exclusive=[["Young", "Male"]])
    assert dataset.exclusive_attributes == ((4, 3),)
    refused(
        celeba, "data.attributes: there is no attribute blond; did you mean Blond_Hair", attributes=["blond"]
    )
    refused(celeba, "no attribute Qqq; there are 5_o_Clock_Shadow, Black", attributes=["Qqq"])
    refused(celeba, "data.exclusive: there is no attribute Mal", exclusive=[["Mal", "Young"]])


def test_training_mirrors_half_of_the_pictures_and_tests_none(celeba):
    dataset = open_attributes(celeba, "train", 16)
    plain = dataset.at(np.arange(7)).images[0]
    torch.manual_seed(0)
    drawn = torch.stack(
        [dataset.render(dataset.read(np.arange(7)), training=True).images[0] for _ in range(40)]
    )
    same = (drawn == plain).flatten(2).all(2)
    mirrored = (drawn == plain.flip(3)).flatten(2).all(2)
    assert (same ^ mirrored).all() and 0.4 < mirrored.float().mean() < 0.6
    dataset = open_attributes(celeba, "train", 16, flip=False)
    assert torch.equal(dataset.render(dataset.read(np.arange(7)), training=True).images[0], plain)


# The cache


def test_other_attributes_are_read_from_the_cache_of_the_first_use(celeba, monkeypatch):
    open_attributes(celeba, "train", 16)
    before = contents(celeba)
    monkeypatch.setattr(attributes, "pack_images", None)
    monkeypatch.setattr(attributes, "read_source", None)
    assert open_attributes(celeba, "train", 16, NAMES).attributes == tuple(NAMES)
    assert contents(celeba) == before


def test_other_shapes_have_caches_of_their_own(celeba):
    for options in ({}, {"crop": 20}, {"resize": "squash"}, {"filter": "bicubic"}):
        open_attributes(celeba, "test", (16, 12), **options)
    names = {path.name for path in (celeba / ".packed").iterdir()}
    stem = "attributes-16x12"
    assert names == {stem, f"{stem}-crop20", f"{stem}-squash", f"{stem}-bicubic"}


@pytest.mark.parametrize("change", ["table", "partition", "picture", "more"])
def test_a_change_of_pictures_or_tables_makes_the_cache_again(celeba, change):
    before = open_attributes(celeba, "train", 16)
    shown, values = np.array(before.pictures), before.values.copy()
    picture = celeba / "img_align_celeba" / "000001.jpg"
    match change:
        case "table":
            text = (celeba / "list_attr_celeba.txt").read_text()
            head, _, rest = text.partition("000001.jpg ")
            swapped = rest.replace(" 1", "+1").replace("-1", " 1").replace("+1", "-1")
            (celeba / "list_attr_celeba.txt").write_text(f"{head}000001.jpg {swapped}")
        case "partition":
            text = (celeba / "list_eval_partition.txt").read_text()
            (celeba / "list_eval_partition.txt").write_text(text.replace("000001.jpg 0", "000001.jpg 2"))
        case "picture":
            facts = picture.stat()
            noise(99, 22, 27).save(picture)
            os.utime(picture, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
        case "more":
            noise(99, 22, 27).save(celeba / "img_align_celeba" / "new.jpg")
            refused(celeba, "new.jpg has no row in list_attr_celeba.txt; --skip-bad")
            return
    if change == "table":  # of the same length: only its time tells
        os.utime(celeba / "list_attr_celeba.txt", ns=(1, 1))
    after = open_attributes(celeba, "train", 16)
    assert len(after) == (6 if change == "partition" else 7)
    assert (len(after) != 7) or (after.values != values).any() == (change == "table")
    assert (len(after) != 7) or (np.asarray(after.pictures) != shown).any() == (change == "picture")


def test_several_workers_pack_the_same_bytes_as_one(celeba):
    shape = Shape((16, 16))
    one = contents(pack_attributes(celeba, "train", shape, 20, workers=1)[0])
    shutil.rmtree(celeba / ".packed")
    assert contents(pack_attributes(celeba, "train", shape, 20, workers=2)[0]) == one


# What is refused


def test_what_is_no_such_folder_says_what_to_do(celeba, own, tmp_path):
    refused(tmp_path / "nowhere", "no folder at .*bash download/celeba.sh")
    (tmp_path / "empty").mkdir()
    refused(
        tmp_path / "empty", "holds no list_attr_celeba.txt, no attributes.csv and .*download/deepfashion.sh"
    )
    shutil.copy(own / "attributes.csv", celeba)
    refused(celeba, "holds list_attr_celeba.txt and attributes.csv; keep the one that counts")
    (celeba / "attributes.csv").unlink()
    refused(celeba, "000001.jpg: its 22 x 27 pixels hold no data.crop of 23", crop=23)
    shutil.rmtree(celeba / "img_align_celeba")
    refused(celeba, "no img_align_celeba/ with its pictures")
    (own / "attributes.csv").write_text("image,red\na/1.png,1\n")
    refused(own, r"4.png has no row in attributes.csv \(and 2 more\)")


def test_skip_bad_leaves_out_what_does_not_match_and_lists_it(celeba, capsys):
    folder = celeba / "img_align_celeba"
    (folder / "000001.jpg").unlink()
    (folder / "000002.jpg").write_bytes(b"no picture")
    noise(99, 22, 27).save(folder / "more.jpg")
    refused(celeba, r"attributes.py .*CelebA --resolution 16 --skip-bad leaves such out")
    assert run(attributes.main, [str(celeba), "--resolution", "16", "--skip-bad", "--workers", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    left = [line for line in said if line.startswith("left out")]
    assert ["000001.jpg" in left[0], "more.jpg" in left[1], "000002.jpg" in left[2]] == [True] * 3
    assert [line.split("/")[-1] for line in said if "is packed" in line] == [
        f"{split} is packed" for split in ("train", "test", "val")
    ]
    dataset = open_attributes(celeba, "train", 16)
    assert (labels_of(dataset) == VALUES[2:7][:, [NAMES.index(name) for name in FIVE]]).all()


def test_the_keys_of_a_config_are_what_the_opener_takes(own):
    data = AttributesData(attributes=["blue", "red"], exclusive=[["red", "blue"]], crop=10)
    data.check((20, 20))
    dataset = open_dataset(data.opener, own, "train", (20, 20), **data.options)
    assert dataset.attributes == ("blue", "red") and dataset.exclusive_attributes == ((1, 0),)
    for wrong in ([["red", "green"]], [["red", "blue"], ["blue", "red"]]):
        with pytest.raises(ValueError, match="exclusive of attributes that count, each in one group"):
            AttributesData(attributes=["blue", "red"], exclusive=wrong).check((20, 20))


def test_stargan_trains_validates_and_is_tested_on_it(celeba, tmp_path, capsys):
    values = {
        "id": "tiny",
        "model": "StarGAN",
        "dataset": "Attributes",
        "path_to_data": str(celeba),
        "resolution": 32,
        "data": {"crop": 20, "attributes": ["Male", "Black_Hair", "Blond_Hair"]},
        "run_dir": str(tmp_path / "run"),
        "device": "cpu",
        "threads": 1,
        "training": {"max_iters": 2, "batch_size": 2, "n_critic": 1, "validation_freq": 2},
        "test": {"batch_size": 4, "metrics": ["reconstruction"]},
        "network": {"base_width": 4, "residual_blocks": 1, "dis_width": 4},
    }
    values["training"] |= {"validate": ["reconstruction"], "best_by": "reconstruction/l1"}
    assert main([str(write_config(values, tmp_path / "tiny.json"))]) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "results" / "metrics.json").is_file()
    assert {path.name for path in (celeba / ".packed" / "attributes-32-crop20").iterdir()} == {
        *("train", "val", "test")
    }
    values["data"]["attributes"] = ["male"]
    capsys.readouterr()
    assert main([str(write_config(values, tmp_path / "tiny.json"))]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "did you mean Male?" in said
