"""training.accumulate: a batch in parts teaches what the whole batch teaches, in less memory."""

import pytest
import torch
from drit_toys import check_resumes, hold_still, make_run
from step_toys import BATCH, learnt, peak_memory, solver_of, tensors

import solvers.gmvae_drit
from configs.load import ConfigError
from dataloader.loader import TrainLoader
from solvers.run.folder import RunError
from solvers.run.parts import part_of

NARROW = {"base_width": 2, "residual_blocks": 1, "dis_width": 2}
QUIET = {**NARROW, "content_noise": 0, "concat": 0}
TOGETHER = {  # models whose losses are means over images, where nothing is drawn: network, training
    "DRIT": (QUIET, {"no_ms": 1, "d_iter": 2}),
    "MDMM": ({**QUIET, "dis_border": 0}, {"isDcontent": 1, "d_iter": 1}),
    "CycleGAN": (NARROW, {"pool_size": 11}),
    "UNIT": (NARROW, {}),
    "StarGAN": (NARROW, {"n_critic": 2}),
    "pix2pix": ({"base_width": 4, "dis_width": 4, "norm": "instance", "dropout": 0}, {}),
    "BicycleGAN": ({"base_width": 4, "dis_width": 4, "dropout": 0}, {}),
}


@pytest.fixture
def no_draws(monkeypatch):
    """Noise is zero and every order is that of the batch; what has a generator of its own stays."""

    def still(real, values):
        return lambda *size, generator=None, **o: (
            values(*size, **o) if generator is None else real(*size, generator=generator, **o)
        )

    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(torch, "randn", still(torch.randn, torch.zeros))
    ramp = lambda *size, **o: torch.linspace(0, 1, size[-1], **o).expand(*size)  # noqa: E731
    monkeypatch.setattr(torch, "rand", still(torch.rand, ramp))
    monkeypatch.setattr(torch, "randperm", torch.arange)


@pytest.mark.parametrize("model", TOGETHER)
def test_four_parts_teach_what_the_whole_batch_teaches(model, digits_folder, no_draws, float64):
    network, training = TOGETHER[model]
    whole, parts = (
        solver_of(model, digits_folder, network, {**training, "accumulate": count}) for count in (1, 4)
    )
    start = [x.clone() for x in tensors(whole)]
    losses = learnt(whole), learnt(parts)
    for one, other in zip(*losses):
        assert one == pytest.approx(other, rel=1e-4)
    moved = 0.0
    ours, theirs = (
        [x for net in s.networks.values() for x in net.state_dict().values()] for s in (parts, whole)
    )
    for first, one, other in zip(start, theirs, ours):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3 * whole.training.lr)
        moved = max(moved, (one - first).abs().max().item())
    assert moved > whole.training.lr


@pytest.mark.parametrize("model", ["DRIT", "CycleGAN", "StarGAN", "UNIT"])
def test_parts_take_less_memory(model, digits_folder):
    network, training = TOGETHER[model]
    peaks = []
    for count in (1, 4):
        solver = solver_of(model, digits_folder, network, {**training, "accumulate": count})
        learnt(solver, 1)
        peaks.append(peak_memory(lambda solver=solver: learnt(solver, 2)))
    assert peaks[1] < 0.5 * peaks[0]


def test_gradients_given_by_hand_are_averaged_and_statistics_are_of_each_part(no_draws, float64):
    network = {"base_width": 2, "hidden": 8, "latent_dim": 4}
    parts, half = (
        solver_of("VAEGAN", None, network, {"accumulate": count, "optimizer": "adam"}) for count in (2, 1)
    )
    loader = TrainLoader(parts.train_set, BATCH, 0, parts.device, workers=0)
    batch = loader.batch(loader.raw(1))
    batch = batch._replace(images=tuple(x.double() for x in batch.images))
    found = []
    for solver in (parts, half):
        hold_still(solver)
        solver.model.train()
    losses = parts.one_iteration(batch, 1)
    for number in range(2):
        found.append((half.one_iteration(part_of(batch, number, 2), 1), gradients(half)))
    for name, value in losses.items():
        assert value == pytest.approx((found[0][0][name] + found[1][0][name]) / 2)
    for ours, *theirs in zip(gradients(parts), found[0][1], found[1][1]):
        torch.testing.assert_close(ours, sum(theirs) / 2)
    for ours, theirs in zip(parts.model.buffers(), half.model.buffers()):
        torch.testing.assert_close(ours, theirs)


def gradients(solver) -> list[torch.Tensor]:
    return [p.grad.clone() for net in solver.networks.values() for p in net.parameters()]


def test_what_an_iteration_does_once_is_not_done_by_each_part(monkeypatch):
    placed, real = [], solvers.gmvae_drit.place_components
    monkeypatch.setattr(solvers.gmvae_drit, "place_components", lambda *a: placed.append(1) or real(*a))
    network = {**QUIET, "concat": 1, "gaussian_size": 3, "dis_border": 0}
    solver = solver_of("GMVAE-DRIT", None, network, {"accumulate": 2, "mixture_start": 1}, 8)
    learnt(solver, 2)
    assert len(placed) == 1


def test_buffers_of_every_part_change_once(digits_folder):
    network = {"base_width": 2, "dis_width": 2}
    solver = solver_of("pix2pix", digits_folder, network, {"accumulate": 4})
    learnt(solver, 3)
    passes = {"net_G": 1, "net_D": 3}  # real, made; and made for the generator
    for name, count in passes.items():
        seen = [x for key, x in solver.networks[name].state_dict().items() if key.endswith("tracked")]
        assert seen and all(x == 3 * 4 * count for x in seen)


def test_a_run_in_parts_resumes_bit_for_bit(digits_folder, tmp_path):
    solver = solver_of("IIAE", digits_folder, {"base_width": 2, "shared_dim": 4}, {"accumulate": 2})
    values = solver.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    check_resumes(make_run(values, tmp_path), tmp_path, 2, 4)


@pytest.mark.parametrize(("batch", "parts"), [(8, 3), (8, 8)])
def test_parts_without_their_share_are_refused(batch, parts, digits_folder, tmp_path):
    network = {"base_width": 2, "shared_dim": 4}
    top = {"output_dir": str(tmp_path / "runs")}
    solver = solver_of("IIAE", digits_folder, network, {"accumulate": parts}, batch, **top)
    with pytest.raises(RunError, match=f"batch_size 8 .* 1 processes of {parts} parts, at least 2 each"):
        solver.train()
    assert not (tmp_path / "runs").exists()


def test_a_margin_needs_the_whole_batch():
    with pytest.raises(ConfigError, match="accumulate 1 with a margin"):
        solver_of("VAEGAN", None, {}, {"accumulate": 2, "margin": 0.35})
