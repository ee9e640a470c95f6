"""CycleGAN in the order of its authors' code: a pass of a generator for each image that it makes, then each
discriminator on real and on made images, from a list of images made earlier, with a backward pass each."""

import random

import torch
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.losses import GAN_LOSSES, frozen
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    (a, b), t, nets = batch.images, solver.training, solver.networks
    to_b, to_a, judge_b, judge_a = (nets[name] for name in ("net_G_A", "net_G_B", "net_D_A", "net_D_B"))

    def gan(logits: Tensor, target: float) -> Tensor:
        return GAN_LOSSES[t.gan_mode]([logits], target)

    made_b = to_b(a)
    back_a = to_a(made_b)
    made_a = to_a(b)
    back_b = to_b(made_a)
    terms = {}
    with frozen(judge_a, judge_b):
        clear(solver, "net_G")
        terms["identity_A"] = (to_a(a) - a).abs().mean()
        terms["identity_B"] = (to_b(b) - b).abs().mean()
        terms["adv_A"], terms["adv_B"] = gan(judge_b(made_b), 1.0), gan(judge_a(made_a), 1.0)
        terms["cycle_A"], terms["cycle_B"] = (back_a - a).abs().mean(), (back_b - b).abs().mean()
        identities = t.lambda_A * terms["identity_A"] + t.lambda_B * terms["identity_B"]
        cycles = t.lambda_A * terms["cycle_A"] + t.lambda_B * terms["cycle_B"]
        total = terms["adv_A"] + terms["adv_B"] + cycles + t.lambda_identity * identities
        total.backward()
        stepped(solver, "net_G")
    clear(solver, "net_D")
    pools = vars(solver).setdefault("plain_pools", ([], []))
    sides = (("dis_A", judge_b, b, made_b), ("dis_B", judge_a, a, made_a))
    for pool, (name, judge, real, made) in zip(pools, sides):
        shown = query(pool, made.detach(), t.pool_size)
        terms[name] = 0.5 * (gan(judge(real), 1.0) + gan(judge(shown), 0.0))
        terms[name].backward()
    stepped(solver, "net_D")
    return {name: loss.detach() for name, loss in {"total": total, **terms}.items()}


def query(pool: list[Tensor], images: Tensor, size: int) -> Tensor:
    """New images, or of a full pool with probability 1/2 older ones in their place, which they replace."""
    shown = []
    for image in images.split(1):
        if len(pool) < size:
            pool.append(image)
        elif random.random() > 0.5:
            place = random.randrange(size)
            image, pool[place] = pool[place].clone(), image
        shown.append(image)
    return torch.cat(shown)
