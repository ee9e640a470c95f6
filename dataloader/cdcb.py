"""MNIST-CDCB and Digits-CDCB: pairs that share a digit and differ in colour.

x is a white digit on a coloured background, y the same digit coloured on black; the two colours are
independent and uniform in RGB (Gonzalez-Garcia, van de Weijer, Bengio, NeurIPS 2018, section 4.1). Stored
are the grey digits and two colours each, drawn once; the pairs are rendered per batch at any size. A
set made from the original archive's pictures stores the pictures instead (see cdcb_pictures.py).
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.cdcb_pictures import has_pictures, pack_pictures
from dataloader.dataset import Batch, Dataset, Label, equal_arrays, fitted_pictures
from dataloader.idx import has_idx, read_idx_digits
from dataloader.packed import DataError, is_packed, new_folder, read_set, read_split, write_split
from dataloader.resampling import resize_whole
from dataloader.sizes import Size, around, both_sides, fit_within, spelled

HOW = "bash download/mnist_cdcb.sh"
HOW_DIGITS = "python dataloader/preprocess_mnist.py digits"
KIN = ("MNIST-CDCB", "Digits-CDCB")  # one can be read as the other
COLOUR_SEED = 20_181_210
BRIGHTEST = 1 / 200  # of a picture's pixels, that show the ink's colour; strokes are darker at their edges
MARGIN = 1 / 16  # of the picture's shorter side, around it: 28 x 28 digits in 32 x 32
GAIN = 1.55  # of y's ink in the authors' rendering: MNIST's strokes come out 1.2 times as thick as x's
Rendering = Literal["centred", "authors"]


class CDCB(Dataset):
    """One split of a CDCB set. Labels: `digit`, and `x_red`, `x_green`, `x_blue`, `y_red` ... (0 to 255)
    where the set is rendered, as `render_pairs` does it. Stored pictures are shown as they are."""

    domains = ("x", "y")

    def __init__(self, arrays: dict[str, np.ndarray], size: int | Size, rendering: Rendering = "centred"):
        self.arrays, self.rendering = arrays, rendering
        self.size = both_sides(size)
        self.streams = (len(next(iter(arrays.values()))),)
        self.colour_domains = () if "images" in arrays else (0, 1)
        if "images" in arrays:
            stored, shown = arrays["images"].shape[2], min(self.size)
            if stored % shown and shown % stored:
                raise DataError(f"pictures stored at {stored} cannot be shown at {spelled(size)}")

        self.knows = {"digit": Label("class", ("digit",))} if "labels" in arrays else {}
        if "colours" in arrays:
            for domain, name in enumerate(self.domains):
                channels = tuple(f"{name}_{channel}" for channel in ("red", "green", "blue"))
                self.knows[f"{name}_colour"] = Label("number", channels, domain)

    def groups(self) -> tuple[np.ndarray | None, ...]:
        """The digit that each pair shows, which may be there in several colour pairs."""
        return equal_arrays(self.arrays["digits"]) if "digits" in self.arrays else (None,)

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        (index,) = indices
        return {
            name: torch.from_numpy(np.ascontiguousarray(array[index])) for name, array in self.arrays.items()
        }

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        if "images" in raw:
            x, y = (fitted_pictures(raw["images"][:, side], self.size) for side in (0, 1))
            labels: dict[str, Tensor] = {}
        else:
            x, y = render_pairs(raw["digits"], raw["colours"], self.size, self.rendering)
            names = [f"{domain}_{channel}" for domain in "xy" for channel in ("red", "green", "blue")]
            labels = dict(zip(names, raw["colours"].flatten(1).long().unbind(1)))
        if "labels" in raw:
            labels["digit"] = raw["labels"].long()
        return Batch((x, y), (labels, labels))

    def colour_of(self, images: Tensor, domain: int) -> Tensor:
        """Of x the background's colour, the median along the border; of y the ink's, the median of the
        brightest pixels. [B, 3, H, W] -> [B, 3], 0 to 1."""
        pixels = (images.float().clamp(-1, 1) + 1) / 2
        if domain == 0:
            sides = (pixels[:, :, 0], pixels[:, :, -1], pixels[..., 0], pixels[..., -1])
            return torch.cat(sides, dim=2).median(dim=2).values
        flat = pixels.flatten(2)  # [B, 3, H * W]
        count = max(1, round(flat.shape[2] * BRIGHTEST))
        places = flat.amax(dim=1).topk(count, dim=1).indices  # [B, count]
        return flat.gather(2, places[:, None].expand(-1, 3, -1)).median(dim=2).values


def render_pairs(
    digits: Tensor, colours: Tensor, size: int | Size, rendering: Rendering = "centred"
) -> tuple[Tensor, Tensor]:
    """Grey digits uint8 [B, h, w] and colours uint8 [B, 2, 3] (background of x, foreground of y) -> x, y
    float [B, 3, H, W] in [-1, 1]. A digit keeps its proportions and stands in the middle.

    centred: within a margin of 1/16, so that a 28 x 28 digit at 32 x 32 keeps its own pixels, and alike in x
    and y. authors: as in the pictures of Gonzalez-Garcia et al., without a margin, which makes MNIST's digits
    some 185 of 256 pixels large, and in y with strokes 1.2 times as thick.
    """
    size, extents = both_sides(size), tuple(digits.shape[1:])
    inner = inner_size(extents, size) if rendering == "centred" else fit_within(extents, size)
    down, across = (
        F.pad(resize_whole(extent, side, digits.device), (0, 0, *border))
        for extent, side, border in zip(extents, inner, around(inner, size))
    )  # [H, h], [W, w]
    ink = (down @ (digits.float() @ across.T))[:, None].div_(255).clamp_(0, 1)  # [B, 1, H, W]
    thick = ink if rendering == "centred" else (ink * GAIN).clamp_(max=1)
    background, foreground = (colours.float() / 255).unflatten(2, (3, 1, 1)).unbind(1)  # [B, 3, 1, 1] each
    # (ink + (1 - ink) * background) * 2 - 1 and thick * foreground * 2 - 1, in two passes over memory each
    return ((1 - ink) * (2 * background - 2)).add_(1), (thick * (2 * foreground)).sub_(1)


def inner_size(extents: Size, size: Size) -> Size:
    """The height and width of a digit of these extents in a picture of `size`, as large as the margin
    leaves."""
    margin = round(min(size) * MARGIN)
    return fit_within(extents, (size[0] - 2 * margin, size[1] - 2 * margin))


def draw_colours(count: int, split: str) -> np.ndarray:
    """Two colours each for `count` digits, uint8 [count, 2, 3], uniform and independent, the same on every
    machine and NumPy version (the legacy generator's stream is frozen)."""
    return (
        np.random.RandomState(COLOUR_SEED + (split != "train"))
        .randint(0, 256, (count, 2, 3))
        .astype(np.uint8)
    )


def digit_arrays(
    digits: np.ndarray, labels: np.ndarray, split: str, colourings: int = 1
) -> dict[str, np.ndarray]:
    """The arrays of one split from grey digits uint8 [N, H, W]; each digit appears with `colourings` colour
    pairs."""
    digits, labels = np.tile(digits, (colourings, 1, 1)), np.tile(labels, colourings)
    return {"digits": digits, "colours": draw_colours(len(digits), split), "labels": labels.astype(np.uint8)}


def open_mnist(folder: Path, split: str, size: int | Size, rendering: Rendering = "centred") -> CDCB:
    """MNIST-CDCB from a preprocessed folder, or straight from a folder of MNIST's IDX files or of pictures,
    the archive's or IIAE-Pytorch's. Raises DataError."""
    if not is_packed(folder) and has_idx(folder):
        return CDCB(digit_arrays(*read_idx_digits(folder, split), split), size, rendering)
    if not is_packed(folder) and has_pictures(folder):
        return CDCB(read_split(pack_pictures(folder, split, min(both_sides(size))))[1], size, rendering)
    return CDCB(read_set(folder, split, "MNIST-CDCB", HOW, kin=KIN)[1], size, rendering)


DIGITS_COLOURINGS = 8  # 1,437 training digits are few: each comes in this many colour pairs


def open_digits(folder: Path, split: str, size: int | Size) -> CDCB:
    """Digits-CDCB, made from scikit-learn's 1,797 handwritten digits when it is not there yet. Raises
    DataError."""
    if not is_packed(folder):
        if folder.exists() and any(folder.iterdir()):
            raise DataError(
                f"{folder} holds something else than Digits-CDCB; set path_to_data to a new folder"
            )
        pack_digits(folder)
    return CDCB(read_set(folder, split, "Digits-CDCB", HOW_DIGITS, kin=KIN)[1], size)


def pack_digits(folder: Path) -> None:
    """Make Digits-CDCB, all or nothing. Raises DataError where it cannot be written."""
    try:
        with new_folder(folder) as work:
            write_digits(work)
    except OSError as error:
        raise DataError(
            f"cannot write Digits-CDCB to {folder} ({error.strerror}); set path_to_data elsewhere"
        ) from None


def write_digits(work: Path) -> None:
    """Write both splits of Digits-CDCB: four fifths of scikit-learn's digits for training, one fifth for
    testing, drawn once."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    digits = np.round(bundle.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], stored 0 to 16
    order = np.random.RandomState(COLOUR_SEED).permutation(len(digits))
    train, test = np.split(order, [len(order) * 4 // 5])
    for split, index, colourings in (("train", train, DIGITS_COLOURINGS), ("test", test, 1)):
        arrays = digit_arrays(digits[index], bundle.target[index], split, colourings)
        write_split(work / split, arrays, dataset="Digits-CDCB", source="sklearn.datasets.load_digits")
