"""Edges: patches of the two photographs that scikit-learn carries (a temple and a flower), and their edges as
black lines on white, like those of pix2pix's edges2shoes. A first run of paired translation that needs no
download.

The left part of each photograph is for testing, up to the middle of what it shows, the rest for training; no
pixel is in both.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from dataloader.packed import DataError, is_packed, new_folder, read_set, write_split
from dataloader.paired import Paired
from dataloader.sizes import Size

HOW = "any config with dataset Edges, which makes it where there is nothing"
SIDE = 128  # of the stored patches
COUNTS = {"train": 400, "test": 60}
PATCHES = (96, 192)  # smallest and largest side that is cut out of a photograph
TEST_COLUMNS = (200, 290)  # of the temple and of the flower, at the left
LEAST = 0.02  # of a patch's pixels that are edges; others are drawn anew
SIGMA = 1.5  # pixels of smoothing before edges are looked for
STRONG, WEAK = 0.1, 0.04  # slopes of the grey from which a line starts, and goes on; 1 is black to white
SEED = 20_250_823


def open_edges(folder: Path, split: str, size: int | Size, **options: object) -> Paired:
    """One split, which is made where it is not there yet; A: edges, B: photographs. `options` are those of
    `Paired`. Raises DataError."""
    if not is_packed(folder):
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder} holds something else than Edges; set path_to_data to a new folder")
        pack_edges(folder)
    return Paired(read_set(folder, split, "Edges", HOW, needed=("pairs",))[1]["pairs"], size, **options)


def pack_edges(folder: Path) -> None:
    """Make both splits, all or nothing. Raises DataError where they cannot be written."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images  # uint8 [427, 640, 3] each
    try:
        with new_folder(folder) as work:
            for split, count in COUNTS.items():
                parts = [
                    photograph[:, :cut] if split == "test" else photograph[:, cut:]
                    for photograph, cut in zip(photographs, TEST_COLUMNS, strict=True)
                ]
                pairs = draw_pairs(parts, count, SEED + (split != "train"))
                about = {"dataset": "Edges", "source": "sklearn.datasets.load_sample_images"}
                write_split(work / split, {"pairs": pairs}, **about, resolution=SIDE)
    except OSError as error:
        raise DataError(
            f"cannot write Edges to {folder} ({error.strerror}); set path_to_data elsewhere"
        ) from None


def draw_pairs(parts: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Edges and patches of random places and sizes, of each part in turn: uint8 [count, SIDE, SIDE, 6]. The
    same on every machine and NumPy version (the legacy generator's stream is frozen)."""
    draw = np.random.RandomState(seed)
    pairs = np.empty((count, SIDE, SIDE, 6), np.uint8)
    for number, pair in enumerate(pairs):
        edges = np.zeros(1)
        while edges.mean() < LEAST:
            patch = draw_patch(parts[number % len(parts)], draw)
            edges = find_edges(patch)
        pair[..., :3] = np.where(edges, 0, 255)[..., None]
        pair[..., 3:] = patch
    return pairs


def draw_patch(part: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """A square of a random place and size: uint8 [SIDE, SIDE, 3]."""
    side = draw.randint(PATCHES[0], PATCHES[1] + 1)
    top, left = (draw.randint(extent - side + 1) for extent in part.shape[:2])
    patch = Image.fromarray(part[top : top + side, left : left + side])
    return np.asarray(patch.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def find_edges(picture: np.ndarray) -> np.ndarray:
    """Where the edges of uint8 [H, W, 3] are, bool [H, W], by Canny (1986): the slope of the smoothed grey,
    thinned to its ridges; lines are ridges above WEAK that reach above STRONG somewhere."""
    grey = picture @ np.array([0.299, 0.587, 0.114]) / 255
    smooth = ndimage.gaussian_filter(grey, SIGMA, mode="nearest")
    down, right = (ndimage.sobel(smooth, axis, mode="nearest") / 8 for axis in (0, 1))  # per pixel
    slope = np.hypot(down, right) * 4 * SIGMA  # roughly the height of a step
    place = np.stack(np.nonzero(slope > WEAK))  # [2, n]
    uphill = np.stack((down, right))[:, *place]
    uphill /= np.hypot(*uphill)
    beside = [
        ndimage.map_coordinates(slope, place + sign * uphill, order=1, mode="nearest") for sign in (1, -1)
    ]
    ridge = np.zeros(slope.shape, bool)
    ridge[*place] = slope[*place] >= np.maximum(*beside)
    lines, _ = ndimage.label(ridge, np.ones((3, 3)))
    strong = np.unique(lines[ridge & (slope > STRONG)])
    return np.isin(lines, strong) & ridge
