"""pix2pix's losses and training step (arXiv 1611.07004), and the reading of its authors' files."""

from typing import Any

import torch
from torch import Tensor

from dataloader.dataset import Batch
from models.discriminators import Patches
from models.pix2pix import Pix2Pix
from solvers.losses import GAN_LOSSES, frozen
from solvers.run.checkpoint import fitted
from solvers.solver import Solver


class Pix2PixSolver(Solver):
    """The made image, detached, teaches the discriminator, which sees pairs; then it is frozen while the same
    image teaches the generator."""

    model: Pix2Pix

    def build(self) -> None:
        domains, net, size = self.test_set.domains, self.config.network, self.config.size
        if not self.test_set.paired or len(domains) != 2:
            raise ValueError("pix2pix learns from pairs of two domains, which this data set does not have")
        shape = net.model_dump(exclude={"dis_width", "dis_layers"})
        self.model = Pix2Pix(size, domains, **shape)
        self.networks["net_G"] = self.place(self.model.net_G)
        self.networks["net_D"] = self.place(Patches(size, 6, net.dis_width, net.norm, net.dis_layers))
        for name, network in self.networks.items():
            self.optimizers[name] = self.adam(network.parameters())

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        x, y = batch.images
        with self.autocast():
            made = self.model.net_G(x)
        dis_fake, dis_real = self.judge(x, made.detach(), 0.0), self.judge(x, y, 1.0)
        self.update((dis_fake + dis_real) / 2, "net_D")
        with frozen(self.networks["net_D"]):
            adv = self.judge(x, made, 1.0)
        l1 = (made.float() - y).abs().mean()
        total = adv + self.training.lambda_L1 * l1
        self.update(total, "net_G")
        losses = {"total": total, "adv": adv, "l1": l1, "dis_real": dis_real, "dis_fake": dis_fake}
        return {name: loss.detach() for name, loss in losses.items()}

    def judge(self, x: Tensor, y: Tensor, target: float) -> Tensor:
        """What the discriminator says of these pairs against what is wanted of it."""
        with self.autocast():
            logits = self.networks["net_D"](torch.cat((x, y), dim=1))
        return GAN_LOSSES[self.training.gan_mode]([logits], target)

    def import_checkpoint(self, state: dict[str, Any]) -> dict[str, Any]:
        """The authors' files hold a network each. Without net_D, training begins with a new one; there are
        no optimisers in them, so these begin anew."""
        given = state.get("single", {})
        generator = given.get("net_G", given.get(""))
        if generator is None:
            return super().import_checkpoint(state)
        networks = {name: network.state_dict() for name, network in self.networks.items()}
        networks["net_G"] = fitted(generator, networks["net_G"])
        if "net_D" in given:
            networks["net_D"] = fitted(given["net_D"], networks["net_D"])
        elif self.config.train:
            self.reporter.say("Warning: there is no net_D beside net_G; the discriminator begins anew")
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"iters": state["iters"], "networks": networks, "optimizers": optimizers}
