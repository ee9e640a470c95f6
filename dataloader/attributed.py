"""Pictures of one domain, of each of which it is known what it has and has not."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch, Dataset, Label, stored_pictures
from dataloader.packed import DataError
from dataloader.sizes import Size, both_sides
from dataloader.unpaired import random_crop_and_flip


class Attributed(Dataset):
    """One split: `pictures` uint8 [N, H, W, 3] of the size, and `values` [N, attributes], 0 or 1, which are
    its labels. `sources` says who is shown, [N]. In training pictures are mirrored with probability 1/2 where
    `flip`. Raises DataError where there are none."""

    domains = ("images",)
    paired = False

    def __init__(
        self,
        pictures: np.ndarray,
        values: np.ndarray,
        attributes: Sequence[str],
        size: int | Size,
        exclusive: Sequence[Sequence[int]] = (),
        sources: np.ndarray | None = None,
        flip: bool = True,
        has_validation: bool = False,
    ):
        if not len(pictures):
            raise DataError("there are no pictures")
        self.pictures, self.values, self.sources = pictures, values, sources
        self.attributes = tuple(attributes)
        self.exclusive_attributes = tuple(map(tuple, exclusive))
        self.knows = {name: Label("class", (name,)) for name in self.attributes}
        self.size, self.streams = both_sides(size), (len(pictures),)
        self.flip, self.has_validation = flip, has_validation

    def groups(self) -> tuple[np.ndarray | None, ...]:
        return (self.sources,)

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        """`images`, uint8 as stored, and `attributes`, uint8 [B, attributes]."""
        (index,) = indices
        found = {"images": self.pictures[index], "attributes": self.values[index]}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in found.items()}

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        pictures = raw["images"]
        if training and self.flip:
            pictures = random_crop_and_flip(pictures, self.size)
        labels = dict(zip(self.attributes, raw["attributes"].long().unbind(1)))
        return Batch((stored_pictures(pictures, self.size),), (labels,))
