"""Folders as CelebA's and DeepFashion's authors have them and as a person's own, for tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import noise

from dataloader.attributes import open_attributes
from dataloader.dataset import Dataset
from dataloader.packed import DataError
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
    return as_celeba(tmp_path / "CelebA")


def as_celeba(root: Path, size: Size = (27, 22)) -> Path:
    """CelebA's layout in a new folder, with pictures of this size."""
    pictures(root / "img_align_celeba", names_of(), size)
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


def refused(folder: Path, words: str, split: str = "train", **options: object) -> None:
    with pytest.raises(DataError, match=words) as caught:
        open_attributes(folder, split, 16, **options)
    assert "\n" not in str(caught.value)
