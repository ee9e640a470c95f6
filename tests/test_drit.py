"""DRIT's and MDMM's networks against a plain rebuild by the names of their authors' checkpoints."""

import json

import pytest
import torch
from conftest import SHARED
from drit_toys import tensors, toy_batch, toy_solver

from benchmarks import plain_drit
from models.blocks import ConvBlock, Gaussian, GaussianNoise
from models.discriminators import Classifying, ContentDiscriminator, MultiScale, SingleScale
from models.drit import DRIT
from models.mdmm import MDMM
from solvers.run.checkpoint import CheckpointError, load_checkpoint

REFERENCE = SHARED / "reference/checkpoints"
DRIT_TINY = {"base_width": 4, "attribute_dim": 3, "residual_blocks": 2}


@pytest.mark.skipif(not REFERENCE.exists(), reason="the list of the reference's names is not at hand")
@pytest.mark.parametrize("concat", [0, 1])
@pytest.mark.parametrize("model", ["drit", "mdmm"])
def test_at_216_every_name_and_shape_stands_as_in_the_authors_checkpoints(model, concat):
    """In the same order too, by which an optimiser's state is kept."""
    published = json.loads((REFERENCE / f"{model}.json").read_text())["networks"][f"concat={concat}"]
    with torch.device("meta"):
        if model == "drit":
            ours, content = DRIT(216, concat=bool(concat)), ContentDiscriminator(54, 256)
            judges = {name: MultiScale(216) for name in ("disA", "disA2", "disB", "disB2")}
        else:
            ours, content = MDMM(216, concat=bool(concat)), ContentDiscriminator(54, 256, 3)
            judges = {name: Classifying(216, 3) for name in ("dis1", "dis2")}
    networks = {"enc_c": ours.enc_c, "enc_a": ours.enc_a, "gen": ours.gen, "disContent": content, **judges}
    assert networks.keys() == published.keys()
    for name, network in networks.items():
        shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
        assert list(shapes.items()) == list(published[name].items()), name


@pytest.mark.parametrize("concat", [False, True])
@pytest.mark.parametrize("resolution", [32, 44])
def test_two_domains_translate_as_the_plain_rebuild_does(concat, resolution):
    torch.manual_seed(0)
    model = DRIT(resolution, concat=concat, **DRIT_TINY).eval()
    image, z = torch.rand(2, 3, resolution, resolution) * 2 - 1, torch.randn(2, 3)
    w = {name: getattr(model, name).state_dict() for name in ("enc_c", "enc_a", "gen")}
    with torch.no_grad():
        for domain, letter in enumerate("AB"):
            content = plain_drit.content(w["enc_c"], image, f"conv{letter}")
            mean, logvar = plain_drit.attribute(w["enc_a"], image, letter)
            made = plain_drit.generate(w["gen"], content, z, letter)
            posterior = model.posterior(image, domain)
            assert torch.allclose(model.encode_content(image, domain), content, rtol=1e-4, atol=1e-4)
            assert torch.allclose(posterior.mean, mean, rtol=1e-4, atol=1e-5)
            assert (logvar is None) != isinstance(posterior, Gaussian)
            assert logvar is None or torch.allclose(posterior.logvar, logvar, rtol=1e-4, atol=1e-5)
            assert torch.allclose(model.decode(content, z, domain), made, rtol=1e-4, atol=1e-5)
            assert made.shape == image.shape


@pytest.mark.parametrize("concat", [False, True])
def test_many_domains_translate_as_the_plain_rebuild_does(concat):
    torch.manual_seed(0)
    model = MDMM(32, ("A", "B", "C"), concat=concat, **DRIT_TINY).eval()
    image, z, domain = torch.rand(4, 3, 32, 32) * 2 - 1, torch.randn(4, 3), torch.tensor([2, 0, 1, 2])
    one_hot = torch.eye(3)[domain]
    w = {name: getattr(model, name).state_dict() for name in ("enc_c", "enc_a", "gen")}
    with torch.no_grad():
        content = plain_drit.content(w["enc_c"], image, "conv", shared="")  # it is the last of `conv`
        assert torch.allclose(model.encode_content(image, 0), content, rtol=1e-4, atol=1e-4)
        seen = plain_drit.attribute(w["enc_a"], plain_drit.beside(image, one_hot), "")[0]
        made = plain_drit.generate(w["gen"], content, z, "", one_hot, "decA4")
        assert torch.allclose(model.encode_style(image, domain), seen, rtol=1e-4, atol=1e-5)
        assert torch.allclose(model.decode(content, z, domain), made, rtol=1e-4, atol=1e-5)
        assert torch.allclose(model.decode(content[:1], z[:1], 2), made[:1], rtol=1e-4, atol=1e-5)


def test_a_gaussian_attribute_comes_with_concat_and_a_point_without():
    image = torch.rand(2, 3, 32, 32)
    point = DRIT(32, concat=False, **DRIT_TINY).posterior(image, 0)
    assert torch.equal(point.sample(), point.mean)
    gaussian = DRIT(32, **DRIT_TINY).posterior(image, 0)
    assert not torch.equal(gaussian.sample(), gaussian.mean)


def test_contents_carry_unit_noise_in_training_and_none_in_eval_mode():
    noise = GaussianNoise(1.0)
    made = noise(torch.zeros(100_000))
    assert abs(made.mean().item()) < 0.02 and abs(made.std().item() - 1) < 0.02
    assert torch.equal(noise.eval()(torch.ones(5)), torch.ones(5))
    model, image = DRIT(32, **DRIT_TINY), torch.rand(1, 3, 32, 32)
    assert not torch.equal(model.encode_content(image, 0), model.encode_content(image, 0))


@pytest.mark.parametrize("resolution", [32, 36, 64, 216, 256])
def test_discriminators_take_every_resolution(resolution):
    image, side = torch.rand(1, 3, resolution, resolution), resolution // 4
    for norm in (False, True):
        assert len(MultiScale(resolution, 3, 2, norm)(image)) == 3
        assert SingleScale(resolution, 2, norm)(image)[0].shape[1] == 1
        real, domain = Classifying(resolution, 3, 2, norm)(image)
        assert real.shape[1] == 1 and domain.shape == (1, 3)
    logits = ContentDiscriminator(side, 4, 3)(torch.rand(2, 4, side, side))
    assert logits.shape[:2] == (2, 3) and torch.isfinite(logits).all()


def test_the_content_discriminators_first_blocks_are_normalised():
    """So that adding to a channel or scaling it changes nothing, up to the norm's epsilon."""
    torch.manual_seed(0)
    judge, content = ContentDiscriminator(8, 4), torch.randn(2, 4, 8, 8)
    first, scaled = judge.model[0](content), judge.model[0](50 * content + 7)
    assert torch.allclose(first, scaled, atol=0.02 * first.abs().max().item())
    assert [
        sum(isinstance(m, torch.nn.InstanceNorm2d) for m in block.modules()) for block in judge.model
    ] == [
        1,
        1,
        1,
        0,
        0,
    ]


def test_spectral_normalisation_divides_by_the_largest_singular_value():
    torch.manual_seed(0)
    block = ConvBlock(3, 8, 4, 2, 1, spectral=True)
    for _ in range(50):
        block(torch.rand(1, 3, 8, 8))
    largest = torch.linalg.svdvals(block.model[1].weight.detach().flatten(1))[0]
    assert largest.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("resolution", [28, 34])
def test_an_impossible_resolution_is_refused(resolution):
    with pytest.raises(ValueError, match="multiple of 4"):
        DRIT(resolution)


def test_two_domain_drit_refuses_three():
    with pytest.raises(ValueError, match="MDMM"):
        DRIT(32, ("A", "B", "C"), **DRIT_TINY)


def authors_file(solver, path, without: str = "") -> dict:
    """A checkpoint as the authors' code writes it, with random weights and Adam states whose steps are plain
    numbers, as old PyTorch had them."""
    state = {"ep": 3, "total_it": 1234}
    for name, network in solver.networks.items():
        weights = {key: torch.randn_like(t) * 0.1 for key, t in network.state_dict().items()}
        moments = {
            i: {"step": 7, "exp_avg": torch.randn_like(p) * 0.01, "exp_avg_sq": torch.rand_like(p) * 0.01}
            for i, p in enumerate(network.parameters())
        }
        group = {"lr": 1e-4, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 1e-4, "amsgrad": False}
        state[name] = weights
        state[f"{name}_opt"] = {"state": moments, "param_groups": [{**group, "params": list(moments)}]}
    state.pop(without, None)
    torch.save(state, path)
    return state


@pytest.mark.parametrize("concat", [0, 1])
@pytest.mark.parametrize("model", ["DRIT", "MDMM"])
def test_a_checkpoint_of_the_authors_loads_and_training_goes_on_from_it(model, concat, tmp_path):
    domains = 2 if model == "DRIT" else 3
    network = {"concat": concat, "dcontent_norm": "None"}
    options = {"network": network, "training": {"isDcontent": 1, "d_iter": 1}}
    solver = toy_solver(model, domains, **options)
    state = authors_file(solver, tmp_path / "01234.pth")
    other = toy_solver(model, domains, **options)
    assert other.load(tmp_path / "01234.pth", "latest") == 1234
    for name, network in other.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, state[name][key])
    moment = other.optimizers["gen"].state_dict()["state"][0]
    assert moment["step"] == 7 and torch.equal(moment["exp_avg"], state["gen_opt"]["state"][0]["exp_avg"])
    other.set_time(1)
    before = {key: t.clone() for key, t in tensors(other.networks["gen"]).items()}
    images = tuple(torch.rand(2, 3, 32, 32) for _ in range(domains))
    losses = other.train_step(type("B", (), {"images": images})(), 1)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert any(not torch.equal(before[key], t) for key, t in tensors(other.networks["gen"]).items())
    if model == "DRIT":
        other = toy_solver(model, domains, **options)
        other.load(tmp_path / "01234.pth", 1234, training=False)
        image, z = torch.rand(1, 3, 32, 32) * 2 - 1, torch.randn(1, 3)
        content = plain_drit.content(state["enc_c"], image, "convA")
        wanted = plain_drit.generate(state["gen"], content, z, "B")
        other.model.eval()
        assert torch.allclose(other.model.translate(image, 0, 1, z), wanted, rtol=1e-3, atol=1e-4)


def test_a_file_of_the_authors_that_lacks_a_network_is_refused_in_one_line(tmp_path):
    solver = toy_solver(network={"dcontent_norm": "None"})
    authors_file(solver, tmp_path / "a.pth", without="disB2")
    with pytest.raises(CheckpointError, match=r"has no disB2; training\.new_discriminators=1"):
        solver.load(tmp_path / "a.pth", "latest")
    torch.save({"total_it": 3, "other": {}}, tmp_path / "b.pth")
    assert load_checkpoint(tmp_path / "b.pth")["total_it"] == 3
    with pytest.raises(CheckpointError, match="no checkpoint of this program"):
        solver.load(tmp_path / "b.pth", "latest")


def as_published_spectral_norm(weights: dict) -> dict:
    """The same weights with the names and forms of the authors' copy of PyTorch 0.5."""
    found = {}
    for name, tensor in weights.items():
        if name.endswith(".original"):
            place = name.removesuffix(".parametrizations.weight.original")
            u = weights[f"{place}.parametrizations.weight.0._u"]
            found |= {f"{place}.weight_orig": tensor, f"{place}.weight": tensor / 2, f"{place}.weight_u": u}
        elif ".parametrizations." not in name:
            found[name] = tensor
    return found


@pytest.mark.parametrize("model", ["DRIT", "MDMM"])
def test_spectrally_normalised_discriminators_of_the_authors_are_the_same_function_here(model, tmp_path):
    network = {"dis_spectral_norm": 1, "dcontent_norm": "None"}
    solver, other = (toy_solver(model, network=network) for _ in range(2))
    state = authors_file(solver, tmp_path / "a.pth")
    for name in solver.discriminators:
        state[name] = as_published_spectral_norm(solver.networks[name].state_dict())
        assert any(key.endswith("weight_orig") for key in state[name])
    torch.save(state, tmp_path / "a.pth")
    other.load(tmp_path / "a.pth", "latest")
    image = torch.rand(2, 3, 32, 32)
    for name in solver.discriminators:
        weights = state[name]
        ours = {key: tensor.clone() for key, tensor in other.networks[name].state_dict().items()}
        for key in (key for key in weights if key.endswith("weight_orig")):
            matrix, u = weights[key].flatten(1), weights[key.removesuffix("orig") + "u"]
            v = matrix.T @ u
            place = key.removesuffix("weight_orig") + "parametrizations.weight"
            assert torch.allclose(ours[f"{place}.0._v"], v / v.norm(), atol=1e-6)
        logits = [other.networks[name].train()(image)[0] for _ in range(30)][-1]  # u and v converge
        wanted = [solver.networks[name].train()(image)[0] for _ in range(30)][-1]
        assert torch.allclose(logits, wanted, atol=1e-5)


def test_test_mode_needs_no_discriminators_whatever_they_were(tmp_path):
    solver = toy_solver(network={"dis_scale": 2, "dis_spectral_norm": 1})
    state = authors_file(solver, tmp_path / "a.pth")
    parts = {name: state[name] for name in ("enc_c", "enc_a", "gen", "total_it")}
    torch.save(parts, tmp_path / "parts.pth")
    for file in ("a.pth", "parts.pth"):
        other = toy_solver(train=0, network={"dis_scale": 1})
        assert other.load(tmp_path / file, "latest", training=False) == 1234
        assert torch.equal(tensors(other.networks["gen"])["decA4.0.weight"], state["gen"]["decA4.0.weight"])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"dis_scale": 2, "dcontent_norm": "None"}, "a disA of another shape"),
        ({"dcontent_norm": "Instance"}, "a disContent that learned without InstanceNorm"),
        ({"dcontent_norm": "None", "dis_norm": "Instance"}, "a disA that learned without InstanceNorm"),
    ],
)
def test_a_discriminator_that_would_be_another_function_begins_anew_only_where_it_may(
    network, message, tmp_path, capsys
):
    state = authors_file(toy_solver(network={"dcontent_norm": "None"}), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message) as error:
        toy_solver(network=network).load(tmp_path / "a.pth", "latest")
    assert "\n" not in str(error.value)
    solver = toy_solver(network=network, training={"new_discriminators": 1})
    assert solver.load(tmp_path / "a.pth", "latest") == 1234
    assert f"{message}" in capsys.readouterr().out
    assert torch.equal(tensors(solver.networks["gen"])["decA4.0.weight"], state["gen"]["decA4.0.weight"])
    assert solver.train_step(toy_batch(solver), 3)["total"].isfinite()


def test_the_map_of_real_has_a_border_of_zeros_as_published():
    image = torch.rand(1, 3, 216, 216)
    with_border, without = Classifying(216, 3, 2), Classifying(216, 3, 2, border=False)
    without.load_state_dict(with_border.state_dict())
    (real, domain), (inner, same) = with_border(image), without(image)
    conv = torch.nn.Conv2d(inner.shape[1], 1, 1, padding=1, bias=False)
    torch.nn.init.ones_(conv.weight)
    assert real.shape[2:] == (6, 6) and torch.equal(real, conv(inner)) and torch.equal(domain, same)
