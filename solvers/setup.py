"""Device, precision and backends, set once at the start."""

import torch

from configs.schema import Config
from solvers.run_folder import RunError


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


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The networks' dtype. auto: bf16 on a GPU that has it, float32 elsewhere. Raises RunError."""
    if name == "auto":
        name = (
            "bf16"
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else "fp32"
        )
    if name == "fp16" and device.type == "cpu":
        raise RunError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def prepare_backends(config: Config) -> None:
    """Threads and convolution algorithms. Deterministic ones, so that a resumed run is the same run, bit
    for bit."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
