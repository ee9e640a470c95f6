"""UNIT in the order of its authors' second code: translations for the discriminators' step, then everything
anew for encoders and decoders, whose backward pass goes into the discriminators' weights too."""

import torch
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.solver import Solver

GENERATORS, JUDGES = ("enc", "dec"), ("dis_a", "dis_b")


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    images, t = batch.images, solver.training
    encode, decode = solver.networks["enc"], solver.networks["dec"]
    judges = [solver.networks[name] for name in JUDGES]

    clear(solver, *JUDGES)
    latents = [noisy(encode(x, domain)) for domain, x in enumerate(images)]
    made = [decode(latents[1 - domain], domain) for domain in (0, 1)]
    dis = 0.0
    for judge, real, fake in zip(judges, images, made):
        for on_fake, on_real in zip(judge(fake.detach()), judge(real)):
            dis = dis + (on_fake**2).mean() + ((on_real - 1) ** 2).mean()
    (t.adv_weight * dis).backward()
    stepped(solver, *JUDGES)

    clear(solver, *GENERATORS)
    means = [encode(x, domain) for domain, x in enumerate(images)]
    latents = [noisy(mean) for mean in means]
    rebuilt = [decode(latents[domain], domain) for domain in (0, 1)]
    made = [decode(latents[1 - domain], domain) for domain in (0, 1)]
    seen = [encode(x, domain) for domain, x in enumerate(made)]
    cycled = [decode(noisy(seen[1 - domain]), domain) for domain in (0, 1)]
    said = [logits for judge, x in zip(judges, made) for logits in judge(x)]
    terms = {
        "adv": sum(((logits - 1) ** 2).mean() for logits in said),
        "rec": sum((x - y).abs().mean() for x, y in zip(rebuilt, images)),
        "kl": sum((mean**2).mean() for mean in means),
        "cycle": sum((x - y).abs().mean() for x, y in zip(cycled, images)),
        "cycle_kl": sum((mean**2).mean() for mean in seen),
    }
    weights = solver.weights()
    total = sum(weights[name] * term for name, term in terms.items())
    total.backward()
    stepped(solver, *GENERATORS)
    return {name: loss.detach() for name, loss in {"total": total, "dis": dis, **terms}.items()}


def noisy(mean: Tensor) -> Tensor:
    return mean + torch.randn_like(mean)
