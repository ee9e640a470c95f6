"""Reflection padding put together of slices is PyTorch's, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from torch import nn

from models.padding import ReflectionPad2d, reflected


@pytest.mark.parametrize(("width", "shape"), [(0, (1, 2, 4, 4)), (1, (2, 3, 5, 4)), (3, (1, 2, 4, 7))])
def test_slices_put_together_are_pytorchs_padding(width, shape):
    torch.manual_seed(0)
    ours = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    made, wanted = reflected(ours, width), F.pad(theirs, (width,) * 4, mode="reflect")
    weight = torch.randn_like(wanted)
    (made * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert torch.equal(made, wanted)
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_networks_pad_by_nothing_else():
    """PyTorch's own would make runs on GPUs differ."""
    users = [path.name for path in (ROOT / "models").glob("*.py") if "nn.ReflectionPad2d" in path.read_text()]
    assert users == ["padding.py"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradients_on_a_gpu_are_the_same_each_time():
    torch.manual_seed(0)
    network = nn.Sequential(ReflectionPad2d(3), nn.Conv2d(8, 8, 7)).cuda()
    x = torch.randn(4, 8, 64, 64, device="cuda")

    def gradient() -> torch.Tensor:
        given = x.clone().requires_grad_()
        network(given).square().sum().backward()
        return given.grad

    torch.backends.cudnn.deterministic = True
    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(5))
