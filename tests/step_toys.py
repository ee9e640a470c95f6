"""What tests of training steps share: a tiny solver of any model, its training, and the memory it takes."""

from collections.abc import Callable

import numpy as np
import torch
from drit_toys import toy_pictures
from torch.profiler import ProfilerActivity, profile

from configs.keys import MODELS
from configs.load import validate
from dataloader.attributed import Attributed
from dataloader.loader import TrainLoader
from solvers import solver_class

PAIRED, ATTRIBUTED = ("pix2pix", "BicycleGAN", "IIAE"), ("StarGAN", "VAEGAN")
BATCH = 8


def solver_of(model: str, folder, network: dict, training: dict, batch_size: int = BATCH, **top):
    """A solver on 32 x 32 windows of photographs, or on coloured digits where it takes pairs."""
    data = (
        {"dataset": "Digits-CDCB", "path_to_data": str(folder)} if model in PAIRED else {"dataset": "Folders"}
    )
    top = {"id": "parts", "model": model, "resolution": 32, "device": "cpu", "threads": 1, **data, **top}
    training = {"batch_size": batch_size, "max_iters": 3, **training}
    sections = {"training": training, "network": network, "test": {"after_training": False}}
    config = validate({**top, **sections}, "parts")

    class Windows(solver_class(MODELS[model])):
        def open_split(self, split: str):
            if model not in ATTRIBUTED:
                return toy_pictures(9, config.size, 2)
            stack, *_ = toy_pictures(9, config.size, 2).read(np.arange(9), np.arange(9)).values()
            stack = stack.numpy()
            return Attributed(stack, (stack[:, 0, 0] > 127).astype(np.uint8), ("r", "g", "b"), 32, flip=False)

    return (solver_class(config) if model in PAIRED else Windows)(config)


def learnt(solver, iterations: int = 3, size: int = BATCH) -> list[dict[str, float]]:
    """Train it; the losses of each iteration."""
    loader = TrainLoader(solver.train_set, size, 0, solver.device, workers=0)
    losses = []
    for iteration in range(1, iterations + 1):
        solver.set_time(iteration)
        batch = loader.batch(loader.raw(iteration))
        batch = batch._replace(images=tuple(x.to(torch.get_default_dtype()) for x in batch.images))
        losses.append({name: x.item() for name, x in solver.one_iteration(batch, iteration).items()})
    return losses


def tensors(solver) -> list[torch.Tensor]:
    return [x for network in solver.networks.values() for x in network.state_dict().values()]


def peak_memory(action: Callable[[], object]) -> int:
    """The most bytes of tensors that were there at once while it ran, beside those from before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        action()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    there = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        there += event.nbytes()
        most = max(most, there)
    return most
