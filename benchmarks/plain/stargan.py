"""StarGAN in the order of its authors' code: an image made for the discriminator, with a graph that is not
used, and made anew for the generator, whose backward pass goes into the discriminator's weights too; every
loss is pulled to the host. Here, as in ours with `n_critic` 1, each iteration teaches both."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    t, generator, judge = solver.training, solver.model.G, solver.model.D
    images, have = batch.images[0], torch.stack(tuple(batch.labels[0].values()), dim=1).float()
    want = have[torch.randperm(len(have)).to(have.device)]

    real, logits = judge(images)
    made = generator(images, want)
    fake, _ = judge(made.detach())
    share = torch.rand(len(images), 1, 1, 1, device=images.device)
    between = (share * images + (1 - share) * made.detach()).requires_grad_()
    out, _ = judge(between)
    (gradient,) = torch.autograd.grad(out, between, torch.ones_like(out), create_graph=True)
    losses = {
        "dis_real": -real.mean(),
        "dis_fake": fake.mean(),
        "dis_cls": classification(logits, have),
        "gradient_penalty": ((gradient.flatten(1).pow(2).sum(dim=1).sqrt() - 1) ** 2).mean(),
    }
    dis = losses["dis_real"] + losses["dis_fake"] + t.lambda_cls * losses["dis_cls"]
    losses["dis"] = dis + t.lambda_gp * losses["gradient_penalty"]
    clear(solver, "G", "D")
    losses["dis"].backward()
    stepped(solver, "D")

    made = generator(images, want)
    real, logits = judge(made)
    back = generator(made, have)
    losses |= {"adv": -real.mean(), "cls": classification(logits, want), "rec": (images - back).abs().mean()}
    losses["total"] = losses["adv"] + t.lambda_rec * losses["rec"] + t.lambda_cls * losses["cls"]
    clear(solver, "G", "D")
    losses["total"].backward()
    stepped(solver, "G")
    return {name: torch.tensor(loss.item()) for name, loss in losses.items()}


def classification(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(logits)
