"""Sharpness against plain loops, and against what blur and noise do to it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fakes import Shades, three_domains
from looking import numbers

from solvers.evaluation.sharpness import laplacian_energy


def test_energy_is_that_of_a_plain_loop():
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(3)) * 2 - 1
    for image, got in zip(images.double().numpy(), laplacian_energy(images)):
        grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        squares = [
            (4 * grey[r, c] - grey[r - 1, c] - grey[r + 1, c] - grey[r, c - 1] - grey[r, c + 1]) ** 2
            for r in range(1, 4)
            for c in range(1, 5)
        ]
        assert got.item() == pytest.approx(np.mean(squares), rel=1e-5)


def test_ramps_have_none_and_blur_takes_it_away():
    ramp = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16)
    assert laplacian_energy(ramp).item() == pytest.approx(0, abs=1e-10)
    sharp = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (laplacian_energy(F.avg_pool2d(sharp, 3, 1, 1)) < laplacian_energy(sharp) / 4).all()


def test_real_images_reconstructions_and_translations_have_a_number_each():
    data = three_domains()
    found = numbers(Shades(("A", "B", "C")), data, "sharpness")
    ways = [f"{a}_to_{b}" for a in "ABC" for b in "ABC" if a != b]
    parts = (*ways, *(f"real_{a}" for a in "ABC"), *(f"reconstruction_{a}" for a in "ABC"))
    assert set(found) == {f"sharpness/{name}" for name in parts}
    images = torch.from_numpy(data.pictures[1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert found["sharpness/real_B"] == pytest.approx(laplacian_energy(images).mean().item(), rel=1e-5)
    assert found["sharpness/A_to_B"] == found["sharpness/reconstruction_B"] == 0  # Shades paints flat images
    assert numbers(Shades(("A", "B", "C")), data, "sharpness", size=3) == pytest.approx(found)
