"""Device, backends, threads and memory, set once at the start; and what versions run."""

import ctypes
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from configs.keys.common import Config
from solvers.run.cores import SINCE_START, threads, usable_cores
from solvers.run.distributed import local_world
from solvers.run.folder import RunError


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """The device that the config names; auto is this process's GPU where there is one. Raises RunError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RunError(f"device {name}: this machine's PyTorch sees no GPU; use device=auto or device=cpu")
    index = int(name.partition(":")[2] or local_rank)
    if index >= torch.cuda.device_count():
        raise RunError(f"device cuda:{index}: there are {torch.cuda.device_count()} GPUs, numbered from 0")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def prepare_backends(config: Config) -> int:
    """Threads, memory and convolution algorithms; deterministic ones, so that a resumed run is the same, bit
    for bit. How many threads there are where other programs hold so much of the cores that these are fewer
    than otherwise, else 0."""
    held = 0.0 if config.threads or local_world() > 1 else SINCE_START.held()
    count, all_cores = set_threads(config.threads, held), threads(config.threads, local_world())
    keep_freed_memory()
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return count if all_cores is not None and count < all_cores else 0


def set_threads(wanted: int, held: float = 0.0) -> int:
    """As cores.threads says; how many there are then."""
    if (count := threads(wanted, local_world(), held=held)) is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def about_threads(count: int) -> str | None:
    """What a person is told where `prepare_backends` took fewer."""
    if not count:
        return None
    cores = usable_cores()
    return f"Other programs hold the cores: {count} of {cores} threads; threads={cores} takes all"


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>


def keep_freed_memory(size: int = 1 << 30) -> None:
    """Let this process use the memory of freed tensors again. glibc would give those of more than some
    megabytes back after each batch and have every page made anew, which takes longer than rendering the
    batch. Where the C library is another, nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return
    for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        mallopt(parameter, size)


def versions() -> dict[str, str]:
    """What ran: Python and the libraries that decide the numbers."""
    found = {"python": platform.python_version(), "platform": sys.platform}
    for name in ("torch", "numpy", "scikit-learn", "pydantic"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
