"""Shared by the tests: a tiny data set made of real digits, a tiny experiment, and runs of the program."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from PIL import Image

from configs.load import validate
from dataloader.cdcb import pack_digits
from dataloader.preprocessing import run
from solvers import Solver, make_solver
from solvers.run import precision

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"  # development data; tests that use it are skipped where it is not
FUZZ = int(os.environ.get("FUZZ", "1"))  # how many times as many examples as usual the fuzzing tests take
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "Digits-CDCB"
    pack_digits(folder)
    return folder


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything in float64: two right computations then differ by little, also where Adam divides a gradient
    of nearly nothing."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session", autouse=True)
def auto_is_float32() -> Iterator[None]:
    """What `precision` auto means differs between processors; tests mean float32 where they don't say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "computes_in_bf16", lambda device: False)
        yield


@pytest.fixture
def experiment(digits_folder: Path, tmp_path: Path) -> dict:
    """An IIAE experiment that takes a second or two: 32 x 32, four channels, ten iterations."""
    return tiny_experiment(digits_folder, tmp_path)


@pytest.fixture(scope="session")
def finished_run(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that experiment's run, trained and not tested."""
    folder = tmp_path_factory.mktemp("finished")
    values = tiny_experiment(digits_folder, folder) | {"run_dir": str(folder / "run")}
    make_solver(validate(values, "tiny")).train()
    return folder / "run"


def tiny_experiment(digits_folder: Path, tmp_path: Path) -> dict:
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
        "test": {"batch_size": 128, "after_training": False, "extractors": [], "classifier_iterations": 2},
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


def restored(solver: Solver) -> int:
    """Load the checkpoint that the config asks to go on from; its iteration."""
    return solver.load(solver.choose_run(), solver.training.resume_iters)


def noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    """Two domains, of wide and of high pictures."""
    root = tmp_path / "set"
    for number, (width, height) in enumerate(((90, 50), (40, 70))):
        for split in ("train", "test"):
            folder = root / f"{split}{'AB'[number]}"
            folder.mkdir(parents=True)
            for index in range(4):
                noise(10 * number + index, width, height).save(folder / f"{index}.png")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refusal(capsys: pytest.CaptureFixture, main: Callable[[list[str]], None], *arguments: object) -> str:
    """The one line by which a preprocessing refuses these arguments."""
    assert run(main, [str(argument) for argument in arguments]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def killed(function: Callable[[], object]) -> int:
    """The exit code of a process of its own that runs `function`."""
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    process.join(600)
    return process.exitcode


def lines_until_kill(action: Callable[[], object], at: int | None) -> int:
    """Do it in a child that SIGKILLs itself at the `at`-th line it comes to in dataloader/; with None, do it
    here and count the lines."""
    seen = 0

    def trace(frame: FrameType, event: str, _: object):
        nonlocal seen
        if Path(frame.f_code.co_filename).parent.name != "dataloader":
            return None
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            action()
        finally:
            sys.settrace(before)

    if at is None:
        traced()
        return seen
    assert killed(traced) == -signal.SIGKILL
    return at


def moments(lines: int, count: int, late: Iterable[int]) -> list[int]:
    """When to kill: `count` lines spread over all of them, and each of `late` counted from the end."""
    return sorted({*np.linspace(1, lines, count).astype(int).tolist(), *(lines - back for back in late)})


def check_killed_anywhere(
    action: Callable[[Path], int], folder: Path, count: int = 4, late: Iterable[int] = (6,)
) -> None:
    """That `action`, which makes a set at the path it is given, leaves all or nothing when it is killed, and
    makes the same bytes when it is run again as on a first run."""
    clean, target = folder / "clean" / "set", folder / "killed" / "set"
    lines = lines_until_kill(lambda: action(clean), None)
    expected = contents(clean)
    for moment in moments(lines, count, late):
        lines_until_kill(lambda: action(target), moment)
        assert not target.exists() or contents(target) == expected
        assert action(target) == 0 and contents(target) == expected
        assert [path.name for path in target.parent.iterdir()] == ["set"]
        shutil.rmtree(target)
