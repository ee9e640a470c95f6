"""What a model's solver builds its networks and steps with: where they are placed, how they learn."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from configs.keys.common import Config, Training
from dataloader.dataset import Batch
from models.translator import Translator
from solvers.run.average import follow
from solvers.run.batchnorm import share_statistics
from solvers.run.gradients import average, averaged
from solvers.run.memory import Rehearsal
from solvers.run.parts import Parts
from solvers.run.precision import name_of, trained_in
from solvers.run.reporter import Reporter
from solvers.run.setup import set_threads


class Stepping:
    """The part of a Solver that a model's own may use."""

    config: Config
    training: Training
    device: torch.device
    precision: torch.dtype
    scaler: torch.amp.GradScaler
    reporter: Reporter
    rank: int
    world: int
    networks: dict[str, nn.Module]
    model: Translator
    average: Translator | None  # of training.ema
    optimizers: dict[str, torch.optim.Optimizer]
    in_parts: Parts | Rehearsal | None = None  # while an iteration's batch is taken in parts
    fewer_threads: int  # than there are cores, since others hold these; 0: as the config says

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory format and with the compilation that the config asks
        for."""
        on_gpu = self.device.type == "cuda"
        network.to(self.device, memory_format=torch.channels_last if on_gpu else torch.contiguous_format)
        if self.world > 1 and self.training.sync_batchnorm:
            share_statistics(network)
        if self.config.compile:
            network.compile()
        return network

    def adam(self, parameters: Iterable[nn.Parameter], lr_scale: float = 1.0) -> torch.optim.Adam:
        """Adam as the config says; its learning rate, times `lr_scale`, is set anew each iteration."""
        t = self.training
        group, betas = {"params": list(parameters), "lr_scale": lr_scale}, (t.beta1, t.beta2)
        return torch.optim.Adam([group], lr=t.lr, betas=betas, weight_decay=t.weight_decay, fused=True)

    def autocast(self) -> torch.autocast:
        """The networks' precision. Losses belong outside, in float32."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    @property
    def settled(self) -> Config:
        """The config with what it left open, precision and threads, as these came to be: so it is kept."""
        found: dict[str, Any] = {"precision": name_of(self.precision)}
        return self.config.model_copy(
            update=found | ({"threads": self.fewer_threads} if self.fewer_threads else {})
        )

    def keep_threads(self, state: dict[str, Any]) -> None:
        """Where the config leaves their number open, one process takes as many as a checkpoint was trained
        with, whatever others hold now: sums over more parts are rounded otherwise."""
        config = state.get("config")
        before = config.get("threads") if isinstance(config, dict) else None
        known = isinstance(before, int) and 0 <= before <= 1024
        if self.config.threads or self.world > 1 or not known:
            return
        count = set_threads(before)
        if before != self.fewer_threads:
            self.reporter.say(f"Threads: {count}, as the checkpoint was trained; threads=... changes it")
        self.fewer_threads = before

    def keep_precision(self, state: dict[str, Any]) -> None:
        """Where the config leaves the precision open, go on in the one that a checkpoint was trained in."""
        before = trained_in(state, self.device)
        if self.config.precision != "auto" or before in (None, self.precision):
            return
        self.precision = before
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=before == torch.float16)
        name = name_of(before)
        self.reporter.say(f"The checkpoint was trained in {name}, which is kept; precision=... changes it")

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """One iteration; its losses by name, as detached scalar tensors on the device. Not every iteration
        needs to have every loss: what is logged is the newest of each."""
        raise NotImplementedError

    def update(self, loss: Tensor, *names: str, clip: float | None = None) -> None:
        """Clear gradients, go backward from `loss`, and `step` the optimisers of these names."""
        share = loss if self.in_parts is None else loss / self.in_parts.count
        self.learn(lambda: self.scaler.scale(share).backward(), *names, clip=clip)

    def give(self, gradients: Mapping[str, Iterable[tuple[nn.Parameter, Tensor]]]) -> None:
        """Clear gradients, take these, by optimiser, and `step`. They came through `scaler.scale`."""

        def add() -> None:
            for parameter, gradient in chain.from_iterable(gradients.values()):
                share = gradient if self.in_parts is None else gradient / self.in_parts.count
                parameter.grad = share if parameter.grad is None else parameter.grad + share

        self.learn(add, *gradients)

    def learn(self, backward: Callable[[], None], *names: str, clip: float | None = None) -> None:
        """One update, to whose gradients `backward` adds: at once, or when all parts of the batch did."""
        if self.in_parts is not None:
            self.in_parts.update(backward, names, clip)
            return
        self.clear(names)
        with averaged(self.optimizers[name] for name in names):
            backward()
        self.step(*names, clip=clip, averages=True)

    def clear(self, names: Iterable[str]) -> None:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)

    def step(self, *names: str, clip: float | None = None, averages: bool = False) -> None:
        """Average the gradients there are over processes, unless they are `averages` already, shorten each
        optimiser's to the norm `clip` where one is given, and step the optimisers of these names. A loss came
        through `scaler.scale`."""
        for name in names:
            optimizer = self.optimizers[name]
            given = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if not given:
                continue  # it holds still at this moment, as a mixture before its start
            if not averages:
                average(given)
            if clip is not None:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(given, clip)
            self.scaler.step(optimizer)
        self.scaler.update()

    def one_iteration(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """`train_step`, of the whole batch or, with training.accumulate, of its parts; then the averaged
        weights follow."""
        losses = self.whole_or_in_parts(batch, iteration)
        if self.average is not None:
            follow(self.average, self.model, self.training.ema, iteration)
        return losses

    def whole_or_in_parts(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        if self.training.accumulate == 1:
            return self.train_step(batch, iteration)
        self.in_parts = Parts(self, self.training.accumulate)
        try:
            return self.in_parts.run(batch, iteration)
        finally:
            self.in_parts = None

    @property
    def begins(self) -> bool:
        """Whether what an iteration does once, before its first update, is to be done now."""
        return self.in_parts is None or self.in_parts.begins

    def of_part(self, values: Tensor) -> Tensor:
        """Of values for the images of the whole batch those for the part that runs."""
        return values if self.in_parts is None else values.chunk(self.in_parts.count)[self.in_parts.number]
