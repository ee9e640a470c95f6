"""Unpaired data: any number of domains, each a stack of pictures of its own, cropped, flipped and resized on
the device that trains, a whole batch at a time.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch, Dataset, cut_to_shape, stored_pictures
from dataloader.packed import DataError
from dataloader.resampling import resample
from dataloader.sizes import Size, around, both_sides, load_sides

ATTEMPTS = 10  # at a crop that fits, before the whole picture is taken; as torchvision does


class Unpaired(Dataset):
    """One split of unpaired pictures. A batch holds as many of every domain, each domain in an order of its
    own.

    Pictures of other proportions than the size's are cut to them, in the middle. With a `load_size` above the
    size, they are resized to it and cropped: at random in training, from the middle otherwise; a number is
    its shorter side. In training each is mirrored with probability 1/2 where `flip`. An `augment`, called
    with float images [B, 3, h, w] in [-1, 1], of the size's proportions, and the size, does training's work
    instead. Raises DataError where there are fewer than two domains, or no pictures, or the sizes do not fit.
    """

    paired = False

    def __init__(
        self,
        pictures: Mapping[str, np.ndarray],  # by domain, uint8 [N, h, w, 3]
        size: int | Size,
        load_size: int | Size | None = None,
        labels: Mapping[str, Mapping[str, np.ndarray]] | None = None,  # by domain and name, integers [N]
        flip: bool = True,
        augment: Callable[[Tensor, Size], Tensor] | None = None,
    ):
        if len(pictures) < 2:
            raise DataError(f"there is one domain ({', '.join(pictures)}); translation needs two or more")
        for domain, stack in pictures.items():
            if not len(stack):
                raise DataError(f"domain {domain} holds no pictures")
        self.size = both_sides(size)
        try:
            self.load_size = load_sides(load_size, self.size)
        except ValueError as error:
            raise DataError(str(error)) from None
        self.domains = tuple(pictures)
        self.pictures = tuple(pictures.values())
        self.known = tuple(dict((labels or {}).get(domain, {})) for domain in self.domains)
        self.streams = tuple(map(len, self.pictures))
        self.flip, self.augment = flip, augment

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        """`images_0`, `images_1` ... uint8 as stored, and `digit_0` ... int64 for each label, of these
        items: one index array per domain."""
        raw = {}
        for number, (stack, known, index) in enumerate(zip(self.pictures, self.known, indices, strict=True)):
            raw[f"images_{number}"] = torch.from_numpy(np.ascontiguousarray(stack[index]))
            for name, values in known.items():
                raw[f"{name}_{number}"] = torch.from_numpy(np.asarray(values[index], np.int64))
        return raw

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        images = tuple(self.draw(raw[f"images_{d}"], training) for d in range(len(self.domains)))
        labels = tuple({name: raw[f"{name}_{d}"] for name in known} for d, known in enumerate(self.known))
        return Batch(images, labels)

    def draw(self, pictures: Tensor, training: bool) -> Tensor:
        """uint8 [B, h, w, 3] -> float [B, 3, H, W] in [-1, 1]."""
        if training and self.augment is not None:
            pictures = cut_to_shape(pictures, self.size)
            return self.augment(stored_pictures(pictures, tuple(pictures.shape[1:3])), self.size)
        if pictures.shape[1:3] != self.load_size:
            pictures = stored_pictures(cut_to_shape(pictures, self.load_size), self.load_size).movedim(1, 3)
        if training:
            pictures = random_crop_and_flip(pictures, self.size, self.flip)
        elif self.load_size != self.size:
            (top, _), (left, _) = around(self.size, self.load_size)
            pictures = pictures[:, top : top + self.size[0], left : left + self.size[1]]
        if pictures.dtype == torch.uint8:
            return stored_pictures(pictures, self.size)
        return pictures.movedim(3, 1).contiguous()


def random_crop_and_flip(pictures: Tensor, size: int | Size, flip: bool = True) -> Tensor:
    """[B, h, w, C] -> [B, H, W, C]: from each picture a window of `size` at a random place, mirrored with
    probability 1/2 where `flip`. Its own place and side for each, drawn by the device's global generator."""
    count, height, width = pictures.shape[:3]
    high, wide = both_sides(size)
    draw = {"size": (count,), "device": pictures.device}
    top = torch.randint(0, height - high + 1, **draw)
    left = torch.randint(0, width - wide + 1, **draw)
    mirrored = torch.rand(count, device=pictures.device) < (0.5 if flip else 0)
    return windows(pictures, top, left, mirrored, (high, wide))


def windows(pictures: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, size: int | Size) -> Tensor:
    """[B, h, w, C] -> [B, H, W, C]: of each picture the window of `size` at (top, left), left and right
    exchanged where `mirrored`, [B] each.

    On a CPU one copy per picture is some forty times as fast as an index for every pixel; on a GPU its
    offsets would have to be waited for.
    """
    high, wide = both_sides(size)
    if pictures.device.type == "cpu":
        cut = pictures.new_empty((len(pictures), high, wide, pictures.shape[3]))
        for new, old, t, l, m in zip(cut, pictures, top.tolist(), left.tolist(), mirrored.tolist()):  # noqa: E741
            window = old[t : t + high, l : l + wide]
            new.copy_(window.flip(1) if m else window)
        return cut
    return gathered(pictures, top, left, mirrored, (high, wide))


def gathered(pictures: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, size: int | Size) -> Tensor:
    """The same as `windows`, by one index for every pixel."""
    down, across = (torch.arange(side, device=pictures.device) for side in both_sides(size))
    rows, columns = top[:, None] + down, left[:, None] + across  # [B, H], [B, W]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    item = torch.arange(len(pictures), device=pictures.device)
    return pictures[item[:, None, None], rows[:, :, None], columns[:, None, :]]


def random_resized_crop_and_flip(
    images: Tensor,
    size: int | Size,
    probability: float = 0.5,
    scale: tuple[float, float] = (0.8, 1.0),
    ratio: tuple[float, float] = (0.9, 1.1),
) -> Tensor:
    """The AFHQ augmentation of the IIAE reference: float [B, C, h, w] -> [B, C, H, W], bilinear with
    antialiasing.

    With `probability`, a window of a share `scale` of the area and of width to height `ratio` times the
    picture's own (uniform in its logarithm) is cut out at a random place, as torchvision's RandomResizedCrop
    does; otherwise it is the whole picture. Either is resized, and mirrored with probability 1/2.
    """
    count, _, height, width = images.shape
    draw = {"device": images.device}
    area = height * width * torch.empty(count, ATTEMPTS, **draw).uniform_(*scale)
    shape = torch.empty(count, ATTEMPTS, **draw).uniform_(*map(math.log, ratio)).exp() * (width / height)
    wide, high = (area * shape).sqrt().round(), (area / shape).sqrt().round()  # [B, ATTEMPTS]
    fits = (wide <= width) & (high <= height) & (wide > 0) & (high > 0)
    cut = fits.any(1) & (torch.rand(count, **draw) < probability)
    first = fits.float().argmax(1, keepdim=True)
    wide = torch.where(cut, wide.gather(1, first)[:, 0], torch.full_like(area[:, 0], width))
    high = torch.where(cut, high.gather(1, first)[:, 0], torch.full_like(area[:, 0], height))
    top = (torch.rand(count, **draw) * (height - high + 1)).floor()
    left = (torch.rand(count, **draw) * (width - wide + 1)).floor()
    mirrored = torch.rand(count, **draw) < 0.5
    return resample(images, top, left, high, wide, mirrored, size)
