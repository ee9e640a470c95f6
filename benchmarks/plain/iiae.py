"""IIAE as the PyTorch reference trains it: one forward and one backward pass, three Adams, and every loss
pulled to the host in every iteration."""

import math

import torch
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from models.blocks import Gaussian
from solvers.iiae import inter_weight
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    model, weights, (x, y) = solver.model, solver.training, batch.images
    q_x, q_y = model.zx_encoder(x), model.zy_encoder(y)
    x_features, y_features = model.FE(x), model.FE(y)
    q_s = model.zs_encoder(torch.cat((x_features, y_features), dim=1))
    r_x, r_y = model.zx_s_encoder(x_features), model.zy_s_encoder(y_features)
    z_s = drawn(q_s)
    made_x, made_y = model.x_decoder(drawn(q_x), z_s), model.y_decoder(drawn(q_y), z_s)
    exact = weights.inter_kl == "exact"
    losses = {
        "rec_x": (x - made_x).abs().mean(),
        "rec_y": (y - made_y).abs().mean(),
        "kl_zx": kl(q_x),
        "kl_zy": kl(q_y),
        "kl_zs": kl(q_s),
        "kl_inter_x": kl(q_s, r_x, exact),
        "kl_inter_y": kl(q_s, r_y, exact),
    }
    anneal = 1 - math.exp(-1 / weights.anneal_iters)
    exclusive = weights.X_kld_weight * (losses["kl_zx"] + losses["kl_zy"])
    to_prior = anneal * (exclusive + weights.S_kld_weight * losses["kl_zs"])
    inter = inter_weight(weights, 1) * (losses["kl_inter_x"] + losses["kl_inter_y"])
    losses["total"] = weights.rec_weight * (losses["rec_x"] + losses["rec_y"])
    losses["total"] = losses["total"] + solver.kl_scale * (to_prior + inter)
    names = tuple(solver.optimizers)
    clear(solver, *names)
    losses["total"].backward()
    stepped(solver, *names)
    return {name: torch.tensor(loss.item()) for name, loss in losses.items()}


def drawn(q: Gaussian) -> Tensor:
    return q.mean + torch.randn_like(q.mean) * (0.5 * q.logvar).exp()


def kl(q: Gaussian, p: Gaussian | None = None, exact: bool = True) -> Tensor:
    """KL[q || p]; of no p, to N(0, I). Without `exact` as the reference writes it, which divides by p's
    variance only q's."""
    mean, logvar = p or (torch.zeros_like(q.mean), torch.zeros_like(q.mean))
    distance = (q.mean - mean) ** 2 / (logvar.exp() if exact else 1)
    return 0.5 * (logvar - q.logvar - 1 + q.logvar.exp() / logvar.exp() + distance).sum(dim=1).mean()
