"""Digits-Attributes: digits whose ink, background, width of stroke, slant and size are drawn independently
and known exactly. One domain; unpaired.

Stored are digits that are upright, of one size and of no width of stroke (dataloader/skeletons.py), and for
each picture a number below KINDS that says all its attributes; pictures are rendered per batch at any size.

`attributes_of` measures pictures by their pixels alone. Of the test images it tells every ink and background
rightly, and width, slant and size of 99.9 % or more of MNIST's 10,000 (32 x 32; those that it misses are
strokes in several pieces) and of 99.7 % or more of scikit-learn's 360 (32, 64 and 128 pixels).
"""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.cache import cached, digest
from dataloader.dataset import Batch, Dataset, Label
from dataloader.idx import FILES, find, has_idx, read_idx_digits
from dataloader.packed import DataError, is_packed, new_folder, read_set, read_split, write_meta, write_split
from dataloader.sizes import Size, both_sides
from dataloader.skeletons import FARTHEST, REACH, stroke_fields

HOW = "a config of Digits-Attributes, which makes it where there is nothing"
ATTRIBUTES = ("red", "green", "blue", "light", "thick", "slanted", "large")
INKS = torch.tensor([[215, 40, 45], [30, 150, 60], [45, 75, 225]]) / 255  # RGB
BACKGROUNDS = torch.tensor([[24, 24, 28], [236, 234, 228]]) / 255  # dark, light
RADII = (0.026, 0.052)  # half the width of a stroke: thin, thick; of a picture's shorter side
SLOPES = (0.0, 0.36)  # how far to the right a digit leans, of its height: upright, slanted
HEIGHTS = (0.42, 0.66)  # of a digit's middle line: small, large; of a picture's shorter side
KINDS = len(INKS) * 2**4  # ink + 3 * (light + 2 * thick + 4 * slanted + 8 * large)
SEED = 20_250_807
VERSION = 1  # of what is cached; a change of the fields or of what is drawn needs a new one
COPIES = 8  # of each training digit, each with attributes of its own, where scikit-learn's few are used


class DigitsAttributes(Dataset):
    """One split. Domain `digits`; labels: `digit`, and each of `attributes`, 0 or 1. Never mirrored or
    cropped: a digit would be another one."""

    domains = ("digits",)
    paired = False
    knows = MappingProxyType({name: Label("class", (name,)) for name in ("digit", *ATTRIBUTES)})
    attributes = ATTRIBUTES
    exclusive_attributes = ((0, 1, 2),)
    measures_attributes = True

    def __init__(self, arrays: dict[str, np.ndarray], size: int | Size):
        """`arrays`: `fields` uint8 [M, S, S] and `labels` uint8 [M] of digits, `kinds` uint8 [N] of pictures,
        of which picture i shows digit i % M."""
        self.fields, self.digits, self.kinds = arrays["fields"], arrays["labels"], arrays["kinds"]
        self.size = both_sides(size)
        self.streams = (len(self.kinds),)

    def groups(self) -> tuple[np.ndarray | None, ...]:
        """The digit that each picture shows, which may be there several times."""
        return (np.arange(len(self.kinds)) % len(self.fields),)

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        (index,) = indices
        digit = index % len(self.fields)
        found = {"fields": self.fields[digit], "digit": self.digits[digit], "kinds": self.kinds[index]}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in found.items()}

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        attributes = attributes_of_kinds(raw["kinds"])
        labels = {"digit": raw["digit"].long(), **dict(zip(ATTRIBUTES, attributes.unbind(1)))}
        return Batch((render(raw["fields"], attributes, self.size),), (labels,))

    def attributes_of(self, images: Tensor) -> Tensor:
        return measured(images)


def attributes_of_kinds(kinds: Tensor) -> Tensor:
    """Numbers below KINDS [B] -> int64 [B, 7], 0 or 1."""
    rest = kinds.long()
    ink = F.one_hot(rest % len(INKS), len(INKS))
    flags = torch.div(rest, len(INKS), rounding_mode="floor")[:, None] >> torch.arange(4, device=kinds.device)
    return torch.cat((ink, flags & 1), dim=1)


def render(fields: Tensor, attributes: Tensor, size: int | Size) -> Tensor:
    """Fields uint8 [B, S, S] (see dataloader/skeletons.py) and attributes int64 [B, 7] -> images float
    [B, 3, H, W] in [-1, 1]. A slanted digit is sheared, its rows staying where they are."""
    height, width = both_sides(size)
    device, shorter = fields.device, min(height, width)

    def chosen(values: tuple[float, float], attribute: str) -> Tensor:
        one = attributes[:, ATTRIBUTES.index(attribute), None, None]
        return torch.where(one > 0, values[1], values[0])  # [B, 1, 1]

    y = ((torch.arange(height, device=device) + 0.5) - height / 2)[:, None] / shorter
    x = ((torch.arange(width, device=device) + 0.5) - width / 2) / shorter
    tall = chosen(HEIGHTS, "large")
    places = torch.stack(
        torch.broadcast_tensors((x + chosen(SLOPES, "slanted") * y) / tall, y / tall), dim=3
    )  # [B, H, W, 2], in heights of a digit
    near = F.grid_sample(fields[:, None].float() / 255, places / REACH, align_corners=False)[:, 0]
    distance = (1 - near) * (tall * FARTHEST)
    ink = ((chosen(RADII, "thick") - distance) * shorter + 0.5).clamp_(0, 1)[:, None]
    colour = (attributes[:, :3].float() @ INKS.to(device))[:, :, None, None]
    behind = BACKGROUNDS.to(device)[attributes[:, ATTRIBUTES.index("light")]][:, :, None, None]
    return torch.lerp(behind, colour, ink).mul_(2).sub_(1)


def measured(images: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in [-1, 1] -> int64 [B, 7], each nearer to one of its two values than to the
    other; where nothing stands out of the background, that is upright, small and thin."""
    pixels = (images.float().clamp(-1, 1) + 1) / 2
    sides = (pixels[:, :, 0], pixels[:, :, -1], pixels[..., 0], pixels[..., -1])
    behind = torch.cat(sides, dim=2).median(dim=2).values  # [B, 3]
    apart = (pixels - behind[:, :, None, None]).abs().amax(dim=1)  # [B, H, W]
    ink = apart / apart.amax(dim=(1, 2), keepdim=True).clamp(min=0.1)
    inmost = (ink - 0.5).clamp(min=0)[:, None]
    colour = (pixels * inmost).sum(dim=(2, 3)) / inmost.sum(dim=(2, 3)).clamp(min=1e-9)
    nearest = torch.cdist(hue(colour), hue(INKS.to(images.device))).argmin(dim=1)
    width, slope, height = shape_of(ink)
    flags = (
        behind.mean(dim=1) > BACKGROUNDS.mean(),
        width / 2 > (RADII[0] * RADII[1]) ** 0.5,
        slope > sum(SLOPES) / 2,
        height - width > (HEIGHTS[0] * HEIGHTS[1]) ** 0.5,
    )
    return torch.cat((F.one_hot(nearest, len(INKS)), torch.stack(flags, dim=1).long()), dim=1)


def shape_of(ink: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of ink [B, H, W], 0 to 1: how wide its strokes are (twice its area by the length of its outline), how
    far it leans to the right by its height (by its moments) and how high it is. [B] each, lengths by the
    shorter side."""
    rows, columns = ink.shape[1:]
    shorter = min(rows, columns)
    padded = F.pad(ink, (1, 1, 1, 1))
    down, across = padded[:, 1:, :-1] - padded[:, :-1, :-1], padded[:, :-1, 1:] - padded[:, :-1, :-1]
    outline = (down.square() + across.square()).sqrt().sum(dim=(1, 2))
    area = ink.sum(dim=(1, 2))
    width = 2 * area / outline.clamp(min=1e-9) / shorter
    y = torch.arange(rows, device=ink.device, dtype=torch.float32)[:, None]
    x = torch.arange(columns, device=ink.device, dtype=torch.float32)

    def mean(values: Tensor) -> Tensor:
        return ((values * ink).sum(dim=(1, 2)) / area.clamp(min=1e-9))[:, None, None]

    y, x = y - mean(y), x - mean(x)
    slope = -(mean(x * y) / mean(y * y).clamp(min=1e-9))[:, 0, 0]
    height = (ink.amax(dim=2) > 0.5).sum(dim=1) / shorter
    return width, slope, height


def hue(colours: Tensor) -> Tensor:
    """Colours [B, 3] less their grey, all of one length; grey itself is 0."""
    return F.normalize(colours - colours.mean(dim=1, keepdim=True), dim=1, eps=1e-3)


def draw_kinds(count: int, split: str) -> np.ndarray:
    """Numbers below KINDS, uint8 [count], uniform: that of an item is a function of the split and its index,
    the same on every machine and NumPy version (the legacy generator's stream is frozen)."""
    return np.random.RandomState(SEED + (split != "train")).randint(0, KINDS, count).astype(np.uint8)


def attribute_arrays(
    digits: np.ndarray, labels: np.ndarray, split: str, copies: int = 1
) -> dict[str, np.ndarray]:
    """The arrays of one split from grey digits uint8 [N, h, w]; each digit appears with `copies` draws of
    attributes."""
    return {
        "kinds": draw_kinds(len(digits) * copies, split),
        "fields": stroke_fields(digits),
        "labels": np.asarray(labels).astype(np.uint8),
    }


def open_digits_attributes(folder: Path, split: str, size: int | Size) -> DigitsAttributes:
    """One split: of MNIST where `folder` holds its IDX files, whose fields are made once, into a cache beside
    them (half a minute); else of a preprocessed folder, which is made from scikit-learn's digits where it is
    not there yet. Raises DataError."""
    if not is_packed(folder) and has_idx(folder):
        return DigitsAttributes(of_mnist(folder, split), size)
    if not is_packed(folder):
        if folder.exists() and any(folder.iterdir()):
            raise DataError(
                f"{folder} holds something else than Digits-Attributes; set path_to_data to a new folder"
            )
        pack_digits(folder)
    return DigitsAttributes(read_set(folder, split, "Digits-Attributes", HOW)[1], size)


def of_mnist(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The arrays of one split of MNIST, from the cache. Raises DataError."""
    files = [find(folder, name) for name in FILES[split]]
    about = {"dataset": "Digits-Attributes", "version": VERSION, "source": digest({split: files})}

    def write(made: Path) -> list[str]:
        arrays = attribute_arrays(*read_idx_digits(folder, split), split)
        with new_folder(made) as work:
            for name, array in arrays.items():
                np.save(work / f"{name}.npy", array, allow_pickle=False)
            write_meta(work, {name: list(array.shape) for name, array in arrays.items()}, **about)
        return []

    try:
        made, _ = cached(folder, "digits-attributes", split, about, write)
    except OSError as error:
        raise DataError(f"cannot write the cache of {folder} ({error.strerror})") from None
    return read_split(made)[1]


def pack_digits(folder: Path) -> None:
    """Make Digits-Attributes from scikit-learn's digits, all or nothing: four fifths of them for training.
    Raises DataError where it cannot be written."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    digits = np.round(bundle.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], stored 0 to 16
    order = np.random.RandomState(SEED).permutation(len(digits))
    train, test = np.split(order, [len(order) * 4 // 5])
    about = {"dataset": "Digits-Attributes", "source": "sklearn.datasets.load_digits"}
    try:
        with new_folder(folder) as work:
            for split, index in (("train", train), ("test", test)):
                copies = COPIES if split == "train" else 1
                arrays = attribute_arrays(digits[index], bundle.target[index], split, copies)
                write_split(work / split, arrays, **about)
    except OSError as error:
        raise DataError(
            f"cannot write Digits-Attributes to {folder} ({error.strerror}); set path_to_data elsewhere"
        ) from None
