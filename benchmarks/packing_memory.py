"""How much memory packing takes, all its processes together, for a set of pictures and for a larger one."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from PIL import Image

from benchmarks.figures import add_json, check_json, write_json
from dataloader.packed import DataError
from dataloader.preprocessing import Parser, run, whole

ROOT = Path(__file__).resolve().parents[1]
EPILOG = """\
The pictures are one JPEG by many names (hard links), packed by dataloader/preprocess_afhq.py. Its
processes' proportional shares of memory are added up twenty times a second (Linux only).

example:
  python benchmarks/packing_memory.py --json memory.json
"""


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    check_json(options.json)
    if not Path("/proc/self/smaps_rollup").is_file():
        raise DataError("this system does not tell the memory of processes in /proc")
    figures: dict[str, float] = {}
    for count in (options.pictures, options.pictures * options.times):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            source = make_source(Path(folder), count, options.resolution)
            peak, seconds = pack(source, Path(folder) / "set", options.stored, options.workers)
        figures |= {f"packing/{count}_pictures/peak_mib": peak, f"packing/{count}_pictures/seconds": seconds}
        print(f"{count:,} pictures of {options.resolution}: {peak:,.0f} MiB at most, {seconds:,.0f} s")
    write_json(options.json, figures)


def parser() -> Parser:
    made = Parser("packing_memory.py", __doc__, EPILOG)
    add_json(made)
    made.add_argument(
        "--folder", metavar="DIR", type=Path, help="on whose disk to work; default: the temporary one"
    )
    for name, default, words in (
        ("pictures", 5000, "in the smaller set"),
        ("times", 10, "how many times as many in the larger"),
        ("resolution", 512, "of the pictures"),
        ("stored", 512, "what they are stored at"),
    ):
        made.add_argument(f"--{name}", metavar="N", type=whole, default=default, help=f"{words} ({default})")
    made.add_workers()
    return made


def make_source(folder: Path, count: int, size: int) -> Path:
    """AFHQ's layout, `count` pictures in all. A picture that is noise on a gradient, of a usual file size."""
    places = np.indices((size, size)).sum(0)[..., None] * np.array([0.2, 0.15, 0.1])
    noise = np.random.default_rng(0).normal(0, 12, (size, size, 3))
    one = folder / "one.jpg"
    Image.fromarray((places + noise + 60).clip(0, 255).astype(np.uint8)).save(one, quality=85)
    splits = {("train", "cat"): count - 3 * (count // 20), ("train", "dog"): count // 20}
    splits |= {("test", "cat"): count // 20, ("test", "dog"): count // 20}
    for (split, domain), number in splits.items():
        place = folder / "afhq" / split / domain
        place.mkdir(parents=True)
        for index in range(number):
            os.link(one, place / f"{index:06}.jpg")
    return folder / "afhq"


def pack(source: Path, target: Path, size: int, workers: int | None) -> tuple[float, float]:
    """Peak memory in MiB and seconds of one packing. Raises DataError where it fails."""
    command = [sys.executable, "dataloader/preprocess_afhq.py", source, target, "--resolution", size]
    if workers:
        command += ["--workers", workers]
    start, peak, done = time.monotonic(), 0.0, threading.Event()
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while running.poll() is None:
            peak = max(peak, sum(memory(pid) for pid in family(running.pid)) / 1024)
            done.wait(0.05)
        reason = running.stderr.read() if running.stderr else ""
    if running.returncode:
        raise DataError(f"packing failed: {reason.strip()}")
    return peak, time.monotonic() - start


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in family(int(child)))]


def memory(pid: int) -> int:
    """A process's proportional share of the memory in use, in KiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    facts = dict(line.split(":") for line in lines[1:])
    return int(facts["Pss"].split()[0])


if __name__ == "__main__":
    sys.exit(run(main))
