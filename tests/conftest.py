"""Shared by the tests: a tiny data set made of real digits, a tiny experiment, and runs of the program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dataloader.cdcb import pack_digits

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"  # development data; tests that use it are skipped where it is not
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "Digits-CDCB"
    pack_digits(folder)
    return folder


@pytest.fixture
def experiment(digits_folder: Path, tmp_path: Path) -> dict:
    """An IIAE experiment that takes a second or two: 32 x 32, four channels, ten iterations."""
    return {
        "id": "tiny",
        "model": "IIAE",
        "dataset": "Digits-CDCB",
        "path_to_data": str(digits_folder),
        "resolution": 32,
        "output_dir": str(tmp_path / "runs"),
        "device": "cpu",
        "threads": 1,
        "training": {
            "max_iters": 10,
            "batch_size": 8,
            "print_freq": 5,
            "sample_freq": 10,
            "model_save_freq": 5,
        },
        "test": {"batch_size": 128, "after_training": False},
        "network": {"base_width": 4, "shared_dim": 16},
    }


@pytest.fixture
def config_file(experiment: dict, tmp_path: Path) -> Path:
    return write_config(experiment, tmp_path / "tiny.json")


def write_config(values: dict, path: Path) -> Path:
    path.write_text(json.dumps(values))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]


def run_program(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    """main.py in a process of its own, as a person runs it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment, timeout=300, **options
    )


def same_tensors(a: object, b: object) -> bool:
    """Whether two nested states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same_tensors(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_tensors, a, b))
    return a == b
