"""PSNR and SSIM against formulas in NumPy and SciPy, and where they stand in test mode."""

import numpy as np
import pytest
import torch
from fakes import Shades, digits_m, three_domains
from looking import numbers, view_of
from scipy.ndimage import gaussian_filter
from test_retrieval import Known

from dataloader import open_dataset
from solvers.evaluation.distances import MOST, psnr, ssim


@pytest.fixture
def pairs():
    """Digits before photographs and their grey versions: [6, 3, 32, 32] twice."""
    images = digits_m(0, 6).at(np.arange(6), np.arange(6)).images[1]
    return images, (0.7 * images + 0.3 * images.mean(dim=1, keepdim=True)).clamp(-1, 1)


def test_psnr_is_the_ratio_of_the_range_to_the_error_and_bounded_for_equal_pictures(pairs):
    a, b = (side.numpy().astype(float) for side in pairs)
    want = 10 * np.log10(2**2 / ((a - b) ** 2).mean(axis=(1, 2, 3)))
    assert psnr(*pairs).numpy() == pytest.approx(want, rel=1e-5)
    assert psnr(pairs[0], pairs[0]).tolist() == [MOST] * 6


def similarity(a, b):
    """Of two planes [H, W] with values over a range of 2: Wang et al.'s, mirrored at the borders."""
    blur = lambda plane: gaussian_filter(plane, 1.5, radius=5, mode="mirror")  # noqa: E731
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    return (((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()


def test_ssim_is_that_of_gaussian_windows(pairs):
    a, b = (side.numpy().astype(float) for side in pairs)
    want = [np.mean([similarity(p, q) for p, q in zip(*planes)]) for planes in zip(a, b)]
    assert 0.3 < min(want) < 0.99
    assert ssim(*pairs).numpy() == pytest.approx(want, abs=1e-4)
    assert ssim(pairs[0], pairs[0]).numpy() == pytest.approx(1, abs=1e-6)


def test_reconstructions_and_partners_translations_have_them_beside_l1(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    found = numbers(Known(), data, "reconstruction")
    for name in ("reconstruction/{}/x", "translation/reference_{}/y_to_x"):
        assert found[name.format("psnr")] > 30 and found[name.format("ssim")] > 0.99
    assert len(found) == 3 * 4


def test_the_reference_of_the_last_of_an_odd_number_is_the_same_in_batches_of_any_size(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    data.streams = (7,)
    for size in (2, 4, 64):
        view = view_of(Known(), data, size)
        made = torch.cat([part.in_reference_style(0, 1) for part in view.parts()])
        styles = view.model.encode_style(data.at(np.array([1, 0, 3, 2, 5, 4, 5])).images[1], 1)
        contents = view.model.encode_content(data.at(np.arange(7)).images[0], 0)
        assert torch.allclose(made, view.model.decode(contents, styles, 1), atol=1e-6)


@pytest.mark.parametrize("size", [2, 4, 64])
def test_some_translations_are_those_of_the_whole_batch(size):
    data = three_domains()
    for source, target in ((0, 1), (1, 0), (1, 2)):
        for part in view_of(Shades(data.domains), data, size).parts():
            style = part.reference_style(source, target) if len(part.items[source]) else None
            if style is not None:
                mine = torch.arange(len(part.items[source]))[-1:]
                for kind, whole in (
                    ("reference", part.in_reference_style(source, target)),
                    ("random", part.in_random_style(source, target)),
                ):
                    some = part.some_in_style(kind, source, target, mine)
                    assert torch.allclose(some, whole[mine], atol=1e-6)
