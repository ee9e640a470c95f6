"""Checkpoints: written whole or not at all, found by iteration or as the latest, and checked before they
are trusted."""

import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from configs.keys.common import Config
from dataloader.packed import sync
from solvers.run.folder import RunFolder, find_run, new_run
from solvers.run.shortage import whole

FORMAT = 1
SUFFIX = "-checkpoint.pt"
ITERATION = ("iters", "total_it")  # ours and the IIAE reference's; that of DRIT's authors
# A network by itself, as the authors of pix2pix name it (5_net_G.pth) and those of StarGAN (200000-G.pth).
SINGLE = re.compile(r"(latest|\d+)(?:_(?=n)|-(?=[GD]))(net_\w+|[GD])\.pth")
UNREADABLE = (PermissionError, FileNotFoundError, IsADirectoryError)
PROPORTION = 2  # of an archive's size, the most that may come out of it


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, broken or of something else; the message is one line that says what to
    do."""


class Misfit(CheckpointError):
    """A sound checkpoint of another model, resolution or width; so are those beside it."""


def checkpoint_file(folder: Path, iteration: int) -> Path:
    return folder / f"{iteration:06d}{SUFFIX}"


def save_checkpoint(folder: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Write `state` as folder/000200-checkpoint.pt: beside it first, synced, then renamed. Raises
    Shortage."""
    path = checkpoint_file(folder, iteration)
    with whole(path, path.with_suffix(".part"), size_of(state)) as part, part.open("wb") as file:
        torch.save({"format": FORMAT, "iters": iteration, **state}, file)
    sync(folder)
    return path


def size_of(state: Any) -> int:
    """The bytes of the tensors in a nested dict."""
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(size_of, state.values())) if isinstance(state, dict) else 0


def remove_older(folder: Path, keep: int, spare: int | None = None) -> None:
    """Remove all checkpoints but the `keep` newest, none where that is 0, and that of iteration `spare`."""
    for iteration, old in checkpoints_in(folder)[keep:] if keep else ():
        if iteration != spare:
            old.unlink()


def checkpoints_in(folder: Path) -> list[tuple[int, Path]]:
    """(iteration, path) of every checkpoint in `folder`, newest first."""
    found = [(re.fullmatch(rf"(\d+){SUFFIX}", path.name), path) for path in folder.glob(f"*{SUFFIX}")]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def last_good(folder: Path, before: float = float("inf")) -> str:
    """In words the newest checkpoint in `folder` that is of an earlier iteration than `before`."""
    good = [path for iteration, path in checkpoints_in(folder) if iteration < before]
    return f"the last good checkpoint is {good[0]}" if good else "there is no checkpoint before it"


def choose_run(config: Config) -> tuple[RunFolder, Path | None]:
    """The folder that training writes to, and the place of the checkpoint that the config asks to go on
    from, None for none. Raises CheckpointError, RunError."""
    t = config.training
    if t.restored_model_path:
        return new_run(config), Path(t.restored_model_path)
    found = find_run(config) if t.resume_iters != 0 else None
    if found is None or not any(found.models.glob(f"*{SUFFIX}")):
        if t.resume_iters not in (0, "latest"):
            raise CheckpointError(
                f"no run of {config.id} has a checkpoint to resume; set training.restored_model_path"
            )
        return new_run(config), None
    return found, found.root


def candidates(where: Path, which: int | str) -> list[Path]:
    """The files that `where` (a run folder, its models/ folder or a .pt file) has for iteration `which`, or
    all of them newest first for "latest". A folder may hold networks by themselves instead, of which one
    stands for all. Raises CheckpointError where there is none."""
    if where.is_file():
        return [where]
    found = checkpoints_in(where / "models") or checkpoints_in(where)
    if not found and (single := newest_single(where)):
        return [single]
    if not found:
        what = (
            "has no *-checkpoint.pt, neither in it nor in its models folder"
            if where.exists()
            else "does not exist"
        )
        raise CheckpointError(f"{where} {what}; give a run folder or a checkpoint file")
    if which == "latest":
        return [path for _, path in found]
    chosen = [path for iteration, path in found if iteration == which]
    if not chosen:
        there = ", ".join(str(iteration) for iteration, _ in found[:8])
        raise CheckpointError(
            f"{where} has no checkpoint of iteration {which}; there are: {there} (or say latest)"
        )
    return chosen


def newest_single(folder: Path) -> Path | None:
    """Of the networks by themselves in a folder one of the latest, or of the last epoch."""
    found = [(match, path) for path in sorted(folder.glob("*.pth")) if (match := SINGLE.fullmatch(path.name))]
    age = {path: float("inf") if match[1] == "latest" else int(match[1]) for match, path in found}
    return max(age, key=age.__getitem__, default=None)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The dict in one checkpoint, tensors and plain values only. A file that holds one network by itself is
    of iteration 0; "single" has it, and those of the same age beside it, by name (epoch_NAME.pth), or by ""
    where the file is named otherwise. Raises CheckpointError."""
    state = read(path, device)
    if is_single(state):
        name = SINGLE.fullmatch(path.name)
        if name is None:
            return {"iters": 0, "single": {"": state}}
        named = ((SINGLE.fullmatch(other.name), other) for other in sorted(path.parent.glob("*.pth")))
        beside = {match[2]: other for match, other in named if match and match[1] == name[1]}
        return {"iters": 0, "single": {part: read(other, device) for part, other in beside.items()}}
    iterations = [state[key] for key in ITERATION if key in state] if isinstance(state, dict) else []
    if not any(type(iteration) is int and iteration >= 0 for iteration in iterations):
        raise CheckpointError(
            f"{path} is no checkpoint of this program or of a reference it knows: it has no iteration"
        )
    version = state.get("format", FORMAT)
    if type(version) is not int or version != FORMAT:
        raise CheckpointError(f"{path} is of format {str(version)[:20]}, this program reads {FORMAT}")
    return state


def is_single(state: Any) -> bool:
    """Whether this is the state_dict of one network."""
    return isinstance(state, dict) and bool(state) and all(map(torch.is_tensor, state.values()))


def fitted(weights: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state_dict of a network from a file of any age in the form of `ours`: without the "module." of
    DataParallel, without the running statistics that InstanceNorm once had, with the count of batches that
    BatchNorm once had not."""
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    kept = {
        name: tensor
        for name, tensor in weights.items()
        if name in ours or name.rpartition(".")[2] not in statistics
    }
    counts = {name: tensor for name, tensor in ours.items() if name.endswith("num_batches_tracked")}
    return {**counts, **kept}


def read(path: Path, device: torch.device | str) -> Any:
    """What torch.save put into a file, tensors and plain values only. Raises CheckpointError, whatever the
    file is."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(
                f"{path} cannot be loaded: it is {'a folder' if path.is_dir() else 'no file'}"
            )
        if zipfile.is_zipfile(path):
            check_archive(path)
        # The schedulers of the IIAE reference hold their milestones in a Counter.
        with torch.serialization.safe_globals([Counter]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old forms, in files that may be anything
            return torch.load(path, map_location=device, weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # unpickling a forged file may raise any
        reason = error.strerror if isinstance(error, UNREADABLE) else "it is truncated or damaged"
        raise CheckpointError(f"{path} cannot be loaded: {reason}") from error


def check_archive(path: Path) -> None:
    """Whether a zip file is as long as what it holds, and has the sums that it carries, at which torch.load
    does not look. Raises CheckpointError."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > PROPORTION * path.stat().st_size:  # torch.save does not compress
            raise CheckpointError(f"{path} cannot be loaded: {unpacked:,} bytes would come out of it")
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"{path} cannot be loaded: it is damaged (in {damaged})")


def load_first(
    where: Path,
    which: int | str,
    accept: Callable[[dict[str, Any]], dict[str, Any]],
    say: Callable[[str], None],
) -> tuple[Path, dict[str, Any]]:
    """The wanted checkpoint and what `accept` makes of it. With "latest" one that is broken, as `accept` may
    find, too, is passed over with a warning for the one before. Raises CheckpointError."""
    fault: CheckpointError | None = None
    for path in candidates(where, which):
        state = None
        try:
            state = load_checkpoint(path)
            state = accept(state)
        except CheckpointError as error:
            told = error if state is None else type(error)(f"{path}: {error}")
            if which != "latest" or isinstance(error, Misfit):
                raise told from None
            say(f"Warning: {told}; trying the one before")
            fault = fault or told
            continue
        if which not in ("latest", state["iters"]):
            raise CheckpointError(f"{path} is of iteration {state['iters']}, not {which}")
        return path, state
    assert fault is not None
    raise fault


@contextmanager
def untrusted() -> Iterator[None]:
    """What goes wrong inside is the fault of a checkpoint whose parts are not what they should be. Raises
    CheckpointError."""
    try:
        yield
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise CheckpointError("it is damaged: its parts are of other kinds than they should be") from error


def restore(
    state: dict[str, Any],
    networks: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
) -> None:
    """Put a checkpoint's state into the networks and, where optimisers are given, into these and the scaler.
    Raises CheckpointError, of class Misfit where the checkpoint is sound and of something else."""
    with untrusted():
        given, saved = state["networks"], state.get("optimizers", {})
        for name, network in networks.items():
            if name not in given:
                raise Misfit(f"it holds no network {name!r}; it is of another model")
            load_network(network, name, given[name])
        for name, optimizer in optimizers.items():
            load_optimizer(optimizer, name, saved.get(name))
        if optimizers and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])


def load_network(network: nn.Module, name: str, weights: dict[str, Tensor]) -> None:
    """Raises CheckpointError."""
    check_tensors(weights, f"network {name}")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise Misfit(f"it does not fit the config's resolution and network: {shortened(lines[0])}") from None
    if not all(map(finite, network.state_dict().values())):
        raise CheckpointError(f"network {name} has weights that are NaN or infinite")


def load_optimizer(optimizer: torch.optim.Optimizer, name: str, saved: dict[str, Any] | None) -> None:
    """The moments of a checkpoint with the config's options. Raises CheckpointError."""
    ours = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    if saved is None:
        raise Misfit(f"its optimiser {name!r} is missing")
    if not isinstance(saved, dict) or not isinstance(saved.get("state"), dict):
        raise CheckpointError(f"it is damaged: optimiser {name} has no table of moments")
    for key, moments in saved["state"].items():
        check_tensors({k: v for k, v in moments.items() if k != "step"}, f"optimiser {name}, {key}")
    try:
        optimizer.load_state_dict(saved)
    except ValueError as error:
        raise Misfit(f"its optimiser {name!r} does not fit: {shortened(str(error))}") from None
    for group, options in zip(optimizer.param_groups, ours):
        group.update(options)  # the config's, not the checkpoint's
    needed = moments_of(optimizer)
    for parameter, moments in optimizer.state.items():
        if lacking := needed - moments.keys():
            raise Misfit(f"its optimiser {name!r} does not fit: it has no {', '.join(sorted(lacking))}")
        for key, tensor in moments.items():
            if torch.as_tensor(tensor).shape != (() if key == "step" else parameter.shape):
                raise Misfit(f"its optimiser {name!r} does not fit: {key} has another shape than its weight")
            if not finite(torch.as_tensor(tensor)):
                raise CheckpointError(f"optimiser {name} has moments that are NaN or infinite")


def moments_of(optimizer: torch.optim.Optimizer) -> set[str]:
    """The names of what this optimiser keeps for a parameter, from a step of one of its kind."""
    options = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    toy = type(optimizer)([{"params": [parameter], **options}], lr=0.0)
    toy.step()
    return set(toy.state[parameter])


def shortened(line: str) -> str:
    return shorten(line.rstrip("."), 200, placeholder=" ...")


def check_tensors(tensors: dict[str, Tensor], what: str) -> None:
    """Whether these are plain tensors by name. Raises CheckpointError."""
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided
        for key, tensor in tensors.items()
    ):
        raise CheckpointError(f"it is damaged: {what} is no table of tensors")


def finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for part in folder.glob("*-checkpoint.part"):
        part.unlink()
