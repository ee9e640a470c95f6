"""What a model's solver builds its networks and steps with: where they are placed, how they learn."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from configs.keys.common import Config, Training
from solvers.run import distributed


class Stepping:
    """The part of a Solver that a model's own may use."""

    config: Config
    training: Training
    device: torch.device
    precision: torch.dtype
    scaler: torch.amp.GradScaler
    optimizers: dict[str, torch.optim.Optimizer]

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory format and with the compilation that the config asks
        for."""
        on_gpu = self.device.type == "cuda"
        network.to(self.device, memory_format=torch.channels_last if on_gpu else torch.contiguous_format)
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

    def update(self, loss: Tensor, *names: str, clip: float | None = None) -> None:
        """Clear gradients, go backward from `loss`, and `step` the optimisers of these names."""
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.step(*names, clip=clip)

    def step(self, *names: str, clip: float | None = None) -> None:
        """Average the gradients there are over processes, shorten each optimiser's to the norm `clip` where
        one is given, and step the optimisers of these names. A loss came through `scaler.scale`."""
        for name in names:
            optimizer = self.optimizers[name]
            given = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if not given:
                continue  # it holds still at this moment, as a mixture before its start
            distributed.average_gradients(given)
            if clip is not None:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(given, clip)
            self.scaler.step(optimizer)
        self.scaler.update()
