"""pix2pix's networks against the authors' list of names and plain computations."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from models.discriminators import Patches
from models.unet import UNet, count_halvings

NORM = {"weight": 1, "bias": 1, "running_mean": 1, "running_var": 1, "num_batches_tracked": 0}


def public_unet_256() -> dict[str, tuple[int, ...]]:
    """Names and shapes of net_G in the authors' files: a stage's row is activation, convolution, norm, the
    stage inside, activation, transposed convolution, norm."""
    widths = [64, 128, 256, 512, 512, 512, 512, 512]
    found = {"model.model.0.weight": (64, 3, 4, 4)}
    found |= {"model.model.3.weight": (128, 3, 4, 4), "model.model.3.bias": (3,)}
    prefix = "model.model.1.model"
    for outer, inner in pairwise(widths):
        innermost = prefix.count("model") == len(widths) + 1
        found[f"{prefix}.1.weight"] = (inner, outer, 4, 4)
        convolution, norm = (3, 4) if innermost else (5, 6)
        found[f"{prefix}.{convolution}.weight"] = (inner if innermost else 2 * inner, outer, 4, 4)
        for number, channels in ((norm, outer),) if innermost else ((2, inner), (norm, outer)):
            found |= {f"{prefix}.{number}.{key}": (channels,) * dims for key, dims in NORM.items()}
        prefix += ".3.model"
    return found


def public_net_d() -> dict[str, tuple[int, ...]]:
    shapes = {0: (64, 6), 2: (128, 64), 5: (256, 128), 8: (512, 256), 11: (1, 512)}
    found = {f"model.{number}.weight": (*shape, 4, 4) for number, shape in shapes.items()}
    found |= {"model.0.bias": (64,), "model.11.bias": (1,)}
    for number, channels in ((3, 128), (6, 256), (9, 512)):
        found |= {f"model.{number}.{key}": (channels,) * dims for key, dims in NORM.items()}
    return found


@pytest.mark.parametrize(
    ("network", "public", "parameters"),
    [
        (lambda: UNet(256), public_unet_256, 54_413_955),
        (lambda: Patches(256, 6), public_net_d, 2_768_705),
    ],
)
def test_at_256_every_name_and_shape_is_the_authors(network, public, parameters):
    with torch.device("meta"):
        made = network()
    assert {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()} == public()
    assert sum(p.numel() for p in made.parameters()) == parameters


def plain_norm(w: dict, name: str, x: torch.Tensor, image_by_image: bool) -> torch.Tensor:
    if f"{name}.weight" not in w:  # InstanceNorm
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), False, keepdim=True) + 1e-5).sqrt()
    shape = (1, -1, 1, 1)
    if image_by_image:
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
    else:
        mean, var = w[f"{name}.running_mean"].view(shape), w[f"{name}.running_var"].view(shape)
    return (x - mean) / (var + 1e-5).sqrt() * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def plain_unet(w: dict, x, prefix="model.model", z=None, own=False, masks=None, level=0) -> torch.Tensor:
    """The authors' recursion, in which a stage returns its input beside what it made of it."""

    def layer(number: int, function, x):
        name = f"{prefix}.{number}"
        return function(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride=2, padding=1)

    seen = x if z is None else torch.cat((x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])), 1)
    if level == 0:
        inside = plain_unet(w, layer(0, F.conv2d, seen), f"{prefix}.1.model", z, own, masks, 1)
        return torch.tanh(layer(3, F.conv_transpose2d, F.relu(inside)))
    down = layer(1, F.conv2d, F.leaky_relu(seen, 0.2))
    innermost = f"{prefix}.5.weight" not in w
    if innermost:
        inside, convolution = down, 3
    else:
        inside, convolution = plain_norm(w, f"{prefix}.2", down, own), 5
        inside = plain_unet(w, inside, f"{prefix}.3.model", z, own, masks, level + 1)
    up = layer(convolution, F.conv_transpose2d, F.relu(inside))
    up = plain_norm(w, f"{prefix}.{convolution + 1}", up, own)
    if masks is not None and level in masks:
        up = up * masks[level](up.shape[1:])
    return torch.cat((x, up), 1)


def worn(network: torch.nn.Module) -> torch.nn.Module:
    """The network in eval mode with weights and running statistics that are not at their start."""
    for name, tensor in network.state_dict().items():
        if tensor.dtype.is_floating_point:
            noise = 0.1 * torch.randn_like(tensor)
            tensor.copy_(torch.rand_like(tensor) + 0.5 if "running_var" in name else tensor + noise)
    return network.double().eval()


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (32, 64), (48, 80)])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("latent_dim", [0, 3])
def test_it_computes_what_the_authors_recursion_computes(size, norm, latent_dim):
    torch.manual_seed(0)
    network = worn(UNet(size, 4, norm=norm, latent_dim=latent_dim))
    x = torch.rand(2, 3, *size).double() * 2 - 1
    z = torch.randn(2, latent_dim).double() if latent_dim else None
    made = network(x, z)
    assert made.shape == x.shape and made.std() > 0.05 and (made.abs() < 0.9).double().mean() > 0.5
    assert torch.allclose(made, plain_unet(network.state_dict(), x, z=z), atol=1e-9)


def mask(level: int, p: float = 0.5):
    """What the dropout of a stage multiplies by in a noisy test: a draw from the stage's number."""

    def drawn(shape) -> torch.Tensor:
        uniform = torch.rand(shape, generator=torch.Generator().manual_seed(level))
        return (uniform >= p).double() / (1 - p)

    return drawn


@pytest.mark.parametrize(("size", "levels"), [(32, [3]), (64, [4]), (128, [5, 4]), (256, [6, 5, 4])])
def test_a_noisy_test_takes_each_images_own_statistics_and_the_same_dropout(size, levels):
    torch.manual_seed(0)
    network = worn(UNet(size, 2, noisy_test=True))
    x = torch.rand(2, 3, size, size).double() * 2 - 1
    masks = {level: mask(level) for level in levels}
    made = network(x)
    assert torch.allclose(made, plain_unet(network.state_dict(), x, own=True, masks=masks), atol=1e-9)
    assert not torch.allclose(made, plain_unet(network.state_dict(), x, own=True), atol=1e-3)
    assert torch.allclose(made[1:], network(x[1:]), atol=1e-12)


def test_a_latent_at_the_input_alone_reaches_the_first_halving_only():
    torch.manual_seed(0)
    network = UNet(32, 4, latent_dim=3, where="input")
    seen = [stage.model[1 if number else 0].in_channels for number, stage in enumerate(network.stages())]
    assert seen == [6, 4, 8, 16, 32]
    x = torch.rand(2, 3, 32, 32)
    assert not torch.equal(network.eval()(x, torch.zeros(2, 3)), network(x, torch.ones(2, 3)))


def test_another_bottleneck_may_stand_in_for_its_own():
    torch.manual_seed(0)
    network = worn(UNet(64, 4))
    one, other = torch.rand(2, 1, 3, 64, 64).double()
    features = network.encode(one)
    assert features[-1].shape == (1, network.bottleneck_channels, 1, 1)
    assert torch.equal(network.decode(features), network(one))
    swapped = network.decode(features, network.encode(other)[-1])
    assert torch.equal(swapped, network.decode([*features[:-1], network.encode(other)[-1]]))
    assert (swapped - network(one)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("size", "count"), [(32, 5), (256, 8), (512, 8), ((48, 64), 4), ((256, 96), 5), (1024, 8)]
)
def test_it_halves_as_often_as_both_sides_can_be(size, count):
    assert count_halvings(size) == count


@pytest.mark.parametrize("size", [40, (64, 100)])
def test_sides_that_cannot_be_halved_four_times_are_refused(size):
    with pytest.raises(ValueError, match="multiples of 16"):
        UNet(size)


def test_first_weights_are_drawn_as_the_authors_draw_them():
    torch.manual_seed(0)
    for network in (UNet(256, 16), Patches(256, 6, 32)):
        for name, tensor in network.named_parameters():
            if tensor.ndim == 4 and tensor.numel() > 5000:
                assert tensor.std().item() == pytest.approx(0.02, rel=0.05), name
                assert abs(tensor.mean().item()) < 0.001, name
            elif tensor.ndim == 1:
                norm = float(name.endswith("weight"))
                assert (tensor - norm).abs().max() < 0.1, name
                assert bool(tensor.any()) == bool(norm), name


@pytest.mark.parametrize(
    ("size", "patch", "places"), [(256, 70, (30, 30)), (64, 34, (14, 14)), (32, 16, (14, 14))]
)
def test_a_logit_sees_a_patch_of_the_image(size, patch, places):
    network = Patches(size, 3, 2, norm="instance")
    for layer in network.modules():  # so that a place depends on its patch alone
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda x: x
    image = torch.rand(1, 3, size, size, requires_grad=True)
    logits = network(image)
    assert logits.shape == (1, 1, *places)
    logits[0, 0, places[0] // 2, places[1] // 2].backward()
    rows = image.grad[0].abs().sum((0, 2)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == min(patch, size)
    tall = Patches((2 * size, size), 3, 2)(torch.rand(1, 3, 2 * size, size))
    assert tall.shape[2] > tall.shape[3] == places[1]
