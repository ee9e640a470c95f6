"""Paired data: two pictures of one thing, cropped, mirrored and augmented alike on the device that trains, a
whole batch at a time.
"""

import numpy as np
import torch
from torch import Tensor

from dataloader.augment import report_augment
from dataloader.dataset import Batch, Dataset, cut_to_shape, stored_pictures
from dataloader.packed import DataError
from dataloader.sizes import Size, both_sides, jitter_sides, load_sides
from dataloader.unpaired import random_crop_and_flip


class Paired(Dataset):
    """One split of pairs, uint8 [N, h, w, 6], A before B. `direction` AtoB: x is A and y is B; BtoA: the
    other way round.

    Pictures of other proportions than the size's are cut to them, in the middle. In training and with an
    `augment`, pairs are resized to `load_size` (None: 286/256 of the size, as pix2pix), a window of the size
    is cut out at random, mirrored with probability 1/2 where `flip`, and with "report" `report_augment` goes
    on from there. Otherwise they are shown whole. Raises DataError where there are no pairs, or the sizes do
    not fit.
    """

    domains = ("x", "y")

    def __init__(
        self,
        pairs: np.ndarray,
        size: int | Size,
        direction: str = "AtoB",
        load_size: int | Size | None = None,
        augment: str = "jitter",
        flip: bool = True,
    ):
        if not len(pairs):
            raise DataError("there are no pairs")
        self.size = both_sides(size)
        try:
            self.load_size = load_sides(load_size, self.size) if load_size else jitter_sides(self.size)
        except ValueError as error:
            raise DataError(str(error)) from None
        self.pairs, self.streams = pairs, (len(pairs),)
        self.backwards, self.augment, self.flip = direction == "BtoA", augment, flip

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        """`pairs`, uint8 [B, h, w, 6] as stored."""
        (index,) = indices
        return {"pairs": torch.from_numpy(np.ascontiguousarray(self.pairs[index]))}

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        if training and self.augment != "none":
            pairs = self.jittered(raw["pairs"])
            pairs = report_augment(pairs) if self.augment == "report" else pairs
        else:
            pairs = stored_pictures(cut_to_shape(raw["pairs"], self.size), self.size)
        a, b = pairs.split(3, dim=1)
        return Batch((b, a) if self.backwards else (a, b), ({}, {}))

    def jittered(self, pairs: Tensor) -> Tensor:
        """uint8 [B, h, w, 6] -> float [B, 6, H, W] in [-1, 1]."""
        if pairs.shape[1:3] == self.load_size:  # cut first: less to convert
            return stored_pictures(random_crop_and_flip(pairs, self.size, self.flip), self.size)
        loaded = stored_pictures(cut_to_shape(pairs, self.load_size), self.load_size)
        return random_crop_and_flip(loaded.movedim(1, 3), self.size, self.flip).movedim(3, 1).contiguous()
