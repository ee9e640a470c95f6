"""training.ema: the average of weights, where it is seen, and that training does not notice it."""

import numpy as np
import pytest
import torch
from conftest import restored, same_tensors, tiny_experiment
from drit_toys import NARROW, check_resumes, make_run, toy_batch, toy_solver
from safetensors.torch import load_file

import main
import solvers.solver as solver_module
from configs.load import validate
from solvers import make_solver
from solvers.commands.opened import open_run
from solvers.run.checkpoint import load_checkpoint
from solvers.run.folder import RunFolder

DECAY = 0.4  # less than the decay of the first iterations from the fifth on: 2/11, 3/12, ...


def weights(network) -> list[np.ndarray]:
    return [p.detach().numpy().astype(np.float64) for p in network.parameters()]


@pytest.fixture(scope="module")
def averaged_run(digits_folder, tmp_path_factory):
    """An IIAE experiment's values and the folder of its run, with averaged weights."""
    folder = tmp_path_factory.mktemp("averaged")
    values = tiny_experiment(digits_folder, folder)
    values["training"] |= {"ema": 0.9, "max_iters": 4, "model_save_freq": 4, "sample_freq": 4}
    make_solver(validate({**values, "run_dir": str(folder / "run")}, "tiny")).train()
    return values, folder / "run"


def test_it_is_the_moving_average_of_the_weights_after_each_iteration():
    solver = toy_solver(network=NARROW, training={"ema": DECAY, "d_iter": 2, "lr": 1e-2})
    wanted, batch = weights(solver.model), toy_batch(solver)
    for iteration in range(1, 6):
        solver.set_time(iteration)
        solver.one_iteration(batch, iteration)
        decay = min(DECAY, (1 + iteration) / (10 + iteration))
        wanted = [decay * mean + (1 - decay) * w for mean, w in zip(wanted, weights(solver.model))]
    for mean, made, now in zip(wanted, weights(solver.tested_model), weights(solver.model)):
        assert made == pytest.approx(mean, abs=1e-6)
        assert np.abs(made - now).max() > 1e-5
    assert not any(p.requires_grad for p in solver.tested_model.parameters())


def test_training_does_not_notice_it():
    states = []
    for ema in (0.0, 0.9):
        solver = toy_solver(network=NARROW, training={"ema": ema, "d_iter": 2})
        for iteration in (1, 2, 3):
            solver.set_time(iteration)
            losses = solver.one_iteration(toy_batch(solver), iteration)
        states.append((losses, {name: net.state_dict() for name, net in solver.networks.items()}))
    assert same_tensors(*states)


def test_batchnorms_statistics_are_the_models(averaged_run):
    _, run = averaged_run
    state = load_checkpoint(run / "models/000004-checkpoint.pt")["networks"]
    names = [name for name in state["ema"] if "running" in name or "tracked" in name]
    assert names and all(torch.equal(state["ema"][name], state["iiae"][name]) for name in names)
    assert not same_tensors(state["ema"], state["iiae"])


def test_a_resumed_run_is_the_same_bit_for_bit(averaged_run, tmp_path):
    values, _ = averaged_run
    check_resumes(make_run(values, tmp_path), tmp_path, 2, 4)
    assert "ema" in load_checkpoint(tmp_path / "again/models/000004-checkpoint.pt")["networks"]


def test_samples_tests_and_exports_are_of_averaged_weights(averaged_run, tmp_path, monkeypatch):
    values, run = averaged_run
    saved = dict(load_checkpoint(run / "models/000004-checkpoint.pt")["networks"]["ema"])
    seen = []
    monkeypatch.setattr(solver_module, "evaluate", lambda view, *rest: seen.append(view.model) or {})
    monkeypatch.setattr(solver_module, "save_samples", lambda model, *rest: seen.append(model))
    solver = make_solver(validate({**values, "run_dir": str(run)}, "tiny"))
    solver.test()
    solver.run = RunFolder(run)
    solver.save_samples(None, 4)
    words = ("--output", str(tmp_path / "made"), "--format", "safetensors")
    assert main.main(["export", str(run), *words]) == 0
    seen += [open_run(run).model, open_run(tmp_path / "made").model]
    assert len(seen) == 4 and all(same_tensors(dict(model.state_dict()), saved) for model in seen)
    assert same_tensors(load_file(tmp_path / "made/model.safetensors"), saved)


def test_a_checkpoint_without_averaged_weights_begins_them_as_its_own(
    finished_run, digits_folder, tmp_path, capsys
):
    values = tiny_experiment(digits_folder, tmp_path)
    values["training"] |= {"ema": 0.9, "resume_iters": 10, "restored_model_path": str(finished_run)}
    solver = make_solver(validate(values, "tiny"))
    assert restored(solver) == 10
    assert same_tensors(dict(solver.tested_model.state_dict()), dict(solver.model.state_dict()))
    line = capsys.readouterr().out
    assert "has no averaged weights" in line and line.count("\n") == 1


def test_averaged_weights_of_a_run_are_ignored_where_they_are_off(averaged_run, capsys):
    values, run = averaged_run
    solver = make_solver(validate({**values, "training": {**values["training"], "ema": 0}}, "tiny"))
    assert solver.load(run, 4) == 4 and solver.tested_model is solver.model
    saved = load_checkpoint(run / "models/000004-checkpoint.pt")["networks"]["iiae"]
    assert same_tensors(dict(solver.model.state_dict()), dict(saved))
    assert capsys.readouterr().out == ""
