"""What every data set offers to a Solver: how many images there are, a raw batch by index, and the images
made of it.

A raw batch is what is stored (small, uint8, on the CPU); `render` turns it into images on whichever device
trains. So reading is one fancy index per array, and resizing, colouring and augmentation run where the
networks run.
"""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.sizes import Size, around, both_sides, fit_within, middle_window


class Batch(NamedTuple):
    """`images[d]` are of domain d, float [B, 3, H, W] in [-1, 1]. In a paired set images[0][i] and
    images[1][i] are partners. `labels[d]` holds what is known of them, each an int64 tensor [B]."""

    images: tuple[Tensor, ...]
    labels: tuple[dict[str, Tensor], ...]


class Label(NamedTuple):
    """What a label is: a `class`, a `number` (or several, such as a colour's three), or an `angle` of which
    `period` are a whole turn. `names` are its entries in a batch's labels. It is of what all domains share,
    or of what `domain` alone shows."""

    kind: Literal["class", "number", "angle"]
    names: tuple[str, ...]
    domain: int | None = None
    period: float = 0.0


class Dataset:
    """One split of one data set at one `size`, the height and width of its images.

    `knows` says by name what the labels are, as far as the set has any. `streams` has one length for a paired
    set (an index names a pair) and one per domain for an unpaired one.
    `partner_label` names the label by which two images are partners; None where only the same index is.
    `mode_domain` is the domain whose images fall into modes that are known: they have the label `mode`, from
    0 up, and `mode_of` tells it of any picture. `colour_domains` are those whose images have one free colour
    each: their labels `x_red`, `x_green` and `x_blue` (for domain x, 0 to 255) say which, and `colour_of`
    tells it of any picture.
    `attributes` are what an image has (1) or has not (0), each a label of its name in every domain; of each
    of `exclusive_attributes`, a tuple of their numbers, it has one (kinds of a colour) or, where only some of
    the kinds are named, none. Where `measures_attributes`, `attributes_of` tells them of any picture.
    `has_validation`: there is a split val, beside train and test.
    """

    domains: tuple[str, ...]
    knows: Mapping[str, Label] = MappingProxyType({})
    paired: bool = True
    partner_label: str | None = None
    streams: tuple[int, ...]
    size: Size
    mode_domain: int | None = None
    colour_domains: tuple[int, ...] = ()
    attributes: tuple[str, ...] = ()
    exclusive_attributes: tuple[tuple[int, ...], ...] = ()
    measures_attributes: bool = False
    has_validation: bool = False

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        """The stored items at these indices, one index array per stream, as CPU tensors."""
        raise NotImplementedError

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        """Images on the device that `raw` is on. With `training`, augmented by the global generator where
        the set has an augmentation."""
        raise NotImplementedError

    def mode_of(self, images: Tensor) -> Tensor:
        """Where there is a `mode_domain`: the mode of pictures [B, 3, H, W] as of this domain, by their looks
        alone, int64 [B]; -1 for a picture of none."""
        raise NotImplementedError

    def groups(self) -> tuple[np.ndarray | None, ...]:
        """For each stream the source of each of its items, int [N]: what comes from one source (a digit in
        several colours, a car from several sides) has one number, in all streams, and is never held out from
        training in part. None where nothing is repeated."""
        return (None,) * len(self.streams)

    def colour_of(self, images: Tensor, domain: int) -> Tensor:
        """Where there are `colour_domains`: the free colour of pictures [B, 3, H, W] as of one of them, by
        their looks alone, float [B, 3], RGB from 0 to 1."""
        raise NotImplementedError

    def attributes_of(self, images: Tensor) -> Tensor:
        """Where it `measures_attributes`: which of `attributes` pictures [B, 3, H, W] have, by their looks
        alone and without a network, int64 [B, attributes]."""
        raise NotImplementedError

    def __len__(self) -> int:
        return max(self.streams)

    @property
    def half_images(self) -> int:
        """Half of the images that the set holds: the pairs, where each image is in one."""
        return len(self) if len(self.streams) == 1 else sum(self.streams) // 2

    def at(self, *indices: np.ndarray, device: torch.device | str = "cpu") -> Batch:
        """`read`, moved to `device`, and `render`ed without augmentation."""
        return self.render({name: tensor.to(device) for name, tensor in self.read(*indices).items()})


FACTS = ("domains", "paired", "attributes", "exclusive_attributes")


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """What networks are built by of a data set, as plain values."""
    return {name: getattr(dataset, name) for name in FACTS}


class Facts(Dataset):
    """Stands for a data set that is not at hand: it has what `facts_of` said, and no images."""

    def __init__(self, facts: Mapping[str, Any], size: Size):
        self.domains, self.paired = tuple(facts["domains"]), bool(facts["paired"])
        self.attributes = tuple(facts.get("attributes", ()))
        self.exclusive_attributes = tuple(map(tuple, facts.get("exclusive_attributes", ())))
        self.streams = (0,) if self.paired else (0,) * len(self.domains)
        self.size = size


def equal_arrays(*stacks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of stacks of arrays [N, ...] the number of each array, int64 [N]: equal ones have the same, in all
    stacks."""
    numbers: dict[bytes, int] = {}
    return tuple(
        np.array(
            [
                numbers.setdefault(blake2b(one.tobytes(), digest_size=16).digest(), len(numbers))
                for one in stack
            ]
        )
        for stack in stacks
    )


def stored_pictures(pictures: Tensor, size: int | Size) -> Tensor:
    """uint8 [B, h, w, C] -> float [B, C, H, W] in [-1, 1], resized with antialiasing where needed; whatever
    their proportions were, they are those of `size`."""
    images = (
        pictures.movedim(3, 1).to(torch.float32, copy=True).div_(127.5).sub_(1)
    )  # in place: no new memory
    size = both_sides(size)
    if images.shape[2:] != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    return images


def fitted_pictures(pictures: Tensor, size: Size) -> Tensor:
    """`stored_pictures` that keep their proportions and are shown whole: as large as fits, in the middle,
    where `size` is of other proportions between borders that go on with their outermost pixels."""
    inner = fit_within(tuple(pictures.shape[1:3]), size)
    rows, columns = around(inner, size)
    return F.pad(stored_pictures(pictures, inner), (*columns, *rows), mode="replicate")


def cut_to_shape(pictures: Tensor, size: Size) -> Tensor:
    """[B, h, w, C] -> their middle, as large as it can be with the proportions of `size`; no copy."""
    top, left, height, width = middle_window(tuple(pictures.shape[1:3]), size)
    return pictures[:, top : top + height, left : left + width]
