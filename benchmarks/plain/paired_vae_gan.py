"""The paired VAE-GAN in the order of its report: one forward pass, the discriminator's step on real and made
pairs in passes of their own, and the generator's, whose backward pass goes into the discriminator too."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    (x, y), t, net, judge = batch.images, solver.training, solver.model.net, solver.networks["dis"]

    def bce(image: Tensor, target: float) -> Tensor:
        said = torch.sigmoid(judge(x, image))
        return F.binary_cross_entropy(said, torch.full_like(said, target))

    (mean, logvar), skips = net.encode(x)
    made = net.decode(mean + torch.randn_like(mean) * (0.5 * logvar).exp(), skips)
    clear(solver, "dis")
    dis = bce(y, 1.0) + bce(made.detach(), 0.0)
    dis.backward()
    stepped(solver, "dis")
    clear(solver, "vae")
    kl = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / len(mean)
    terms = {"adv": bce(made, 1.0), "rec": ((made - y) ** 2).mean(), "kl": kl}
    total = t.adv_weight * terms["adv"] + t.rec_weight * terms["rec"] + t.kl_weight * terms["kl"]
    total.backward()
    stepped(solver, "vae")
    return {name: loss.detach() for name, loss in {"total": total, "dis": dis, **terms}.items()}
