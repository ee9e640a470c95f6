"""The networks' dtype: what `precision` means on this device, and on a checkpoint of another."""

import platform
import time
from pathlib import Path
from typing import Any

import torch

from solvers.run.folder import RunError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # x86's two, and Arm's by its name in /proc/cpuinfo
GAIN = 1.2  # times as fast as in float32, that bf16 has to be where only a measurement can tell


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The networks' dtype. auto: bf16 where the device computes in it, else float32. Raises RunError."""
    if name == "auto":
        name = "bf16" if computes_in_bf16(device) else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise RunError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    return DTYPES[name]


def name_of(dtype: torch.dtype) -> str:
    """What a config calls it."""
    return next(name for name, value in DTYPES.items() if value == dtype)


def trained_in(state: dict[str, Any], device: torch.device) -> torch.dtype | None:
    """What a checkpoint of ours was trained in; None where that is not known, or this device has none of it.
    Those that hold auto are older than bf16 by itself on CPUs."""
    config = state.get("config")
    name = config.get("precision") if isinstance(config, dict) else None
    if device.type == "cpu" and name in ("auto", "fp16"):
        name = {"auto": "fp32"}.get(name)
    return DTYPES.get(name)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether this device has arithmetic of bf16, and does not only imitate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    said = instructions()
    return measured_gain() > GAIN if said is None else any(name in said for name in INSTRUCTIONS)


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str] | None:
    """What this processor says that it has; None where there is nobody to ask."""
    found = set()
    if hasattr(torch.cpu, "get_capabilities"):  # PyTorch 2.12 and newer
        found |= {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, names = line.partition(":")
        if key.strip() in ("flags", "Features"):  # of x86, of Arm
            return found | set(names.split())
    return found if found and platform.machine() in ("x86_64", "AMD64") else None


def measured_gain(size: int = 512, rounds: int = 3) -> float:
    """How many times as fast as in float32 a product of matrices is in bf16, here and now."""
    seconds = {dtype: float("inf") for dtype in (torch.float32, torch.bfloat16)}
    for dtype in seconds:
        a = torch.ones(size, size, dtype=dtype)
        a[:8] @ a  # kernels are made
        for _ in range(rounds):
            start = time.perf_counter()
            a @ a
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return seconds[torch.float32] / seconds[torch.bfloat16]
