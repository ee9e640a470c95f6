"""Pictures of known attributes: CelebA's lists, DeepFashion's names, tables of one's own; each in its exact
form."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import contents, noise
from PIL import Image

from configs.keys.data import AttributesData
from dataloader import attribute_tables, attributes, open_dataset
from dataloader.attributes import open_attributes, pack_attributes
from dataloader.cache import Shape
from dataloader.dataset import Dataset
from dataloader.held_out import hold_out, training_sets
from dataloader.packed import DataError
from dataloader.preprocessing import run
from dataloader.sizes import Size

NAMES = ["5_o_Clock_Shadow", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Male", "Young"]
FIVE = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
COUNT = 12
SPLITS = np.repeat([0, 1, 2], [7, 2, 3])
VALUES = np.random.default_rng(0).integers(0, 2, (COUNT, len(NAMES)))
FASHION = [
    "MEN-Denim-id_00000080-01_7_additional.jpg",
    "MEN-Denim-id_00000080-01_1_front.jpg",
    "MEN-Tees_Tanks-id_00000390-02_4_full.jpg",
    "MEN-Shorts-id_00000391-02_4_full.jpg",
    "WOMEN-Blouses_Shirts-id_00000001-02_3_back.jpg",
    "WOMEN-Tees_Tanks-id_00000007-04_2_side.jpg",
    "WOMEN-Tees_Tanks-id_00000008-04_2_side.jpg",
    "WOMEN-Dresses-id_00000002-01_6_flat.jpg",
]


def names_of(count: int = COUNT) -> list[str]:
    return [f"{number:06}.jpg" for number in range(1, count + 1)]


def pictures(folder: Path, names: list[str], size: Size = (27, 22)) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(number, size[1], size[0]).save(folder / name)


def write_list(path: Path, count: int = COUNT, names: list[str] = NAMES) -> None:
    """As CelebA's: two blanks before a 1, and a blank at the ends of lines."""
    rows = [f"{name} {' '.join(f'{2 * v - 1:2}' for v in row)} " for name, row in zip(names_of(), VALUES)]
    path.write_text("\n".join([str(count), f"{' '.join(names)} ", *rows, ""]))


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    root = tmp_path / "CelebA"
    pictures(root / "img_align_celeba", names_of())
    write_list(root / "list_attr_celeba.txt")
    lines = [f"{name} {split}\n" for name, split in zip(names_of(), SPLITS)]
    (root / "list_eval_partition.txt").write_text("".join(lines))
    return root


@pytest.fixture
def own(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    pictures(root, ["a/1.png", "a/2.png", "b/1.png", "4.png"], (20, 20))
    rows = ["image,split,red,blue", "a/1.png,train,1,0", "b/1.png,test,0,1", "./a/2.png,train,0,0"]
    (root / "attributes.csv").write_text("\r\n".join([*rows, '"4.png", val ,1,0', ""]))
    return root


def labels_of(dataset: Dataset) -> np.ndarray:
    labels = dataset.at(np.arange(len(dataset))).labels[0]
    assert all(values.dtype == torch.int64 for values in labels.values())
    return np.stack([labels[name].numpy() for name in dataset.attributes], axis=1)


def expected(path: Path, box: tuple[slice, slice], size: Size) -> np.ndarray:
    cut = Image.fromarray(np.asarray(Image.open(path).convert("RGB"))[box])
    resized = cut.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32).transpose(2, 0, 1) / 127.5 - 1


def refused(folder: Path, words: str, split: str = "train", **options: object) -> None:
    with pytest.raises(DataError, match=words) as caught:
        open_attributes(folder, split, 16, **options)
    assert "\n" not in str(caught.value)


# CelebA


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


def test_the_split_val_is_what_validation_looks_at(celeba):
    train, validation = training_sets(lambda split: open_attributes(celeba, split, 16), celeba, 0.1)
    assert (len(train), len(validation)) == (7, 2)
    assert training_sets(lambda split: open_attributes(celeba, split, 16), celeba, 0.0)[1] is None


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
