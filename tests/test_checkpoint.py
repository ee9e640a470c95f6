import collections
import shutil

import pytest
import torch
from conftest import restored, same_tensors

from configs.load import validate
from models.iiae import IIAE
from solvers import make_solver
from solvers.iiae import OPTIMIZED
from solvers.run.checkpoint import (
    CheckpointError,
    checkpoints_in,
    load_checkpoint,
    remove_older,
    save_checkpoint,
)


@pytest.fixture
def trained(experiment):
    """A solver that has trained ten iterations, with checkpoints at 5 and 10."""
    solver = make_solver(validate(experiment, "test"))
    solver.train()
    return solver


def fresh(experiment, **training):
    experiment["training"] = {**experiment["training"], "max_iters": 20, **training}
    return make_solver(validate(experiment, "test"))


def test_a_checkpoint_holds_plain_values_and_what_was_saved(tmp_path):
    state = {"networks": {"a": {"w": torch.randn(3)}}, "note": [1, "x", None]}
    path = save_checkpoint(tmp_path, 200, state)
    assert path.name == "000200-checkpoint.pt"
    loaded = load_checkpoint(path)
    assert loaded["iters"] == 200
    assert same_tensors(loaded["networks"], state["networks"]) and loaded["note"] == state["note"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_only_as_many_checkpoints_are_kept_as_asked_for(tmp_path):
    for iteration in (5, 10, 100_000, 1_000_000):
        save_checkpoint(tmp_path, iteration, {})
        remove_older(tmp_path, keep=2)
    assert [iteration for iteration, _ in checkpoints_in(tmp_path)] == [1_000_000, 100_000]


def damage(path, how):
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])
    elif how == "text":
        path.write_text("not a checkpoint")
    elif how == "other":
        torch.save({"something": 1}, path)
    elif how == "code":
        torch.save({"iters": 10, "networks": Evil()}, path)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


DAMAGES = ["truncated", "empty", "flipped", "text", "other", "code"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_or_foreign_file_is_refused_in_one_line(tmp_path, how, capfd):
    path = save_checkpoint(tmp_path, 10, {"networks": {"a": {"w": torch.randn(5000)}}})
    damage(path, how)
    with pytest.raises(CheckpointError, match=r"000010-checkpoint\.pt") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    assert "code ran" not in capfd.readouterr().out


@pytest.mark.parametrize("how", DAMAGES)
def test_latest_passes_over_a_damaged_checkpoint_with_a_warning(trained, experiment, how, capsys):
    run = trained.run
    damage(run.models / "000010-checkpoint.pt", how)
    solver = fresh(experiment, resume_iters="latest", restored_model_path=str(run.root))
    assert restored(solver) == 5
    assert "trying the one before" in capsys.readouterr().out


def test_a_named_iteration_that_is_damaged_is_an_error(trained, experiment):
    damage(trained.run.models / "000010-checkpoint.pt", "truncated")
    solver = fresh(experiment, resume_iters=10, restored_model_path=str(trained.run.root))
    with pytest.raises(CheckpointError, match="truncated"):
        restored(solver)


@pytest.mark.parametrize("place", ["run", "models", "file"])
def test_a_run_its_models_folder_or_a_file_may_be_named(trained, experiment, place):
    run = trained.run
    path = {"run": run.root, "models": run.models, "file": run.models / "000010-checkpoint.pt"}[place]
    solver = fresh(experiment, resume_iters=10, restored_model_path=str(path))
    assert restored(solver) == 10
    assert same_tensors(solver.state()["networks"], trained.state()["networks"])
    assert same_tensors(
        solver.optimizers["dec"].state_dict()["state"], trained.optimizers["dec"].state_dict()["state"]
    )


def test_a_missing_iteration_lists_those_that_are_there(trained, experiment):
    solver = fresh(experiment, resume_iters=7, restored_model_path=str(trained.run.root))
    with pytest.raises(CheckpointError, match="no checkpoint of iteration 7; there are: 10, 5"):
        restored(solver)


def test_networks_of_another_width_are_refused(trained, experiment):
    experiment["network"]["base_width"] = 8
    solver = fresh(experiment, resume_iters="latest", restored_model_path=str(trained.run.root))
    with pytest.raises(
        CheckpointError, match="does not fit the config's resolution and network: size mismatch"
    ):
        restored(solver)


def test_the_configs_learning_rate_and_betas_win_over_the_checkpoints(trained, experiment):
    path = str(trained.run.root)
    solver = fresh(experiment, resume_iters="latest", restored_model_path=path, beta1=0.75, weight_decay=0.25)
    restored(solver)
    group = solver.optimizers["exc_enc"].param_groups[0]
    assert (group["betas"], group["weight_decay"]) == ((0.75, 0.999), 0.25)


def write_reference_checkpoint(path, steps=3):
    """What the PyTorch reference writes, made with plain PyTorch: its networks, three Adams, three
    schedulers."""
    torch.manual_seed(1)
    model = IIAE(32, base_width=4, shared_dim=16)
    parts = {name: [n for n in names if n != "FE_y"] for name, names in OPTIMIZED.items()}
    adams = {
        name: torch.optim.Adam(
            [p for n in names for p in getattr(model, n).parameters()], lr=2e-5, betas=(0.9, 0.999)
        )
        for name, names in parts.items()
    }
    schedulers = {
        name: torch.optim.lr_scheduler.MultiStepLR(adam, milestones=[10, 30], gamma=0.5)
        for name, adam in adams.items()
    }
    for _ in range(steps):
        out = model(*torch.rand(2, 4, 3, 32, 32))
        loss = out.x_reconstruction.mean() + out.y_reconstruction.mean() + sum(g.mean.sum() for g in out[2:])
        model.zero_grad()
        loss.backward()
        for name, adam in adams.items():
            adam.step()
            schedulers[name].step()
    state = {"iters": steps}
    state |= {n: getattr(model, n).state_dict() for names in parts.values() for n in names}
    for name, adam in adams.items():
        optimizer = adam.state_dict()
        for entry in optimizer["state"].values():
            entry["step"] = int(entry["step"])  # PyTorch 1.7 kept it so
        scheduler = schedulers[name].state_dict()
        scheduler["milestones"] = collections.Counter(scheduler["milestones"])
        state |= {f"optimizer_{name}": optimizer, f"scheduler_{name}": scheduler}
    torch.save(state, path)
    return model, adams


@pytest.mark.parametrize("in_models_folder", [False, True])
def test_a_reference_checkpoint_gives_its_images_and_optimisers(tmp_path, experiment, in_models_folder):
    folder = tmp_path / "2021-08-06_22-14_IIAE_MNIST"
    (folder / "models").mkdir(parents=True)
    path = folder / ("models" if in_models_folder else ".") / "3-checkpoint.pt"
    reference, adams = write_reference_checkpoint(path)
    solver = fresh(experiment, resume_iters=3, restored_model_path=str(folder))
    assert restored(solver) == 3
    image = torch.rand(2, 3, 32, 32)
    for model in (reference, solver.model):
        model.eval()
    style = torch.randn(2, 8)
    wanted, made = (m.decode(m.encode_content(image, 0), style, 1) for m in (reference, solver.model))
    assert torch.equal(wanted, made)
    for name, adam in adams.items():
        ours = solver.optimizers[name].state_dict()["state"]
        theirs = adam.state_dict()["state"]
        assert len(ours) == len(theirs) > 0
        assert all(torch.equal(ours[k]["exp_avg_sq"], theirs[k]["exp_avg_sq"]) for k in theirs)
        assert all(float(ours[k]["step"]) == 3 for k in theirs)
    solver.run = None
    solver.train()  # and training goes on from it
    assert checkpoints_in(solver.run.models)[0][0] == 20


def test_a_reference_checkpoint_is_tested_into_a_run_folder_of_our_own(tmp_path, experiment):
    folder = tmp_path / "theirs"
    folder.mkdir()
    write_reference_checkpoint(folder / "50000-checkpoint.pt")
    experiment["test"] |= {"test_path": str(folder), "test_iters": 50_000}
    experiment["train"] = 0
    with pytest.raises(CheckpointError, match="is of iteration 3, not 50000"):
        make_solver(validate(experiment, "test")).test()
    shutil.move(folder / "50000-checkpoint.pt", folder / "3-checkpoint.pt")
    experiment["test"]["test_iters"] = "latest"
    make_solver(validate(experiment, "test")).test()
    results = list((tmp_path / "runs").glob("*/results/metrics.json"))
    assert len(results) == 1
    assert [p.name for p in folder.iterdir()] == ["3-checkpoint.pt"]
