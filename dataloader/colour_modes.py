"""Colour-Modes: white digits on black against digits in one of five colours on black, unpaired. The coloured
domain has several modes, of unequal frequencies and with little noise within each, so that it can be counted
which of them a model's translations cover, and how often.

Stored are grey digits, for the coloured ones a colour each, and its mode, which is for testing only. The two
domains share no digit image.
"""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from dataloader.cdcb import render_pairs
from dataloader.dataset import Batch, Label, equal_arrays
from dataloader.idx import has_idx, read_idx_digits
from dataloader.packed import DataError, is_packed, new_folder, read_set, write_split
from dataloader.sizes import Size
from dataloader.unpaired import Unpaired

HOW = "python main.py configs/gmvae_drit_modes.json, which makes it where there is nothing"
COLOURS = np.array([[235, 50, 50], [50, 200, 70], [60, 90, 240], [225, 205, 50], [205, 60, 215]])  # RGB
FREQUENCIES = np.array([0.35, 0.25, 0.2, 0.12, 0.08])  # of the modes, in the order of COLOURS
NOISE = 8.0  # standard deviation within a mode, of 255, of each channel
FAR = 0.3  # from every mode's colour, where a picture is of none: modes are at least 0.7 apart (see `hue`)
INK = 0.3  # of full brightness: a picture that is nowhere brighter has no colour
SEED = 20_250_611
COLOURINGS = 4  # of each training digit of the coloured domain, where scikit-learn's few are used


class ColourModes(Unpaired):
    """One split. Domains `white` and `coloured`; labels: `digit` of both, `mode` (0 to 4) of the second.
    Never mirrored or cropped: a digit would be another one."""

    knows = MappingProxyType(
        {"digit": Label("class", ("digit",)), "mode": Label("class", ("mode",), domain=1)}
    )
    mode_domain = 1

    def __init__(self, arrays: dict[str, np.ndarray], size: int | Size):
        labels = {
            "white": {"digit": arrays["white_labels"]},
            "coloured": {"digit": arrays["coloured_labels"], "mode": arrays["modes"]},
        }
        pictures = {"white": arrays["white"], "coloured": arrays["coloured"]}
        super().__init__(pictures, size, labels=labels, flip=False)
        self.colours = arrays["colours"]

    def groups(self) -> tuple[np.ndarray | None, ...]:
        """The digit that each picture shows, which may be there in several colours."""
        return equal_arrays(*self.pictures)

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        raw = super().read(*indices)
        raw["colours"] = torch.from_numpy(np.ascontiguousarray(self.colours[indices[1]]))
        return raw

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        labels = tuple({name: raw[f"{name}_{d}"] for name in known} for d, known in enumerate(self.known))
        white = torch.full_like(raw["images_0"][:, 0, :1].expand(-1, 3), 255)
        images = (
            coloured(raw[f"images_{d}"], colours, self.size)
            for d, colours in enumerate((white, raw["colours"]))
        )
        return Batch(tuple(images), labels)

    def mode_of(self, images: Tensor) -> Tensor:
        """The mode of pictures [B, 3, H, W] in [-1, 1], int64 [B]: that of the nearest colour, -1 where none
        is near or nothing is bright."""
        return nearest_mode(ink_colour(images))


def coloured(digits: Tensor, colours: Tensor, size: int | Size) -> Tensor:
    """Grey digits uint8 [B, h, w] and a colour each uint8 [B, 3] -> float [B, 3, H, W] in [-1, 1], on
    black."""
    return render_pairs(digits, torch.stack((colours, colours), dim=1), size)[1]


def ink_colour(images: Tensor) -> Tensor:
    """The colour of the strokes in pictures [B, 3, H, W] in [-1, 1]: float [B, 3], 0 to 1; black where
    nothing is brighter than INK. It is a mean over pixels, weighted by how far each rises above half of the
    picture's brightest."""
    pixels = (images.float().clamp(-1, 1) + 1) / 2
    brightness = pixels.amax(dim=1, keepdim=True)  # [B, 1, H, W]
    most = brightness.amax(dim=(2, 3), keepdim=True)
    weight = (brightness - most / 2).clamp(min=0) * (most > INK)
    return (pixels * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp(min=1e-9)


def hue(colours: Tensor) -> Tensor:
    """Colours [B, 3] as bright as can be, the largest channel at 1; black stays black."""
    return colours / colours.amax(dim=1, keepdim=True).clamp(min=1e-9)


def nearest_mode(colours: Tensor) -> Tensor:
    """Colours [B, 3] of any brightness -> int64 [B]: the nearest of COLOURS by `hue`, -1 where all are
    FAR."""
    centres = hue(torch.as_tensor(COLOURS, dtype=torch.float32, device=colours.device))
    distance, mode = torch.cdist(hue(colours.float()), centres).min(dim=1)
    return torch.where(distance < FAR, mode, torch.full_like(mode, -1))


def draw_modes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Modes uint8 [count] at FREQUENCIES and colours uint8 [count, 3], the same on every machine and NumPy
    version (the legacy generator's stream is frozen)."""
    draw = np.random.RandomState(seed)
    modes = draw.choice(len(COLOURS), count, p=FREQUENCIES)
    colours = COLOURS[modes] + NOISE * draw.standard_normal((count, 3))
    return modes.astype(np.uint8), np.clip(np.round(colours), 0, 255).astype(np.uint8)


def mode_arrays(
    digits: np.ndarray, labels: np.ndarray, split: str, colourings: int = 1
) -> dict[str, np.ndarray]:
    """The arrays of one split from grey digits uint8 [N, H, W]: every other digit is white, the rest are
    coloured, `colourings` times each."""
    digits, labels = np.asarray(digits), np.asarray(labels).astype(np.uint8)
    tiled = np.tile(digits[1::2], (colourings, 1, 1))
    modes, colours = draw_modes(len(tiled), SEED + (split != "train"))
    return {
        "white": digits[::2],
        "white_labels": labels[::2],
        "coloured": tiled,
        "coloured_labels": np.tile(labels[1::2], colourings),
        "colours": colours,
        "modes": modes,
    }


def open_colour_modes(folder: Path, split: str, size: int | Size) -> ColourModes:
    """One split: of MNIST where `folder` holds its IDX files, else of a preprocessed folder, which is made
    from scikit-learn's digits where it is not there yet. Raises DataError."""
    if not is_packed(folder) and has_idx(folder):
        return ColourModes(mode_arrays(*read_idx_digits(folder, split), split), size)
    if not is_packed(folder):
        if folder.exists() and any(folder.iterdir()):
            raise DataError(
                f"{folder} holds something else than Colour-Modes; set path_to_data to a new folder"
            )
        pack_modes(folder)
    return ColourModes(read_set(folder, split, "Colour-Modes", HOW)[1], size)


def pack_modes(folder: Path) -> None:
    """Make Colour-Modes from scikit-learn's digits, all or nothing: four fifths of them for training. Raises
    DataError where it cannot be written."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    digits = np.round(bundle.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], stored 0 to 16
    order = np.random.RandomState(SEED).permutation(len(digits))
    train, test = np.split(order, [len(order) * 4 // 5])
    about = {"dataset": "Colour-Modes", "source": "sklearn.datasets.load_digits"}
    try:
        with new_folder(folder) as work:
            for split, index, colourings in (("train", train, COLOURINGS), ("test", test, COLOURINGS)):
                arrays = mode_arrays(digits[index], bundle.target[index], split, colourings)
                write_split(work / split, arrays, **about)
    except OSError as error:
        raise DataError(
            f"cannot write Colour-Modes to {folder} ({error.strerror}); set path_to_data elsewhere"
        ) from None
