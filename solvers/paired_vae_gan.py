"""The paired VAE-GAN hybrid's losses and training step."""

import torch.nn.functional as F
from torch import Tensor

from dataloader.dataset import Batch
from models.paired_vae_gan import PairDiscriminator, PairedVAEGAN
from solvers.losses import adversarial, frozen, kl_to_standard
from solvers.solver import Solver


class PairedVAEGANSolver(Solver):
    """One forward pass a step: its images, detached, teach the discriminator, which is then frozen while the
    same images teach encoder and generator."""

    model: PairedVAEGAN

    def build(self) -> None:
        domains, net = self.test_set.domains, self.config.network
        if not self.test_set.paired or len(domains) != 2:
            raise ValueError(
                "PairedVAEGAN learns from pairs of two domains, which this data set does not have"
            )
        shape = net.model_dump(exclude={"dis_width"})
        self.model = self.networks["vae"] = self.place(PairedVAEGAN(self.config.size, domains, **shape))
        self.networks["dis"] = self.place(PairDiscriminator(net.dis_width, net.dropout))
        for name, network in self.networks.items():
            self.optimizers[name] = self.adam(network.parameters())

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        x, y = batch.images
        with self.autocast():
            made, z = self.model(x)
        dis = self.adv(x, y, 1.0) + self.adv(x, made.detach(), 0.0)
        self.update(dis, "dis")
        with frozen(self.networks["dis"]):
            terms = {"adv": self.adv(x, made, 1.0), "rec": F.mse_loss(made, y), "kl": kl_to_standard(z)}
        t = self.training
        total = t.adv_weight * terms["adv"] + t.rec_weight * terms["rec"] + t.kl_weight * terms["kl"]
        self.update(total, "vae")
        losses = {"total": total, "dis": dis, **terms}
        return {name: loss.detach() for name, loss in losses.items()}

    def adv(self, x: Tensor, y: Tensor, target: float) -> Tensor:
        """What the discriminator says of these pairs against what is wanted of it."""
        with self.autocast():
            logits = self.networks["dis"](x, y)
        return adversarial([logits], target)
