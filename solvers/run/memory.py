"""How much memory training takes: an estimate before the first step, and the peak at the end."""

import math
import resource
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dataloader.dataset import Batch
from dataloader.loader import TrainLoader
from solvers.run.parts import copies, part_of, put

if TYPE_CHECKING:
    from solvers.run.stepping import Stepping

MATTERS = 1 << 18  # values of an iteration's images, with fewer of which any machine has the memory
EVERYTHING = 0  # an iteration in which all learn that learn every so many iterations


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, as long as they are there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            for tensor in tree_leaves(made):
                if isinstance(tensor, Tensor):
                    self.see(tensor.untyped_storage(), args)
        return made

    def see(self, storage: torch.UntypedStorage, args: Iterable[Any]) -> None:
        key, size = id(storage), storage.nbytes()
        given = (arg.untyped_storage() for arg in tree_leaves(args) if isinstance(arg, Tensor))
        if key in self.known or any(storage is one for one in given):
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.gone, key, size)

    def gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


class Rehearsal:
    """Stands for `Parts` in a step that only counts: gradients are made and thrown away."""

    begins, number = False, 0

    def __init__(self, solver: "Stepping"):
        self.solver, self.count = solver, solver.training.accumulate

    def update(self, backward: Callable[[], None], names: Sequence[str], clip: float | None) -> None:
        self.solver.clear(names)
        backward()
        self.solver.clear(names)


def say_estimate(solver: "Stepping", loader: TrainLoader, iteration: int) -> None:
    """One line of what training will take from this iteration on, before it takes it, where images are large
    enough to matter; one more where that is not free. Of several processes none can tell by itself."""
    t, say = solver.training, solver.reporter.say
    values = 3 * math.prod(solver.config.size) * t.batch_size * len(solver.model.domains)
    if loader.world > 1 or values < MATTERS or iteration > t.max_iters:
        return
    solver.set_time(iteration)
    computed = activations(solver, loader.batch(loader.raw(iteration)))
    weights = size_of(p for network in solver.kept.values() for p in network.parameters())
    groups = (group for optimizer in solver.optimizers.values() for group in optimizer.param_groups)
    learning = size_of(p for group in groups for p in group["params"])
    wanted = (computed or 0) + 3 * learning  # gradients and two moments
    if t.accumulate > 1:  # copies of what changes
        wanted += 2 * (learning + size_of(b for net in solver.networks.values() for b in net.buffers()))
    room = free(solver.device)
    parts = [f"{spelled_bytes(weights)} of weights", f"{spelled_bytes(3 * learning)} of gradients and Adam"]
    parts.append("activations unknown" if computed is None else f"{spelled_bytes(computed)} of activations")
    say(f"Memory, about: {', '.join(parts)}" + ("" if room is None else f"; {spelled_bytes(room)} are free"))
    if room is not None and wanted > room:
        ways = "a smaller training.batch_size, training.accumulate or training.activation_checkpointing"
        say(f"Warning: training may run out of memory; {ways} takes less")


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes, of each tensor once."""
    return sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in tensors}.values())


def activations(solver: "Stepping", batch: Batch) -> int | None:
    """The most bytes that are there at once of this batch's images and of what an iteration computes from
    them, beside weights and what optimisers keep; None where that depends on what is computed. Nothing is:
    the step runs on tensors that have a shape and no content, and leaves everything as it was."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    live, part = Live(), part_of(batch, 0, solver.training.accumulate)
    before = copies(buffer for network in solver.networks.values() for buffer in network.buffers())
    solver.in_parts = Rehearsal(solver)
    try:
        with torch.compiler.set_stance("force_eager"), FakeTensorMode(allow_non_fake_inputs=True) as mode:
            images = tuple(map(mode.from_tensor, part.images))
            labels = tuple({name: mode.from_tensor(x) for name, x in known.items()} for known in part.labels)
            with live:
                solver.train_step(Batch(images, labels), EVERYTHING)
    except (RuntimeError, NotImplementedError, TypeError):  # as fake tensors say that they have no content
        return None
    finally:
        solver.in_parts = None
        put(before)
        for network in solver.networks.values():
            network.zero_grad(set_to_none=True)
    return live.most + size_of(batch.images)


def peak(device: torch.device) -> str:
    """The most memory that this process had, in words."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    text = f"{spelled_bytes(most)} of this process at most"
    if device.type == "cuda":
        text += f", {spelled_bytes(torch.cuda.max_memory_allocated(device))} of the GPU's"
    return text


def free(device: torch.device) -> int | None:
    """The bytes that tensors on this device may still take; None where the system does not tell."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        there = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return None
    group = Path("/sys/fs/cgroup")  # a container's own limit
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):
        return there
    return min(there, limit - used)


def spelled_bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"
