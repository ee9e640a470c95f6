"""Cores that this process may use, and how OpenMP's threads wait."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, write_config

import main
from configs.load import validate
from solvers.run import cores, setup
from solvers.run.cores import SPIN, Load, bound_waiting, quotas_of, threads, usable_cores

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's control groups and affinity")


def made(root, cgroup, files):
    """A root folder whose /proc and /sys say this."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


GROUPS = {  # what /proc/self/cgroup says, the files, the limits they set
    "none": ("0::/\n", {}, []),
    "unlimited": ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, []),
    "its own": ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, [1.5]),
    "one above": ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, [3.0]),
    "both": ("0::/a\n", {"a/cpu.max": "50000 100000\n", "cpu.max": "400000 100000\n"}, [0.5, 4.0]),
    "a container's": ("0::/../../other\n", {"cpu.max": "250000 100000\n"}, [2.5]),
    "version 1": (
        "5:cpu,cpuacct:/jobs/7\n3:memory:/jobs/7\n",
        {
            "cpu,cpuacct/jobs/7/cpu.cfs_quota_us": "120000",
            "cpu,cpuacct/jobs/7/cpu.cfs_period_us": "50000",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        },
        [2.4],
    ),
    "both versions": (
        "4:cpu:/\n0::/\n",
        {
            "cpu/cpu.cfs_quota_us": "100000",
            "cpu/cpu.cfs_period_us": "100000",
            "unified/cpu.max": "max 100000",
        },
        [1.0],
    ),
    "odd files": ("0::/a\nnonsense\n", {"a/cpu.max": "", "cpu.max": "much 0"}, []),
}


@pytest.mark.parametrize("name", GROUPS)
def test_quotas_of_control_groups_are_found(tmp_path, name):
    cgroup, files, want = GROUPS[name]
    assert list(quotas_of(made(tmp_path, cgroup, files))) == pytest.approx(want)


@LINUX
def test_the_least_of_affinity_and_quotas_holds_rounded_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    root = made(tmp_path, "0::/a\n", {"a/cpu.max": "250000 100000"})
    assert usable_cores(root) == 3
    assert [threads(wanted, root=root) for wanted in (1, 3, 64)] == [1, 3, 3]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads(0, beside, root) for beside in (1, 2, 4)] == [3, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads(0, root=root) is None and threads(2, root=root) == 2
    assert usable_cores(made(tmp_path / "small", "0::/\n", {"cpu.max": "1000 100000"})) == 1


@LINUX
def test_a_process_held_to_one_core_uses_one_thread():
    code = "from solvers.run.cores import threads; print(threads(0), threads(7))"
    one = min(os.sched_getaffinity(0))
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    told = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{one}}}); {code}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert told.stdout.split() == ["1", "1"], told.stderr


@pytest.mark.parametrize("name", cores.WAITING)
def test_waiting_is_bounded_unless_the_environment_says_how_to_wait(name):
    ours, theirs = {}, {name: "something"}
    bound_waiting(ours)
    bound_waiting(theirs)
    assert ours == {"GOMP_SPINCOUNT": str(SPIN)} and theirs == {name: "something"}


def test_main_settles_waiting_before_pytorch_is_loaded(tmp_path):
    """OpenMP reads its environment when PyTorch loads it."""
    code = f"""
import builtins, os, sys
sys.argv = ["main.py", {str(tmp_path / "c.json")!r}]
plain = builtins.__import__
def watched(name, *more, **named):
    if name == "torch" and "torch" not in sys.modules:
        print(os.environ.get("GOMP_SPINCOUNT"))
        os._exit(0)
    return plain(name, *more, **named)
builtins.__import__ = watched
import runpy
runpy.run_path("main.py", run_name="__main__")
"""
    (tmp_path / "c.json").write_text('{"id": "a", "model": "IIAE", "dataset": "Digits-CDCB"}')
    environment = {name: value for name, value in os.environ.items() if name not in cores.WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(SPIN)], done.stderr


def stat(folder, *ticks):
    """/proc/stat of cores whose time went as `ticks` says, each in the kernel's order."""
    lines = [f"cpu{number} {' '.join(map(str, one))}" for number, one in enumerate(ticks)]
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc/stat").write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 1 2", ""]))


@LINUX
def test_others_hold_what_is_busy_and_not_this_process(tmp_path, monkeypatch):
    """Of three cores this process may use two; of these, others' is what it did not use itself."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    rate, mine, clock = os.sysconf("SC_CLK_TCK"), [1.0], [100.0]
    monkeypatch.setattr(os, "times", lambda: os.times_result((*mine, 0.0, 0.0, 0.0, 0.0)))
    monkeypatch.setattr(cores.time, "monotonic", lambda: clock[0])
    before = [[10, 0, 5, 1000, 7, 1, 2, 3, 0, 0]] * 3
    stat(tmp_path, *before)
    load = Load(tmp_path)
    user, steal = [10 + 2 * rate, 0, 5, 1000, 7, 1, 2, 3, 0, 0], [10, 0, 5, 1000, 7, 1, 2, 3 + rate, 0, 0]
    stat(tmp_path, user, [99 * rate] * 10, steal)
    clock[0] = 100.2
    assert load.held() == 0  # too short to say
    clock[0], mine[0] = 104.0, 1.5
    assert load.held() == pytest.approx((2 + 1 - 0.5) / 4)
    idle = [10, 0, 5, 1000 + 9 * rate, 7 + rate, 1, 2, 3, 0, 0]
    stat(tmp_path, idle, before[1], before[2])
    assert load.held() == 0
    for text in ("", "cpu0 a b c d e f g h", "cpu0 1 2"):
        (tmp_path / "proc/stat").write_text(text)
        assert load.held() == 0
    (tmp_path / "proc/stat").unlink()
    assert Load(tmp_path).held() == 0


@LINUX
def test_a_busy_neighbour_is_noticed():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        load = Load()
        cores.time.sleep(1.0)
        assert load.held() > 0.1
    finally:
        busy.kill()
        busy.wait()


@LINUX
def test_threads_are_as_many_as_cores_that_others_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    root = made(tmp_path, "0::/\n", {})
    held = {0: 4, 0.4: 4, 0.6: 3, 2.4: 2, 3.9: 1, 9: 1}
    assert {much: threads(0, root=root, held=much) for much in held} == held
    assert threads(3, root=root, held=3.9) == 3  # who says how many gets them


@pytest.mark.parametrize("given, held, left", [(None, 1.9, 1), (None, 0.1, 0), ("1", 1.9, 0), ("2", 1.9, 0)])
def test_who_sets_the_number_in_the_environment_is_told_of_no_others(
    given, held, left, monkeypatch, experiment
):
    """OMP_NUM_THREADS has decided then."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    now = [int(given or 2)]
    monkeypatch.setattr(setup.torch, "set_num_threads", lambda count: now.append(count))
    monkeypatch.setattr(setup.torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(cores, "usable_cores", lambda root=None: 2)
    monkeypatch.setattr(cores.SINCE_START, "held", lambda: held)
    assert setup.prepare_backends(validate({**experiment, "threads": 0}, "tiny")) == left


def test_a_run_keeps_its_number_of_threads_whatever_others_hold_later(
    experiment, tmp_path, monkeypatch, capsys
):
    """Begun on held cores it goes on with one thread on idle ones; begun on idle ones, with all."""
    taken = []
    monkeypatch.setattr(setup.torch, "set_num_threads", taken.append)
    monkeypatch.setattr(setup.torch, "get_num_threads", lambda: taken[-1])
    monkeypatch.setattr(cores, "usable_cores", lambda root=None: 2)
    monkeypatch.setattr(setup, "usable_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def run(name, held, **training):
        monkeypatch.setattr(cores.SINCE_START, "held", lambda: held)
        sections = {"training": {**experiment["training"], "max_iters": 2, **training}}
        values = {**experiment, **sections, "threads": 0, "run_dir": str(tmp_path / name)}
        assert main.main([str(write_config(values, tmp_path / "c.json"))]) == 0
        kept = json.loads((tmp_path / name / "config.json").read_text())["threads"]
        said = capsys.readouterr().out
        return kept, taken[-1], "hold the cores" in said, "as the checkpoint was trained" in said

    assert run("busy", 1.9) == (1, 1, True, False)
    assert run("busy", 0.0, resume_iters="latest", max_iters=4) == (1, 1, False, True)
    assert run("idle", 0.0) == (0, 2, False, False)
    assert run("idle", 1.9, resume_iters="latest", max_iters=4) == (0, 2, True, True)
