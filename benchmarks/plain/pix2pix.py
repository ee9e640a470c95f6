"""pix2pix in the order of its authors' code, which makes an image once; the discriminator sees made and real
pairs in passes of their own."""

import torch
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.losses import GAN_LOSSES, frozen
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    (x, y), t = batch.images, solver.training
    generator, judge = solver.networks["net_G"], solver.networks["net_D"]

    def gan(made: Tensor, target: float) -> Tensor:
        return GAN_LOSSES[t.gan_mode]([judge(torch.cat((x, made), dim=1))], target)

    made = generator(x)
    clear(solver, "net_D")
    fake, real = gan(made.detach(), 0.0), gan(y, 1.0)
    ((fake + real) * 0.5).backward()
    stepped(solver, "net_D")
    with frozen(judge):
        clear(solver, "net_G")
        adv, l1 = gan(made, 1.0), (made - y).abs().mean()
        total = adv + t.lambda_L1 * l1
        total.backward()
        stepped(solver, "net_G")
    losses = {"total": total, "adv": adv, "l1": l1, "dis_real": real, "dis_fake": fake}
    return {name: loss.detach() for name, loss in losses.items()}
