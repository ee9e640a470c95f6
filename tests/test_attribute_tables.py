"""What is known of pictures by CelebA's lists, DeepFashion's names and tables, each in its exact form."""

import random
import shutil

import numpy as np
import pytest
from attribute_folders import (
    FASHION,
    FIVE,
    NAMES,
    SPLITS,
    VALUES,
    celeba,
    labels_of,
    names_of,
    own,
    pictures,
    refused,
)
from PIL import Image

from dataloader import attribute_tables
from dataloader.attributes import open_attributes
from dataloader.held_out import hold_out

__all__ = ["celeba", "own"]  # fixtures


# CelebA


def test_the_forms_of_kaggle_of_the_authors_and_of_stargan_say_the_same(celeba, tmp_path):
    kaggle, authors, stargan = (tmp_path / name for name in ("kaggle", "authors", "stargan"))
    inner = kaggle / "img_align_celeba" / "img_align_celeba"
    shutil.copytree(celeba / "img_align_celeba", inner)
    rows = [",".join([name, *map(str, 2 * row - 1)]) for name, row in zip(names_of(), VALUES)]
    header = ",".join(["image_id", *NAMES])
    (kaggle / "list_attr_celeba.csv").write_text("\n".join([header, *rows, ""]))
    rows = [f"{name},{split}\n" for name, split in zip(names_of(), SPLITS)]
    (kaggle / "list_eval_partition.csv").write_text("".join(["image_id,partition\n", *rows]))
    for place in ("Anno", "Eval"):
        (authors / place).mkdir(parents=True)
    shutil.copytree(celeba / "img_align_celeba", authors / "Img" / "img_align_celeba")
    shutil.copy(celeba / "list_attr_celeba.txt", authors / "Anno")
    shutil.copy(celeba / "list_eval_partition.txt", authors / "Eval")
    shutil.copytree(celeba / "img_align_celeba", stargan / "images")
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        shutil.copy(celeba / name, stargan)
    one = open_attributes(celeba, "train", 16)
    for folder in (kaggle, authors, stargan):
        other = open_attributes(folder, "train", 16)
        assert (np.asarray(one.pictures) == other.pictures).all() and (one.values == other.values).all()


def test_without_a_partition_the_split_is_that_of_stargans_authors(celeba, monkeypatch):
    (celeba / "list_eval_partition.txt").unlink()
    lines = (celeba / "list_attr_celeba.txt").read_text().splitlines()[2:]
    random.seed(1234)
    random.shuffle(lines)
    tested = []
    for i, line in enumerate(lines):
        if (i + 1) < 4:
            tested.append(line.split())
    assert np.bincount(attribute_tables.stargan_splits(202_599)).tolist() == [200_600, 0, 1999]
    monkeypatch.setattr(attribute_tables, "STARGAN_TEST", 3)
    monkeypatch.setattr(attribute_tables, "TEST_SHARE", 0.5)
    test, train = (open_attributes(celeba, split, 16) for split in ("test", "train"))
    assert (len(test), len(train)) == (3, 9) and not train.has_validation
    columns = [1 + NAMES.index(name) for name in FIVE]
    by_name = {row[0]: [int(row[column]) > 0 for column in columns] for row in tested}
    assert (labels_of(test) == [by_name[name] for name in sorted(by_name)]).all()


# DeepFashion


@pytest.mark.parametrize("nested", [False, True])
def test_deepfashions_names_tell_sex_garment_and_view(tmp_path, nested):
    paths = [name.replace("-", "/") for name in FASHION] if nested else FASHION
    pictures(tmp_path / "set" / ("img" if nested else ""), paths)
    sets = [open_attributes(tmp_path / "set", split, 16) for split in ("train", "test")]
    garments = ("Blouses_Shirts", "Denim", "Dresses", "Shorts", "Tees_Tanks")
    views = ("additional", "back", "flat", "front", "full", "side")
    rows = []
    for dataset in sets:
        assert dataset.attributes == ("MEN", "WOMEN", *garments, *views)
        assert dataset.exclusive_attributes == ((0, 1), (2, 3, 4, 5, 6), (7, 8, 9, 10, 11, 12))
        for values in labels_of(dataset):
            has = [name for name, value in zip(dataset.attributes, values) if value]
            assert len(has) == 3
            rows.append("-".join(has))
    wanted = [
        f"{(parts := name[:-4].split('-'))[0]}-{parts[1]}-{parts[3].split('_')[-1]}" for name in FASHION
    ]
    assert sorted(rows) == sorted(wanted)
    persons = [set(dataset.groups()[0].tolist()) for dataset in sets]
    assert not persons[0] & persons[1] and persons[0] | persons[1] == {1, 2, 7, 8, 80, 390, 391}


def test_a_persons_pictures_stay_on_one_side_of_validation_too(tmp_path):
    names = [f"MEN-Denim-id_{person:08}-0{view}_1_front.jpg" for person in range(12) for view in range(3)]
    pictures(tmp_path, names, (8, 8))
    rest, held = hold_out(open_attributes(tmp_path, "train", 8), 0.3)
    assert not set(rest.groups()[0]) & set(held.groups()[0]) and len(held) > 2


def test_a_name_stays_for_testing_whatever_else_is_there():
    names = [f"id{number}" for number in range(3000)]
    sides = attribute_tables.fixed_share(names)
    assert 0.08 < np.mean([side == 2 for side in sides.values()]) < 0.12
    some = attribute_tables.fixed_share(names[::2])
    assert all(sides[name] == side for name, side in some.items())


# Tables


def test_a_table_of_ones_own_names_paths_attributes_and_splits(own):
    train, val, test = (open_attributes(own, split, 20) for split in ("train", "val", "test"))
    assert train.attributes == ("red", "blue") and train.exclusive_attributes == ()
    assert labels_of(train).tolist() == [[1, 0], [0, 0]]
    assert (labels_of(val).tolist(), labels_of(test).tolist()) == ([[1, 0]], [[0, 1]])
    shown = [np.asarray(Image.open(own / "a" / name)) for name in ("1.png", "2.png")]
    assert (np.asarray(train.pictures) == shown).all()
    (own / "attributes.csv").rename(own / "labels.csv")
    text = (own / "labels.csv").read_text().replace("test", "train")
    (own / "labels.csv").write_text(text.replace(",0", ",-1"))
    train, test = (open_attributes(own, split, 20) for split in ("train", "test"))
    assert labels_of(train).tolist() == [[1, 0], [0, 1], [0, 0]]
    assert labels_of(test).tolist() == [[1, 0]] and not train.has_validation  # val stands in


def test_without_a_column_split_a_fixed_share_is_for_testing(tmp_path):
    names = names_of(60)
    pictures(tmp_path, names, (4, 4))
    rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
    (tmp_path / "attributes.csv").write_text("\n".join(["image,odd", *rows]))
    sets = [open_attributes(tmp_path, split, 4) for split in ("train", "test")]
    sides = attribute_tables.fixed_share(names)
    for dataset, side in zip(sets, (0, 2)):
        odd = [number % 2 for number, name in enumerate(names) if sides[name] == side]
        assert labels_of(dataset)[:, 0].tolist() == odd != []


# What is refused


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("000003.jpg", "nine.jpg", r"txt:5: there is no picture .*nine.jpg \(and 1 more\); --skip-bad"),
        ("000003.jpg", "000002.jpg", "txt:5: 000002.jpg stands in line 4 too"),
        ("000003.jpg", "000003.jpg 1", "txt:5: 8 values, not one for each of 7 names"),
        ("000003.jpg -1", "000003.jpg yes", "txt:5: 5_o_Clock_Shadow is 'yes', not 0 or 1"),
        ("12\n", "13\n", "holds 12 rows, not the 13 that it says; it is cut off"),
        ("12\n", "", "txt:1: not the number of its pictures"),
        ("Male", "Young", "the column 'Young' has a namesake"),
        ("000003.jpg -1", "000003.jpg 0", "says no by 0 in line 5 and by -1 in line 3"),
    ],
)
def test_a_wrong_list_is_one_line_with_the_lines_number(celeba, old, new, words):
    table = celeba / "list_attr_celeba.txt"
    text = table.read_text().replace("000003.jpg  1", "000003.jpg -1")
    assert old in text
    table.write_text(text.replace(old, new, 1))
    refused(celeba, words)
    assert not list((celeba / ".packed").glob("*/train"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("val", "dev", "csv:5: split is 'dev', not train, val or test"),
        ("image,split,red,blue\r\n", "", "csv:1: no names of columns: image"),
        ("red", "", "the column '' has no name"),
        (",red,blue", "", "attributes.csv names no attributes"),
        ("a/1.png", "../own/a/1.png", "csv:2: there is no picture"),
        ("a/1.png", "\udcff", "is no t.*UTF-8"),
    ],
)
def test_a_wrong_table_is_one_line_with_the_lines_number(own, old, new, words):
    text = (own / "attributes.csv").read_bytes().decode()
    (own / "attributes.csv").write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    refused(own, words)


def test_a_wrong_partition_is_one_line(celeba):
    partition = celeba / "list_eval_partition.txt"
    text = partition.read_text()
    partition.write_text(text.replace("000002.jpg 0", "000002.jpg 3"))
    refused(celeba, "partition.txt:2: '000002.jpg 3' is no picture and 0, 1 or 2")
    partition.write_text("".join(text.splitlines(keepends=True)[2:]))
    refused(celeba, r"partition.txt has no line for 000001.jpg \(and 1 more\)")
