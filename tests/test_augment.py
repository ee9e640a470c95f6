"""The report's augmentations against Pillow and scipy, and the same for both images of a pair."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import ndimage
from sklearn.datasets import load_sample_image
from torch import Tensor

from dataloader import augment
from dataloader.augment import affine, gaussian_blur, report_augment, unsharp_mask

STEP = 1 / 255


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(load_sample_image("china.jpg")[100:140, 200:256])  # 40 x 56


def pair_of(*pictures: Image.Image) -> Tensor:
    """[1, 2, 3, H, W], 0 to 1."""
    stack = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(stack).permute(0, 3, 1, 2)[None].float() / 255


def other(picture: Image.Image) -> Image.Image:
    """Another picture of the same size."""
    return Image.fromarray(255 - np.asarray(picture)[::-1] // 2)


# Each against another's


ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.0, 1.2])
@pytest.mark.parametrize("name", ENHANCERS)
def test_colours_are_enhanced_as_pillow_does(picture, name, factor):
    given = (picture, other(picture))
    made = getattr(augment, name)(pair_of(*given), torch.tensor([factor]))
    expected = pair_of(*(ENHANCERS[name](image).enhance(factor) for image in given))
    assert (made - expected).abs().max() < 1.6 * STEP  # Pillow rounds or cuts off to 8 bits, greys twice
    if factor != 1:
        assert (made - pair_of(*given)).abs().max() > 5 * STEP


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.3, 0.5, 1.4])
@pytest.mark.parametrize("mode", ["nearest", "reflect"])
def test_a_blur_is_scipys(picture, sigma, mode):
    images = pair_of(picture, other(picture))
    made = gaussian_blur(images.repeat(2, 1, 1, 1, 1), torch.tensor([sigma, 0.0]), mode)
    expected = ndimage.gaussian_filter(images.double().numpy(), (0, 0, 0, sigma, sigma), mode=mode)
    assert np.abs(made[:1].numpy() - expected).max() < 1e-5
    assert torch.equal(made[1:], images)


@pytest.mark.parametrize(("radius", "amount"), [(0.0, 1.0), (0.7, 0.2), (2.0, 1.0)])
def test_an_unsharp_mask_adds_what_scipys_blur_takes_away(picture, radius, amount):
    images = pair_of(picture, other(picture))
    made = unsharp_mask(images, torch.tensor([radius]), torch.tensor([amount]))
    exact = images.double().numpy()
    blurred = ndimage.gaussian_filter(exact, (0, 0, 0, radius, radius), mode="reflect")
    assert np.abs(made.numpy() - np.clip(exact + amount * (exact - blurred), 0, 1)).max() < 1e-5


@pytest.mark.parametrize(
    ("degrees", "shift", "scale", "shear"),
    [
        (0, (0, 0), 1, 0),
        (5, (0, 0), 1, 0),
        (0, (0.05, -0.03), 1, 0),
        (-4, (-0.02, 0.05), 0.95, 5),
        (3, (0, 0), 1.05, -5),
    ],
)
def test_an_affine_map_is_scipys(picture, degrees, shift, scale, shear):
    images = pair_of(picture, other(picture)).flatten(1, 2)
    height, width = images.shape[2:]
    given = (torch.tensor([v], dtype=torch.float32) for v in (degrees, shift, scale, shear))
    made = affine(images, *given)
    turn, lean = math.radians(degrees), math.tan(math.radians(shear))
    # forth, as rows and columns: lines lean, then all is scaled, turned and shifted about the middle
    leaning = np.array([[1, 0], [lean, 1]])
    turning = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    back = np.linalg.inv(turning @ leaning * scale)
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = middle - back @ (middle + np.array([shift[1] * height, shift[0] * width]))
    for channel in range(6):
        exact = images[0, channel].double().numpy()
        expected = ndimage.affine_transform(exact, back, offset, order=1, mode="reflect")
        assert np.abs(made[0, channel].numpy() - expected).max() < 1e-4


# All of it


def batch(picture: Image.Image, count: int) -> Tensor:
    """x and y are one picture: [count, 6, H, W] in [-1, 1]."""
    return pair_of(picture, picture).flatten(1, 2).repeat(count, 1, 1, 1) * 2 - 1


def test_both_images_of_a_pair_get_the_same_draw_and_each_pair_its_own(picture):
    torch.manual_seed(0)
    made = report_augment(batch(picture, 12))
    x, y = made.split(3, dim=1)
    assert torch.equal(x, y)
    assert all((x[i] - x[j]).abs().max() > 0.05 for i in range(12) for j in range(i))
    assert made.shape == (12, 6, 40, 56) and made.amin() >= -1 and made.amax() <= 1


def test_it_is_a_pure_function_of_the_generators_state_and_leaves_its_input_alone(picture):
    given = batch(picture, 4)
    torch.manual_seed(7)
    first = report_augment(given)
    assert torch.equal(given, batch(picture, 4))
    torch.manual_seed(7)
    assert torch.equal(report_augment(given), first)
    assert not torch.equal(report_augment(given), first)


def test_draws_are_uniform_within_the_reports_bounds_and_filters_come_one_time_in_four(picture, monkeypatch):
    seen = {}

    def spy(name: str):
        was = getattr(augment, name)

        def seeing(images: Tensor, *values: Tensor) -> Tensor:
            seen.setdefault(name, values)
            return was(images, *values)

        monkeypatch.setattr(augment, name, seeing)

    for name in (*ENHANCERS, "gaussian_blur", "unsharp_mask"):
        spy(name)
    torch.manual_seed(1)
    report_augment(torch.zeros(4000, 6, 4, 4))
    for name in ENHANCERS:
        assert_uniform(seen[name][0], 0.8, 1.2)
    sigma, (radius, amount) = seen["gaussian_blur"][0], seen["unsharp_mask"]
    assert_uniform(sigma[sigma > 0], 0.1, 0.5)
    assert_uniform(amount[amount > 0], 0.2, 1.0)
    assert_uniform(radius, 0, 2)
    for drawn in (sigma, amount):
        assert abs((drawn > 0).float().mean() - 0.25) < 0.03  # 4.4 standard deviations
    both = ((sigma > 0) & (amount > 0)).float().mean()
    assert abs(both - 1 / 16) < 0.02  # independent


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    share = (values.double() - low) / (high - low)
    assert share.min() >= 0 and share.max() <= 1
    expected = torch.linspace(0, 1, len(share), dtype=torch.float64)
    assert (share.sort().values - expected).abs().max() < 2 / math.sqrt(len(share))
