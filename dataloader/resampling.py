"""Resizing as products of matrices: a window of its own of every image, bilinear with antialiasing."""

import torch
from torch import Tensor

from dataloader.sizes import Size, both_sides


def resample(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    mirrored: Tensor,
    size: int | Size,
) -> Tensor:
    """Resize a window of its own of every image to `size`: float [B, C, h, w] -> [B, C, H, W], bilinear with
    antialiasing, left and right exchanged where `mirrored`. Windows are whole pixels within the image, [B]
    each."""
    high, wide = both_sides(size)
    down = resize_weights(top, height, images.shape[2], high)  # [B, H, h]
    across = resize_weights(left, width, images.shape[3], wide)
    across = torch.where(mirrored[:, None, None], across.flip(1), across)
    return down[:, None] @ images @ across.mT[:, None]


def resize_weights(start: Tensor, length: Tensor, extent: int, size: int) -> Tensor:
    """What each of `extent` pixels gives to each of `size` pixels into which the `length` pixels from `start`
    are resized: [B, size, extent], each row adding to 1. A triangle as wide as a new pixel, and never
    narrower than two old ones."""
    start, length = (values.float()[:, None, None] for values in (start, length))
    pixel = torch.arange(extent, device=start.device)
    step = length / size
    centre = start + (torch.arange(size, device=start.device)[:, None] + 0.5) * step  # [B, size, 1]
    weights = (1 - (pixel + 0.5 - centre).abs() / step.clamp(min=1)).clamp(min=0)
    weights = weights * ((pixel >= start) & (pixel < start + length))
    return weights / weights.sum(2, keepdim=True)


def resize_whole(extent: int, size: int, device: torch.device) -> Tensor:
    """What each of `extent` pixels gives to each of the `size` that all of them are resized to:
    [size, extent]."""
    start = torch.zeros(1, device=device)
    return resize_weights(start, start + extent, extent, size)[0]
