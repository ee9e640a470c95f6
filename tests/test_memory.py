"""What training says of memory: an estimate before the first step, a warning, the peak at the end."""

import re

import pytest
import torch
from conftest import same_tensors
from step_toys import learnt, peak_memory, solver_of, tensors

from dataloader.loader import TrainLoader
from solvers.run import memory

SIZES = {"base_width": 8, "dis_width": 8}
RUNS = {  # name: model, network, training
    "DRIT": ("DRIT", {**SIZES, "base_width": 4, "dis_width": 4, "residual_blocks": 1}, {"d_iter": 2}),
    "UNIT": ("UNIT", SIZES, {}),
    "CycleGAN": ("CycleGAN", SIZES, {"activation_checkpointing": 1, "pool_size": 2}),
    "StarGAN": ("StarGAN", SIZES, {"n_critic": 2}),
    "pix2pix": ("pix2pix", {"base_width": 2, "dis_width": 2}, {}),
}


def estimate(solver, size: int = 8) -> int | None:
    loader = TrainLoader(solver.train_set, size, 0, solver.device, workers=0)
    solver.set_time(2)
    return memory.activations(solver, loader.batch(loader.raw(2)))


@pytest.mark.parametrize("name", RUNS)
def test_the_estimate_is_right_to_a_fifth_and_changes_nothing(name, digits_folder):
    model, network, training = RUNS[name]
    solver, other = (solver_of(model, digits_folder, network, training) for _ in range(2))
    said = estimate(solver)
    assert all(p.grad is None for net in solver.networks.values() for p in net.parameters())
    assert learnt(solver, 2) == learnt(other, 2)
    assert same_tensors(tensors(solver), tensors(other))
    taken = peak_memory(lambda: learnt(solver, 2))
    gradients = memory.size_of(p for net in solver.networks.values() for p in net.parameters())
    assert 0.8 * (taken - gradients) < said < 1.2 * taken


def test_parts_and_a_smaller_batch_are_told_by_the_estimate():
    network = RUNS["UNIT"][1]
    whole, parts = (estimate(solver_of("UNIT", None, network, {"accumulate": n})) for n in (1, 4))
    assert whole == pytest.approx(4 * parts, rel=0.05)


def test_what_is_computed_may_decide_what_is_computed():
    network = {"base_width": 2, "hidden": 8, "latent_dim": 4}
    assert estimate(solver_of("VAEGAN", None, network, {"margin": 0.35})) is None


@pytest.mark.parametrize(("there", "warned"), [(1 << 40, False), (1000, True)])
def test_a_run_says_what_it_takes_and_took(there, warned, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "MATTERS", 0)
    monkeypatch.setattr(memory, "free", lambda device: there)
    network = {"base_width": 2, "dis_width": 2, "residual_blocks": 1}
    solver = solver_of("UNIT", None, network, {"max_iters": 1}, 2, run_dir=str(tmp_path / "run"))
    solver.train()
    said = capsys.readouterr().out
    (line,) = re.findall(r"^Memory, about: .*$", said, re.MULTILINE)
    count = sum(p.numel() for net in solver.networks.values() for p in net.parameters())
    assert f"{4 * count / 1e3:,.0f} kB of weights, {12 * count / 1e3:,.0f} kB of gradients" in line
    assert ("may run out of memory" in said) == warned
    assert len(re.findall(r"^Memory: .* of this process at most$", said, re.MULTILINE)) == 1
    assert said.index("Memory, about") < said.index("Memory: ")


def test_small_images_are_not_worth_the_time(tmp_path, capsys):
    network = {"base_width": 2, "dis_width": 2, "residual_blocks": 1}
    solver_of("UNIT", None, network, {"max_iters": 1}, 2, run_dir=str(tmp_path / "run")).train()
    assert "Memory, about" not in capsys.readouterr().out


def test_what_is_free_is_less_than_what_there_is():
    there = memory.free(torch.device("cpu"))
    assert there is None or 0 < there < 1 << 50
