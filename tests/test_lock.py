"""One run, one process; and a run whose training is over goes on where it was stopped, in test mode."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, command, contents, run_program, write_config

from solvers.run.folder import RunError
from solvers.run.lock import RunLock

HOLD = "import sys, time; from solvers.run.lock import RunLock\nfrom pathlib import Path\n"
HOLD += "with RunLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_refused_until_the_first_ends_however_that_is(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", HOLD, str(run)]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=rf"run is in use by process {holder.pid} on \S+; wait"), RunLock(run):
        pass
    assert (run / ".lock").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunLock(run):
        assert json.loads((run / ".lock").read_text())["pid"] == os.getpid()
        with pytest.raises(RunError, match=f"process {os.getpid()} on"), RunLock(run):
            pass
    assert [path.name for path in run.iterdir()] == ["config.json"]


def test_folders_made_for_nothing_are_removed_and_others_stay(tmp_path):
    (tmp_path / "runs").mkdir()
    with RunLock(tmp_path / "runs/deep/run"):
        assert (tmp_path / "runs/deep/run/.lock").exists()
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write to"), RunLock(tmp_path / "file/run"):
        pass


def test_a_damaged_file_of_a_dead_process_is_no_hindrance(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff\x00")
    with RunLock(tmp_path):
        pass


def test_training_in_a_run_that_trains_is_refused_in_one_line(experiment, tmp_path):
    run = tmp_path / "run"
    path = write_config({**experiment, "run_dir": str(run)}, tmp_path / "c.json")
    with RunLock(run):
        done = run_program(path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "is in use by process" in done.stderr
    assert not run.exists()


def test_a_run_that_was_stopped_in_test_mode_finishes_it_by_the_same_command(experiment, tmp_path):
    run = tmp_path / "run"
    experiment["training"] |= {"resume_iters": "latest"}
    experiment["test"] |= {"after_training": True, "metrics": ["retrieval", "reconstruction"]}
    path = write_config({**experiment, "run_dir": str(run)}, tmp_path / "c.json")
    process = subprocess.Popen(command(path), env={**os.environ, "OMP_NUM_THREADS": "1"})
    wait_for(run / "models/000010-checkpoint.pt", process)
    process.kill()
    process.wait()
    trained = contents(run / "models")
    assert not (run / "results/metrics.json").exists()
    assert run_program(path).returncode == 0
    assert contents(run / "models") == trained
    first = json.loads((run / "results/metrics.json").read_text())
    assert first["iteration"] == 10 and "retrieval/shared/x_to_y" in first
    named = run_program(path, "training.resume_iters=10")
    assert named.returncode == 2 and "raise training.max_iters above 10" in named.stderr


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
