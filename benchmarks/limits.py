"""What a machine can do at most, measured: operations a second in large matrix products and in a convolution
of a good shape; how many operations something takes; and which machine it is."""

import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # of square matrices
SECONDS = 1.0  # that each product and each convolution is tried for
MAPS = {"cpu": (4, 256, 64), "cuda": (64, 256, 128)}  # batch, channels, side of a convolution 3x3


class Limit(NamedTuple):
    gflops: float  # 10^9 operations a second, a multiplication and an addition being two
    by: str  # what reached it


def wait(device: torch.device) -> None:
    """Until all work that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def fastest_cudnn() -> Iterator[None]:
    """cuDNN takes the fastest of its algorithms, deterministic or not."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = True, False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


class Operations(TorchDispatchMode):
    """Counts, while it is entered, the operations of convolutions and products, backward passes included, by
    PyTorch's own formulas. FlopCounterMode, whose they are, fails at a gradient of a gradient."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def measure(device: torch.device, precision: str, clock: Callable[[], float]) -> Limit:
    """The best of matrix products and convolutions, each tried for about SECONDS, at least three times.

    Of float32, convolutions and products run as PyTorch has them by default: on a GPU the former by TF32.
    """
    dtype, found = DTYPES[precision], []
    with torch.no_grad():
        for side in SIDES[device.type]:
            a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
            speed = best(lambda a=a, b=b: a @ b, 2 * side**3, device, clock)
            found.append(Limit(speed, f"product of {side} x {side} matrices"))
        batch, channels, side = MAPS[device.type]
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
            w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
            x, w = x.to(memory_format=layout), w.to(memory_format=layout)
            count = 2 * 9 * channels**2 * side**2 * batch
            with fastest_cudnn():
                speed = best(lambda x=x, w=w: F.conv2d(x, w, padding=1), count, device, clock)
            name = str(layout).removeprefix("torch.")
            found.append(Limit(speed, f"convolution 3x3 of {batch} x {channels} x {side} x {side}, {name}"))
    return max(found)


def measured(device: torch.device, clock: Callable[[], float]) -> dict[str, Limit]:
    """`measure` in each precision, by its name."""
    return {precision: measure(device, precision, clock) for precision in DTYPES}


def best(run: Callable[[], object], count: int, device: torch.device, clock: Callable[[], float]) -> float:
    """10^9 operations a second at best, of a `run` that is `count` operations."""
    run()
    wait(device)
    times, begun = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < SECONDS:
        start = clock()
        run()
        wait(device)
        times.append(clock() - start)
    return count / max(min(times), 1e-9) / 1e9


def machine(device: torch.device) -> str:
    """The processor in words, as figures are to be read beside it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


def processor() -> str:
    """Its name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def header(device: torch.device, arguments: list[str]) -> str:
    """One line that says what ran where, when and how."""
    script = Path(sys.argv[0]).name
    command = " ".join(["python", f"benchmarks/{script}", *arguments])
    date = datetime.now().strftime("%Y-%m-%d %H:%M")
    return f"{machine(device)}; PyTorch {torch.__version__}; {date}; `{command}`"
