"""Cores that this process may use, and how OpenMP's threads wait."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from solvers.run import cores
from solvers.run.cores import SPIN, bound_waiting, quotas_of, threads, usable_cores

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
