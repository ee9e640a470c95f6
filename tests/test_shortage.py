"""A full disk and no memory end a run in one line that says where, how much, and what is saved."""

import re
import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import main
from configs.load import validate
from solvers import Shortage, make_solver
from solvers.run.checkpoint import save_checkpoint
from solvers.run.folder import write_whole
from solvers.run.shortage import readable, shortage


@contextmanager
def room_for(size):
    """That no file may be larger."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def full(capfd, tmp_path, config_file, size, *words):
    with room_for(size):
        status = main.main([str(config_file), f"run_dir={tmp_path / 'run'}", *words])
    line = capfd.readouterr().err
    assert (status, line.count("\n")) == (1, 1), line
    assert not [*tmp_path.rglob("*.part")]
    return line


def test_a_checkpoint_that_finds_no_room_says_how_much_it_wanted(capfd, config_file, tmp_path):
    line = full(capfd, tmp_path, config_file, 300_000)
    checkpoint = re.escape(str(tmp_path / "run/models/000005-checkpoint.pt"))
    assert re.search(rf"{checkpoint} wants 1\.5\d* MiB and [\d.]+ [GTM]iB are free; saving iteration 5", line)
    assert "there is no checkpoint" in line
    assert [*(tmp_path / "run/models").iterdir()] == []


def test_grids_that_find_no_room_name_the_last_checkpoint(capfd, config_file, tmp_path):
    assert main.main([str(config_file), f"run_dir={tmp_path / 'run'}", "training.max_iters=5"]) == 0
    words = ("training.sample_freq=8", "training.resume_iters=latest")
    line = full(capfd, tmp_path, config_file, 9_000, *words)
    assert "drawing the grids of iteration 8" in line
    assert f"the last good checkpoint is {tmp_path / 'run/models/000005-checkpoint.pt'}" in line


def test_a_folder_made_for_a_run_that_never_began_is_removed(capfd, config_file, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert "config.json wants" in full(capfd, tmp_path, config_file, 1_000)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("first", [True, False])
def test_no_memory_in_an_iteration_is_one_line(experiment, tmp_path, first):
    solver = make_solver(validate({**experiment, "run_dir": str(tmp_path / "run")}, "test"))
    step = solver.train_step

    def greedy(batch, iteration):
        if iteration == (1 if first else 7):
            torch.empty(10**15)
        return step(batch, iteration)

    solver.train_step = greedy
    with pytest.raises(Shortage) as error:
        solver.train()
    assert str(error.value).startswith(
        "the machine is out of memory: 3638 TiB more were wanted; in iteration"
    )
    saved = "there is no checkpoint" if first else f"is {tmp_path / 'run/models/000005-checkpoint.pt'}"
    assert saved in str(error.value)
    assert (tmp_path / "run").exists() != first


def test_no_memory_for_the_networks_is_one_line_and_nothing_is_made(experiment, tmp_path, monkeypatch):
    solver = validate(experiment, "test")
    monkeypatch.setattr("solvers.iiae.IIAE", lambda *_, **__: torch.empty(10**15))
    with pytest.raises(Shortage, match="3638 TiB more were wanted; at the start"):
        make_solver(solver)
    assert not (tmp_path / "runs").exists()


def test_what_is_used_up_is_read_from_every_kind_of_error():
    gpu = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which"
    assert shortage(torch.OutOfMemoryError(gpu)) == "the GPU is out of memory: 20.00 MiB more were wanted"
    with pytest.raises(MemoryError) as error:
        np.ones(10**14)
    assert shortage(error.value) == "the machine is out of memory: 728. TiB more were wanted"
    assert shortage(OSError(28, "No space left on device", "x")) == "the disk is full: x"
    assert shortage(RuntimeError("size mismatch")) is None
    assert readable("1536 bytes") == "1.5 KiB" and readable("3 GiB") == "3 GiB"


def test_a_file_stays_as_it_was_where_the_new_one_finds_no_room(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    save_checkpoint(tmp_path, 1, {"w": torch.ones(3)})
    kept = (tmp_path / "000001-checkpoint.pt").read_bytes()
    with room_for(100):
        with pytest.raises(Shortage, match=r"a\.json wants 200 bytes"):
            write_whole(path, "n" * 200)
        with pytest.raises(Shortage, match=r"000001-checkpoint\.pt wants 996\.1 KiB"):
            save_checkpoint(tmp_path, 1, {"w": torch.ones(255_000)})
    assert path.read_text() == "old" and (tmp_path / "000001-checkpoint.pt").read_bytes() == kept
    assert len([*tmp_path.iterdir()]) == 2
