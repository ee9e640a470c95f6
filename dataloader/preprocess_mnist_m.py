"""Makes MNIST-M in the packed format: MNIST's digits laid over random patches of photographs, |patch - digit|
in each colour channel; training's patches come from training photographs only.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.idx import read_idx_digits
from dataloader.packed import DataError, write_split
from dataloader.packing import is_image, list_images, read_picture
from dataloader.preprocessing import DATA, SPLITS, Parser, Plan, make, run

SEED = 20_150_707
PLACES = ("", "images", "data/images", "BSDS500/data/images", "BSR/BSDS500/data/images")
EPILOG = """\
SOURCE holds MNIST's four IDX files, gzipped or not. DIR holds photographs in train/ and test/, as BSDS500
does, which can also be a few folders deeper. Without --photos, patches come from the two photographs that
scikit-learn carries: from their left three quarters for training, from the rest for testing.

example:
  python dataloader/preprocess_mnist_m.py downloads/mnist data/MNIST-M --photos downloads/BSR
"""


class Photos(NamedTuple):
    """One split's photographs: their names, a hash of their contents, and how to get one, uint8
    [H, W, 3]."""

    names: list[str]
    sha256: str
    get: Callable[[int], np.ndarray]


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    digits = {split: read_idx_digits(options.source, split) for split in SPLITS}
    side = check_digits(options.source, digits)
    left_out: dict[str, list[str]] = {split: [] for split in SPLITS}
    if options.photos:
        root = find_root(options.photos)
        photos = {
            split: from_folder(root / split, side, options.skip_bad, left_out[split]) for split in SPLITS
        }
    else:
        photos = {split: from_scikit_learn(split) for split in SPLITS}

    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(b"".join(array.tobytes() for array in digits[split]) + photos[split].sha256.encode())
    names = "photographs" if options.photos else "sklearn.datasets.load_sample_images"
    about = {
        "dataset": "MNIST-M",
        "source": f"MNIST IDX files and {names}",
        "source_digest": digest.hexdigest(),
        "seed": SEED,
    }

    def write(work: Path) -> list[str]:
        for split, (images, labels) in digits.items():
            arrays = {"digits": images, "images": blend(images, photos[split], split), "labels": labels}
            used = {"photographs": photos[split].names, "left_out": left_out[split]}
            write_split(work / split, arrays, **about, **used)
        return [line for lines in left_out.values() for line in lines]

    make(Plan(about, write), options.target, options.force)


def parser() -> Parser:
    made = Parser("preprocess_mnist_m.py", __doc__, EPILOG)
    made.add_argument("source", metavar="SOURCE", type=Path, help="the folder with MNIST's files; see below")
    made.add_target(DATA / "MNIST-M", "to make; data/MNIST-M")
    made.add_argument("--photos", metavar="DIR", type=Path, help="the folder of photographs; see below")
    made.add_skip_bad("photographs")
    made.add_force()
    return made


def check_digits(source: Path, digits: dict[str, tuple[np.ndarray, np.ndarray]]) -> int:
    """Height and width of the digits of both splits. Raises DataError."""
    shapes = {images.shape[1:] for images, _ in digits.values()}
    if not all(len(images) for images, _ in digits.values()):
        raise DataError(f"{source}: no digits in its files of one split")
    height, width = shapes.pop()
    if shapes or height != width:
        raise DataError(f"{source}: its digits are not squares of one size")
    return height


# Photographs


def find_root(folder: Path) -> Path:
    """The folder with train/ and test/ in `folder`, or in it where BSDS500 has them. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}")
    for place in PLACES:
        splits = [folder / place / split for split in SPLITS]
        if all(split.is_dir() and any(map(is_image, split.iterdir())) for split in splits):
            return folder / place
    raise DataError(f"{folder} has no train/ and test/ with photographs")


def from_folder(folder: Path, side: int, skip_bad: bool, left_out: list[str]) -> Photos:
    """The photographs directly in `folder`, all read once to see that they are whole and large enough; with
    `skip_bad` the others go to `left_out`. Raises DataError."""
    good, digest = [], hashlib.sha256()
    for path in tqdm(list_images(folder), desc=f"{folder.name} photographs", unit="", disable=None):
        try:
            photo = np.asarray(read_picture(path))
            if min(photo.shape[:2]) < side:
                size = f"{photo.shape[1]} x {photo.shape[0]}"
                raise DataError(f"{path}: is {size}, smaller than a digit of {side} x {side}")
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{error}; --skip-bad leaves such files out") from None
            left_out.append(str(error))
            continue
        good.append(path)
        digest.update(repr(photo.shape).encode() + photo.tobytes())
    if not good:
        raise DataError(f"none of the photographs in {folder} can be used; the first: {left_out[0]}")
    return Photos(
        [path.name for path in good], digest.hexdigest(), lambda i: np.asarray(read_picture(good[i]))
    )


def from_scikit_learn(split: str) -> Photos:
    """The left three quarters (train) or the right quarter (test) of scikit-learn's two photographs,
    427 x 640 each: no pixel is in both splits."""
    from sklearn.datasets import load_sample_images

    bundle = load_sample_images()
    cut = bundle.images[0].shape[1] * 3 // 4
    part = slice(None, cut) if split == "train" else slice(cut, None)
    photos = [np.asarray(photo[:, part], np.uint8) for photo in bundle.images]
    digest = hashlib.sha256(b"".join(photo.tobytes() for photo in photos)).hexdigest()
    return Photos([Path(name).name for name in bundle.filenames], digest, photos.__getitem__)


# Blending


def blend(digits: np.ndarray, photos: Photos, split: str) -> np.ndarray:
    """|patch - digit|, uint8 [N, H, H, 3], of grey digits uint8 [N, H, H]: photograph and place are uniform,
    and the same on every machine and NumPy version (the legacy generator's stream is frozen). One photograph
    at a time is in memory."""
    count, side = digits.shape[:2]
    draws = np.random.RandomState(SEED + (split != "train")).random_sample((count, 3))
    chosen = (draws[:, 0] * len(photos.names)).astype(int)
    blended = np.empty((*digits.shape, 3), np.uint8)
    for number in tqdm(np.unique(chosen), desc=f"{split} patches", unit=" photographs", disable=None):
        photo = photos.get(number)
        room = np.array(photo.shape[:2]) - side + 1
        (mine,) = np.nonzero(chosen == number)
        for index, (top, left) in zip(mine, (draws[mine, 1:] * room).astype(int)):
            patch = photo[top : top + side, left : left + side].astype(np.int16)
            blended[index] = np.abs(patch - digits[index, :, :, None])
    return blended


if __name__ == "__main__":
    sys.exit(run(main))
