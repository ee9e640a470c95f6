"""A signal at any moment ends the program with one line at most, never a traceback, and status 130 or 143."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, command, write_config

from solvers.run.distributed import ANNOUNCED, world
from solvers.run.folder import RunError
from solvers.run.signals import Interrupted, StopSignals, interrupting

MOMENTS = """
import os, runpy, signal, sys
moment, number, sys.argv = int(sys.argv[1]), int(sys.argv[2]), ["main.py", *sys.argv[3:]]
count = 0
def look(frame, event, _):
    global count
    if event == "call" and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        count += 1
        if count == moment:
            sys.setprofile(None)
            os.kill(os.getpid(), number)
sys.setprofile(look)
runpy.run_path("main.py", run_name="__main__")
"""


def stopped_at(moment, number, *words):
    """main.py in a process that sends itself a signal at its `moment`-th call of a Python function."""
    process = subprocess.run(
        [sys.executable, "-c", MOMENTS, str(moment), str(int(number)), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    return process.returncode, process.stderr


@pytest.mark.parametrize("moment", [1, 3_000, 100_000])
def test_a_signal_while_it_starts_is_one_line_and_nothing_is_made(config_file, tmp_path, moment):
    before = sorted(tmp_path.rglob("*"))
    number = signal.SIGINT if moment == 3_000 else signal.SIGTERM
    status, errors = stopped_at(moment, number, config_file)
    assert (status, errors) == (128 + number, f"error: stopped by {number.name}\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_signal_in_test_mode_is_one_line(experiment, tmp_path):
    experiment["test"]["after_training"] = True
    run = tmp_path / "run"
    path = write_config({**experiment, "run_dir": str(run)}, tmp_path / "c.json")
    process = subprocess.Popen(command(path), stderr=subprocess.PIPE, text=True)
    while not (run / "models/000010-checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    process.terminate()
    errors = process.communicate()[1]
    assert process.returncode == 143
    assert errors in ("error: stopped by SIGTERM\n", "")  # nothing, where the last iteration was not yet over
    assert not [*run.rglob("*.part")]


def test_what_a_library_makes_of_a_signal_is_still_the_signal():
    with pytest.raises(Interrupted) as error, interrupting():
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as reason:
            raise RuntimeError("the loader failed") from reason
    assert error.value.status == 143 and str(error.value) == "stopped by SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_that_came_from_itself_goes_through():
    with pytest.raises(ValueError, match="once"), interrupting():
        error = ValueError("once")
        raise error from error


def test_a_process_that_got_no_signal_stops_with_the_others():
    stop = StopSignals()
    assert not stop.agree(lambda number: number) and stop.status == 0
    assert stop.agree(lambda number: max(number, signal.SIGTERM)) and stop.status == 143


def test_a_clusters_world_size_without_torchrun_is_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert world() == 1
    for name in ANNOUNCED:
        monkeypatch.setenv(name, "2")
    assert world() == 2
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(RunError, match="WORLD_SIZE is 'many'; start with torchrun"):
        world()


@pytest.mark.parametrize("word", ["resolution=100", "training.batch_size=2"])
def test_with_torchrun_a_mistake_is_one_line_from_one_process(config_file, word):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29541"]
    done = subprocess.run(
        [*launch, *command(config_file, word)[1:]],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    lines = done.stderr.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert any("exitcode  : 2" in line for line in lines), done.stderr
