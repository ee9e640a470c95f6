"""Runs of the real program that are stopped, in several ways, and go on as if they had not been."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import command, run_program, same_tensors, write_config

from solvers.run.checkpoint import load_checkpoint

LENGTH = 60


@pytest.fixture(scope="module")
def straight(digits_folder, tmp_path_factory):
    """One run of 60 iterations that nobody disturbed, and its config."""
    folder = tmp_path_factory.mktemp("straight")
    config = long_experiment(digits_folder, folder / "run")
    done = run_program(write_config(config, folder / "c.json"))
    assert done.returncode == 0, done.stderr
    return config, load_checkpoint(folder / "run/models/000060-checkpoint.pt")


def long_experiment(digits_folder, run_dir) -> dict:
    return {
        "id": "long",
        "model": "IIAE",
        "dataset": "Digits-CDCB",
        "path_to_data": str(digits_folder),
        "resolution": 32,
        "run_dir": str(run_dir),
        "device": "cpu",
        "threads": 1,
        "training": {
            "max_iters": LENGTH,
            "batch_size": 250,  # 46 iterations are an epoch, so that the stop falls within one
            "lr_schedule": "cosine",
            "print_freq": 5,
            "sample_freq": 30,
            "model_save_freq": 10,
        },
        "test": {"after_training": False},
        "network": {"base_width": 4, "shared_dim": 16},
    }


def start_and_stop(config_file, run_dir, number: int, after: int) -> tuple[subprocess.Popen, str]:
    """Start the program, send it a signal once checkpoint `after` is there, and wait for its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command(config_file), env=environment, stdout=pipe, stderr=pipe, text=True)
    wanted = run_dir / f"models/{after:06d}-checkpoint.pt"
    deadline = time.monotonic() + 120
    while not wanted.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    return process, output + errors


def final_state(run_dir) -> dict:
    state = load_checkpoint(run_dir / f"models/{LENGTH:06d}-checkpoint.pt")
    return {key: state[key] for key in ("iters", "networks", "optimizers", "scaler")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_stopped_run_resumed_at_latest_equals_one_that_never_stopped(
    straight, digits_folder, tmp_path, number
):
    _, wanted = straight
    run_dir = tmp_path / "run"
    path = write_config(long_experiment(digits_folder, run_dir), tmp_path / "c.json")
    process, text = start_and_stop(path, run_dir, number, after=20)
    assert not (run_dir / f"models/{LENGTH:06d}-checkpoint.pt").exists(), "it was over before the signal came"
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number and "Traceback" not in text
        assert f"Stopped by {number.name} at iteration" in text
        assert max(p.name for p in (run_dir / "models").iterdir()) > "000020-checkpoint.pt"
    done = run_program(path, "training.resume_iters=latest")
    assert done.returncode == 0, done.stderr
    made = final_state(run_dir)
    assert same_tensors(made, {key: wanted[key] for key in made})
    assert not list((run_dir / "models").glob("*.part"))


def test_resuming_at_a_named_iteration_gives_the_same_run_again(straight, digits_folder, tmp_path):
    config, wanted = straight
    config = {**config, "run_dir": str(tmp_path / "again")}
    source = straight[0]["run_dir"]
    words = ("training.resume_iters=30", f"training.restored_model_path={source}", "workers=3")
    done = run_program(write_config(config, tmp_path / "c.json"), *words)
    assert done.returncode == 0, done.stderr
    made = final_state(tmp_path / "again")
    assert same_tensors(made, {key: wanted[key] for key in made})


def test_a_resumed_run_logs_every_row_once(digits_folder, tmp_path):
    run_dir = tmp_path / "run"
    path = write_config(long_experiment(digits_folder, run_dir), tmp_path / "c.json")
    start_and_stop(path, run_dir, signal.SIGKILL, after=20)
    assert run_program(path, "training.resume_iters=latest").returncode == 0
    rows = [json.loads(line) for line in (run_dir / "logs/metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(5, LENGTH + 1, 5))


def test_another_seed_is_another_run(straight, tmp_path):
    config, other = straight
    config = {**config, "run_dir": str(tmp_path / "seed"), "seed": 1}
    assert run_program(write_config(config, tmp_path / "c.json")).returncode == 0
    assert not same_tensors(final_state(tmp_path / "seed")["networks"], other["networks"])


def test_two_processes_train_what_one_trains(straight, digits_folder, tmp_path):
    """Gradients are averaged, so both processes keep the same weights; BatchNorm sees half a batch each, so
    they are near one process's, not equal to them."""

    config = long_experiment(digits_folder, tmp_path / "two")
    config["training"] |= {"max_iters": 4, "model_save_freq": 2}
    path = write_config(config, tmp_path / "c.json")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29533"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, *command(path)[1:]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one = run_program(path, f"run_dir={tmp_path / 'one'}")
    assert one.returncode == 0, one.stderr
    states = [load_checkpoint(tmp_path / name / "models/000004-checkpoint.pt") for name in ("one", "two")]
    a, b = (state["networks"]["iiae"]["x_decoder.last_layer.0.weight"] for state in states)
    assert not torch.equal(a, b)
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99
