"""Augmentations of pairs, a whole batch at a time on the device that trains: every draw is one for both
images of a pair.

A pair is float [6, H, W], x above y. The draws come from the device's global generator, which the solver
seeds by (seed, rank, iteration).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FACTORS = (0.8, 1.2)  # of brightness, contrast, saturation and sharpness
OFTEN = 0.25  # how probable the blur is, and the unsharp mask
BLUR = (0.1, 0.5)  # sigma, in pixels
RADIUS = (0.0, 2.0)  # the unsharp mask's sigma, in pixels
AMOUNT = (0.2, 1.0)
DEGREES, SHIFT, SCALE, SHEAR = 5.0, 0.05, (0.95, 1.05), 5.0  # of the affine map, which the report leaves open
REACH = 4  # sigmas after which a Gaussian is cut off, as scipy and scikit-image do
LUMA = (0.299, 0.587, 0.114)


def report_augment(pairs: Tensor) -> Tensor:
    """The augmentation of the paired VAE-GAN hybrid's report, after its crop and flip: float [B, 6, H, W] in
    [-1, 1] -> the same. In its order: an affine map; brightness, contrast, saturation and sharpness; a
    Gaussian blur and an unsharp mask, each with a probability of 0.25.

    Its formulas are Pillow's (ImageEnhance) and scikit-image's (gaussian, unsharp_mask, on each channel), but
    values are not rounded to 8 bits in between.
    """
    count, device = len(pairs), pairs.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    def sometimes(values: Tensor) -> Tensor:
        return values * (torch.rand(count, device=device) < OFTEN)

    shift = torch.stack((uniform(-SHIFT, SHIFT), uniform(-SHIFT, SHIFT)), dim=1)
    pairs = affine(pairs, uniform(-DEGREES, DEGREES), shift, uniform(*SCALE), uniform(-SHEAR, SHEAR))
    images = pairs.add(1).div_(2).unflatten(1, (2, 3))  # [B, 2, 3, H, W], 0 to 1
    for enhance in (brightness, contrast, saturation, sharpness):
        images = enhance(images, uniform(*FACTORS))
    images = gaussian_blur(images, sometimes(uniform(*BLUR)))
    images = unsharp_mask(images, uniform(*RADIUS), sometimes(uniform(*AMOUNT)))
    return images.flatten(1, 2).mul(2).sub_(1)


# Colours: images [B, 2, 3, H, W] from 0 to 1 and a factor for each pair [B]; 1 changes nothing


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Black at 0."""
    return blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Each image's own mean grey, rounded to 8 bits, at 0."""
    mean = luma(images).mean(dim=(3, 4), keepdim=True)
    return blend((mean * 255).round() / 255, images, factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Greys at 0."""
    return blend(luma(images), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """At 0 smoothed by the 3 x 3 kernel of ones around a five; the outermost pixels stay as they are."""
    inside = images[..., 1:-1, 1:-1]
    around = F.avg_pool2d(images.flatten(0, 2)[:, None], 3, stride=1, divisor_override=1).view_as(inside)
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = (around + 4 * inside) / 13
    return blend(smooth, images, factor)


def blend(at_0: Tensor, at_1: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(at_0.expand_as(at_1), at_1, factor.view(-1, 1, 1, 1, 1)).clamp_(0, 1)


def luma(images: Tensor) -> Tensor:
    """[B, 2, 3, H, W] -> the grey of Rec. 601, [B, 2, 1, H, W]."""
    weights = images.new_tensor(LUMA).view(3, 1, 1)
    return (images * weights).sum(dim=2, keepdim=True)


# Filters


def gaussian_blur(images: Tensor, sigma: Tensor, mode: str = "nearest") -> Tensor:
    """Blur [B, ..., H, W] along height and width, with a sigma in pixels for each item [B], none at 0. At the
    border the outermost pixels go on (`nearest`), or the picture is mirrored with them (`reflect`), as
    scipy's modes of these names."""
    height, width = images.shape[-2:]
    shape = (-1, *[1] * (images.dim() - 3), 1, 1)
    down, across = (blur_weights(sigma, side, mode).view(*shape[:-2], side, side) for side in (height, width))
    return down @ images @ across.mT


def blur_weights(sigma: Tensor, extent: int, mode: str) -> Tensor:
    """What each of `extent` pixels gives to each of them: [B, extent, extent], each row adding to 1."""
    reach = int(REACH * max(BLUR[1], RADIUS[1]) + 0.5)
    offset = torch.arange(-reach, reach + 1, device=sigma.device)
    taps = torch.exp(-0.5 * (offset / sigma[:, None].clamp(min=1e-6)) ** 2)
    taps = taps * (offset.abs() <= (REACH * sigma[:, None] + 0.5).floor())
    taps = taps / taps.sum(dim=1, keepdim=True)  # [B, K]
    pixel = torch.arange(extent, device=sigma.device)[:, None] + offset  # [extent, K]
    if mode == "reflect":
        pixel = pixel.remainder(2 * extent)
        pixel = torch.where(pixel < extent, pixel, 2 * extent - 1 - pixel)
    pixel = pixel.clamp(0, extent - 1)
    weights = taps.new_zeros(len(sigma), extent, extent)
    return weights.scatter_add_(2, pixel.expand(len(sigma), -1, -1), taps[:, None].expand(-1, extent, -1))


def unsharp_mask(images: Tensor, radius: Tensor, amount: Tensor) -> Tensor:
    """[B, ..., H, W] from 0 to 1: add `amount` [B] times what a blur of sigma `radius` [B] takes away."""
    amount = amount.view(-1, *[1] * (images.dim() - 1))
    return (images + amount * (images - gaussian_blur(images, radius, "reflect"))).clamp_(0, 1)


# Places


def affine(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Shear, scale, turn and shift [B, C, H, W] about the middle, bilinear; beyond the border they are
    mirrored.

    For each item [B]: degrees clockwise; shift [B, 2] to the right and down, as shares of width and height;
    scale, above 1 larger; degrees by which vertical lines lean to the left.
    """
    height, width = images.shape[2:]
    size = shift.new_tensor((width, height))
    back = turned_back(degrees, scale, shear)
    place = torch.stack(
        torch.meshgrid(
            torch.arange(width, device=images.device) - (width - 1) / 2,
            torch.arange(height, device=images.device) - (height - 1) / 2,
            indexing="xy",
        ),
        dim=2,
    )  # [H, W, 2]: right and down of the middle
    source = (place - (shift * size)[:, None, None]) @ back.mT[:, None]  # [B, H, W, 2]
    return F.grid_sample(
        images, source * 2 / size, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def turned_back(degrees: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """The inverses, [B, 2, 2], of the matrices that shear, scale and turn (right, down)."""
    angle, lean = degrees * (math.pi / 180), (shear * (math.pi / 180)).tan()
    cos, sin = angle.cos() / scale, angle.sin() / scale
    return torch.stack((cos + lean * sin, sin - lean * cos, -sin, cos), dim=1).unflatten(1, (2, 2))
