"""Checkpoints: written whole or not at all, found by iteration or as the latest, and checked before they
are trusted."""

import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dataloader.packed import sync

FORMAT = 1
SUFFIX = "-checkpoint.pt"
ITERATION = ("iters", "total_it")  # ours and the IIAE reference's; that of DRIT's authors
# A network by itself, as the authors of pix2pix name it (5_net_G.pth) and those of StarGAN (200000-G.pth).
SINGLE = re.compile(r"(latest|\d+)(?:_(?=n)|-(?=[GD]))(net_\w+|[GD])\.pth")
UNREADABLE = (PermissionError, FileNotFoundError, IsADirectoryError)


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, broken or of something else; the message is one line that says what to
    do."""


def checkpoint_file(folder: Path, iteration: int) -> Path:
    return folder / f"{iteration:06d}{SUFFIX}"


def save_checkpoint(folder: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Write `state` as folder/000200-checkpoint.pt: beside it first, synced, then renamed."""
    path = checkpoint_file(folder, iteration)
    part = path.with_suffix(".part")
    torch.save({"format": FORMAT, "iters": iteration, **state}, part)
    sync(part)
    part.replace(path)
    sync(folder)
    return path


def remove_older(folder: Path, keep: int, spare: int | None = None) -> None:
    """Remove all checkpoints but the `keep` newest, none where that is 0, and that of iteration `spare`."""
    for iteration, old in checkpoints_in(folder)[keep:] if keep else ():
        if iteration != spare:
            old.unlink()


def checkpoints_in(folder: Path) -> list[tuple[int, Path]]:
    """(iteration, path) of every checkpoint in `folder`, newest first."""
    found = [(re.fullmatch(rf"(\d+){SUFFIX}", path.name), path) for path in folder.glob(f"*{SUFFIX}")]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def last_good(folder: Path, before: int) -> str:
    """In words the newest checkpoint in `folder` that is of an earlier iteration than `before`."""
    good = [path for iteration, path in checkpoints_in(folder) if iteration < before]
    return f"the last good checkpoint is {good[0]}" if good else "there is no checkpoint before it"


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
    if not isinstance(state, dict) or not any(isinstance(state.get(key), int) for key in ITERATION):
        raise CheckpointError(
            f"{path} is no checkpoint of this program or of a reference it knows: it has no iteration"
        )
    if state.get("format", FORMAT) != FORMAT:
        raise CheckpointError(f"{path} is of format {state['format']}, this program reads {FORMAT}")
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
    """What torch.save put into a file, tensors and plain values only. Raises CheckpointError."""
    try:
        if zipfile.is_zipfile(path):  # torch.load does not look at the sums that the file carries
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise CheckpointError(f"{path} cannot be loaded: it is damaged (in {damaged})")
        # The schedulers of the IIAE reference hold their milestones in a Counter.
        with torch.serialization.safe_globals([Counter]):
            return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = error.strerror if isinstance(error, UNREADABLE) else "it is truncated or damaged"
        raise CheckpointError(f"{path} cannot be loaded: {reason}") from None
    except CheckpointError:
        raise
    except (RuntimeError, EOFError, LookupError, ValueError, OSError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, UNREADABLE) else "it is truncated or damaged"
        raise CheckpointError(f"{path} cannot be loaded: {reason}") from None


def usable(where: Path, which: int | str, device: torch.device | str = "cpu") -> Iterator[tuple[Path, Any]]:
    """(path, state or the CheckpointError it gave) for each candidate in turn, the wanted one first."""
    for path in candidates(where, which):
        try:
            yield path, load_checkpoint(path, device)
        except CheckpointError as error:
            yield path, error


def restore(
    state: dict[str, Any],
    networks: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
) -> None:
    """Put a checkpoint's state into the networks and, where optimisers are given, into these and the scaler.
    Raises CheckpointError."""
    for name, network in networks.items():
        if name not in state["networks"]:
            raise CheckpointError(f"it holds no network {name!r}; it is of another model")
        try:
            network.load_state_dict(state["networks"][name])
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()[1:]]
            raise CheckpointError(
                f"it does not fit the config's resolution and network: {lines[0].rstrip('.')}"
            ) from None
    for name, optimizer in optimizers.items():
        ours = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        try:
            optimizer.load_state_dict(state["optimizers"][name])
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"its optimiser {name!r} does not fit: {error}") from None
        for group, options in zip(optimizer.param_groups, ours):
            group.update(options)  # the config's, not the checkpoint's
    if optimizers and state.get("scaler"):
        scaler.load_state_dict(state["scaler"])


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for part in folder.glob("*-checkpoint.part"):
        part.unlink()
