"""network.upsampling of DRIT, MDMM and GMVAE-DRIT: transposed convolutions, or resize and convolve."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drit_toys import check_resumes, toy_config, toy_solver
from test_drit import authors_file

from models.blocks import UpBlock
from models.drit import DRIT
from models.gmvae_drit import GMVAEDRIT
from models.mdmm import MDMM
from models.padding import ReflectionPad2d
from solvers.run.checkpoint import CheckpointError

SIZES = {"base_width": 4, "attribute_dim": 3, "residual_blocks": 1, "init_std": 0.3}
KINDS = {
    "DRIT": partial(DRIT, domains=("A", "B")),
    "MDMM": MDMM,
    "GMVAE-DRIT": partial(GMVAEDRIT, use_adain=True, double_layer=True),
}


def doubled(x, weight, bias):
    """Resize and convolve by NumPy: a sum over the nine places of the kernel."""
    large = x.numpy().repeat(2, axis=2).repeat(2, axis=3)
    height, width = large.shape[2:]
    padded = np.pad(large, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    total = bias.numpy()[None, :, None, None]
    for dy in range(3):
        for dx in range(3):
            seen = padded[:, :, dy : dy + height, dx : dx + width]
            total = total + np.einsum("oi,bihw->bohw", weight[:, :, dy, dx].numpy(), seen)
    return torch.from_numpy(total)


@torch.no_grad()
def test_a_block_that_resizes_equals_a_plain_rebuild(float64):
    x, block = torch.randn(2, 5, 4, 7), UpBlock(5, 3, resize=True)
    torch.nn.init.normal_(block.model[1].weight)
    torch.nn.init.normal_(block.model[1].bias)
    weight, bias, scale, shift = block.parameters()
    assert weight.shape == (3, 5, 3, 3)
    features = doubled(x, weight, bias)
    mean, variance = features.mean((1, 2, 3), keepdim=True), features.var((1, 2, 3), False, keepdim=True)
    wanted = F.relu((features - mean) / (variance + 1e-5).sqrt() * scale + shift)
    assert wanted.shape == (2, 3, 8, 14) and torch.allclose(block(x), wanted, atol=1e-9)


@torch.no_grad()
def test_of_a_map_without_detail_only_transposed_convolutions_make_a_checkerboard():
    flat = torch.ones(1, 4, 6, 6)
    transposed, resized = (UpBlock(4, 4, resize=resize).model[0](flat)[0] for resize in (False, True))
    inside = transposed[:, 2:-2, 2:-2]  # away from its borders of zeros
    assert (inside[:, ::2] - inside[:, 1::2]).abs().amax() > 1e-2
    assert (resized - resized[:, :1, :1]).abs().amax() < 1e-6


class Plain(torch.nn.Module):
    """The weights of a block's convolution, used by `doubled`."""

    def __init__(self, layer):
        super().__init__()
        self.weight, self.bias = (p.detach() for p in layer.parameters())

    def forward(self, x):
        return doubled(x, self.weight, self.bias)


@pytest.mark.parametrize("concat", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_of_a_generator_all_that_doubles_is_resized_and_nothing_else_changes(kind, concat, float64):
    size, domains = (36, 44), 2 if kind == "DRIT" else 3
    given = {**SIZES, "concat": concat, **({"domains": ("A", "B", "C")} if kind == "GMVAE-DRIT" else {})}
    published, model = (KINDS[kind](size, upsampling=u, **given).eval() for u in ("transposed", "resize"))
    content = model.encode_content(torch.rand(2, 3, *size) * 2 - 1, 0)
    style = torch.randn(2, 3)
    made = model.decode(content, style, 1)
    assert made.shape == (2, 3, *size) and made.std() > 1e-3
    blocks = {n: m for n, m in model.named_modules() if isinstance(m, UpBlock)}
    assert len(blocks) == (4 if kind == "DRIT" else 2)
    moved = {f"{name}.model.0." for name in blocks}
    weights = {k: v for k, v in model.state_dict().items() if not any(k.startswith(m) for m in moved)}
    of_published = {k for k in published.state_dict() if not any(k.startswith(m) for m in moved)}
    assert weights.keys() == of_published and domains == len(model.domains)
    published.load_state_dict(weights, strict=False)
    assert not torch.allclose(published.decode(content, style, 1), made, atol=1e-3)
    for name, block in blocks.items():
        published.get_submodule(name).model[0] = Plain(block.model[0])
    assert torch.allclose(published.decode(content, style, 1), made, atol=1e-9)


def test_by_default_there_are_the_published_convolutions_and_names():
    for kind, make in KINDS.items():
        model = make(32, **SIZES)
        assert model.state_dict().keys() == make(32, upsampling="transposed", **SIZES).state_dict().keys()
        for block in (m for m in model.modules() if isinstance(m, UpBlock)):
            assert isinstance(block.model[0], torch.nn.ConvTranspose2d), kind
            assert not any(isinstance(m, ReflectionPad2d | torch.nn.Upsample) for m in block.modules())
    assert toy_config().differences() == []
    (words,) = toy_config(network={"upsampling": "resize"}).differences()
    assert "transposed" in words


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_resizes_learns_and_resumes_bit_for_bit(kind, tmp_path):
    sizes = {"attribute_dim": None, "gaussian_size": 3} if kind == "GMVAE-DRIT" else {}

    def make(name, **training):
        network = {"upsampling": "resize", **sizes}
        run = str(tmp_path / name)
        return toy_solver(kind, run_dir=run, training={"max_iters": 4, **training}, network=network)

    before = {k: v.clone() for k, v in make("none").networks["gen"].state_dict().items()}
    after = check_resumes(make, tmp_path, 2, 4).networks["gen"].state_dict()
    convolutions = [key for key in before if key.endswith("model.0.2.weight")]
    assert convolutions and all(not torch.equal(before[key], after[key]) for key in convolutions)


@pytest.mark.parametrize("kind", ["DRIT", "MDMM"])
def test_checkpoints_of_the_authors_and_of_other_upsampling_are_refused_in_one_line(kind, tmp_path):
    authors_file(toy_solver(kind), tmp_path / "authors.pth")
    solver = toy_solver(kind, network={"upsampling": "resize"})
    with pytest.raises(CheckpointError, match=r"set network\.upsampling=transposed") as error:
        solver.load(tmp_path / "authors.pth", "latest")
    assert "\n" not in str(error.value)
    published = toy_solver(kind, network={"dcontent_norm": "None"})
    assert published.load(tmp_path / "authors.pth", "latest", training=False) == 1234
    toy_solver(kind, run_dir=str(tmp_path / "run"), training={"max_iters": 1}).train()
    with pytest.raises(CheckpointError, match="does not fit the config's resolution and network") as error:
        solver.load(tmp_path / "run", "latest")
    assert "\n" not in str(error.value)
