"""MNIST-M (Ganin, Lempitsky: Unsupervised Domain Adaptation by Backpropagation, ICML 2015): MNIST's digits,
and the same laid over patches of photographs as the absolute difference in each colour channel.

Unpaired: x's digits and y's come in orders of their own. Both know their digit.
"""

from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from dataloader.cdcb import MARGIN
from dataloader.packed import read_set
from dataloader.unpaired import Unpaired

HOW = "bash download/mnist_m.sh"


class MnistM(Unpaired):
    """One split. Label of both domains: `digit`. Never mirrored or cropped: a digit would be another one."""

    def __init__(self, arrays: dict[str, np.ndarray], resolution: int):
        labels = {"digit": arrays["labels"]}
        super().__init__(
            {"mnist": arrays["digits"], "mnist_m": arrays["images"]},
            resolution,
            labels={"mnist": labels, "mnist_m": labels},
            flip=False,
        )

    def draw(self, pictures: Tensor, training: bool) -> Tensor:
        """Grey digits uint8 [B, 28, 28] or colour pictures [B, 28, 28, 3] -> float [B, 3, R, R] in
        [-1, 1]."""
        if pictures.ndim == 3:
            pictures = pictures[..., None]
        return framed(pictures.movedim(3, 1), self.resolution).expand(-1, 3, -1, -1)


def framed(pictures: Tensor, resolution: int) -> Tensor:
    """uint8 [B, C, 28, 28] -> float [B, C, R, R] in [-1, 1], in a frame of R / 16 that goes on with the
    outermost pixels' colours. At R = 32 the 28 x 28 pixels stay as they are."""
    margin = round(resolution * MARGIN)
    side = resolution - 2 * margin
    images = pictures.float() / 127.5 - 1
    if images.shape[-1] != side:
        images = F.interpolate(
            images, (side, side), mode="bilinear", align_corners=False, antialias=side < images.shape[-1]
        )
    return F.pad(images, (margin,) * 4, mode="replicate")


def open_mnist_m(folder: Path, split: str, resolution: int) -> MnistM:
    """One split of a preprocessed folder. Raises DataError."""
    arrays = read_set(folder, split, "MNIST-M", HOW, needed=("digits", "images", "labels"))[1]
    return MnistM(arrays, resolution)
