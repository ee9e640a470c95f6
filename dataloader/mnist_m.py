"""MNIST-M (Ganin, Lempitsky: Unsupervised Domain Adaptation by Backpropagation, ICML 2015): MNIST's digits,
and the same laid over patches of photographs as the absolute difference in each colour channel.

Unpaired: x's digits and y's come in orders of their own. Both know their digit.
"""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from dataloader.cdcb import inner_size
from dataloader.dataset import Label
from dataloader.packed import read_set
from dataloader.sizes import Size, around, both_sides
from dataloader.unpaired import Unpaired

HOW = "bash download/mnist_m.sh"


class MnistM(Unpaired):
    """One split. Label of both domains: `digit`. Never mirrored or cropped: a digit would be another one."""

    knows = MappingProxyType({"digit": Label("class", ("digit",))})

    def __init__(self, arrays: dict[str, np.ndarray], size: int | Size):
        labels = {"digit": arrays["labels"]}
        super().__init__(
            {"mnist": arrays["digits"], "mnist_m": arrays["images"]},
            size,
            labels={"mnist": labels, "mnist_m": labels},
            flip=False,
        )

    def groups(self) -> tuple[np.ndarray | None, ...]:
        """Pictures of one number show the same digit."""
        return tuple(np.arange(count) for count in self.streams)

    def draw(self, pictures: Tensor, training: bool) -> Tensor:
        """Grey digits uint8 [B, 28, 28] or colour pictures [B, 28, 28, 3] -> float [B, 3, H, W] in
        [-1, 1]."""
        if pictures.ndim == 3:
            pictures = pictures[..., None]
        return framed(pictures.movedim(3, 1), self.size).expand(-1, 3, -1, -1)


def framed(pictures: Tensor, size: int | Size) -> Tensor:
    """uint8 [B, C, 28, 28] -> float [B, C, H, W] in [-1, 1], in a frame of 1/16 of the shorter side, and more
    along the longer one, that goes on with the outermost pixels' colours. At 32 x 32 the 28 x 28 pixels stay
    as they are."""
    size = both_sides(size)
    inner = inner_size(tuple(pictures.shape[2:]), size)
    images = pictures.float() / 127.5 - 1
    if images.shape[2:] != inner:
        smaller = inner[0] < images.shape[2]
        images = F.interpolate(images, inner, mode="bilinear", align_corners=False, antialias=smaller)
    rows, columns = around(inner, size)
    return F.pad(images, (*columns, *rows), mode="replicate")


def open_mnist_m(folder: Path, split: str, size: int | Size) -> MnistM:
    """One split of a preprocessed folder. Raises DataError."""
    arrays = read_set(folder, split, "MNIST-M", HOW, needed=("digits", "images", "labels"))[1]
    return MnistM(arrays, size)
