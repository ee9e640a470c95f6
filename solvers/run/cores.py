"""Which cores this process may use, how many of them other programs leave it, and how its threads wait for
each other. Loads no PyTorch: how OpenMP waits is settled when PyTorch loads it.
"""

import math
import os
import sys
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path

SPIN = 10_000  # turns of libgomp's waiting loop before a thread sleeps; its own choice is 300,000
SHORT = 0.5  # seconds in which too few ticks of a core pass to say who had it
WAITING = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "KMP_LIBRARY",
)  # whichever a user may have set


def bound_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads, once PyTorch is loaded, wait for each other awake for a moment only. Where
    another job holds a core, those that wait awake for the thread that has lost it hold the other cores for
    nothing. What the environment says already stays."""
    if not any(name in environment for name in WAITING):
        environment["GOMP_SPINCOUNT"] = str(SPIN)


def usable_cores(root: Path = Path("/")) -> int:
    """How many cores this process may use, at least 1: by its affinity and by the quota of its control group
    and of those above it, rounded up. `root` is where /proc and /sys are."""
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    quotas = quotas_of(root) if sys.platform.startswith("linux") else ()
    return max(1, min([cores, *map(math.ceil, quotas)]))


def quotas_of(root: Path) -> Iterator[float]:
    """The cores that each control group above this process leaves it, where one sets a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if not controllers:
            read, mounts = unified, ("", "unified")
        elif "cpu" in controllers.split(","):
            read, mounts = legacy, sorted({"cpu", controllers})
        else:
            continue
        for mount in mounts:
            top = root / "sys/fs/cgroup" / mount
            for folder in (top / above for above in folders_of(place)):
                try:
                    quota = read(folder)
                except (OSError, ValueError, IndexError, ZeroDivisionError):
                    continue  # not this version's files, or none here
                if quota is not None and quota > 0:
                    yield quota


def folders_of(place: str) -> list[str]:
    """A group's own folder and those above it, relative to where its kind is mounted. Of a place outside of a
    container's view, which begins with .., the top alone."""
    parts = [part for part in place.split("/") if part]
    if ".." in parts:
        return [""]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def unified(folder: Path) -> float | None:
    """Of version 2: "max 100000", or microseconds in each period and the period."""
    quota, period = (folder / "cpu.max").read_text().split()[:2]
    return None if quota == "max" else int(quota) / int(period)


def legacy(folder: Path) -> float | None:
    """Of version 1, where -1 is no limit."""
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())


def threads(wanted: int, beside: int = 1, root: Path = Path("/"), held: float = 0.0) -> int | None:
    """How many threads the networks get: as many as `wanted`, but no more than the cores this process may
    use; with 0, all of these but those that other programs have `held`, shared by `beside` processes here.
    None: OMP_NUM_THREADS has decided."""
    if wanted:
        return min(wanted, usable_cores(root))
    if os.environ.get("OMP_NUM_THREADS"):
        return None
    return max(1, math.floor(usable_cores(root) - held + 0.5) // beside)


class Load:
    """How much of the cores that this process may use other programs hold, from its making on. A thread that
    has to share its core makes all others wait for it at every operation, so that few threads on free cores
    are faster than many on held ones."""

    def __init__(self, root: Path = Path("/")):
        self.root = root
        self.before = self.now()

    def now(self) -> tuple[float, float, float] | None:
        """Seconds by the clock, those in which the cores worked, and those in which they did for this
        process; None where the system does not tell."""
        try:
            lines = (self.root / "proc/stat").read_text().splitlines()
            usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
            ticks = 0
            for name, *counts in (line.split() for line in lines):
                if name in usable:
                    user, nice, system, _idle, _waiting, *rest = map(int, counts)
                    ticks += user + nice + system + sum(rest[:3])  # interrupts, and what other guests took
            mine = os.times()
            busy = ticks / os.sysconf("SC_CLK_TCK")
            return time.monotonic(), busy, mine.user + mine.system + mine.children_user + mine.children_system
        except (OSError, ValueError, AttributeError):
            return None

    def held(self) -> float:
        """By how many cores' work others kept them busy, on average; 0 where that is not known or it was
        watched for less than half a second."""
        now = self.now()
        if self.before is None or now is None or now[0] - self.before[0] < SHORT:
            return 0.0
        clock, busy, mine = (new - old for new, old in zip(now, self.before))
        return max(0.0, (busy - mine) / clock)


SINCE_START = Load()  # the program imports this before PyTorch, whose loading is time enough to tell
