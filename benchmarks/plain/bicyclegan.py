"""BicycleGAN in the order of its authors' code: encoder and generator first, by two backward passes, then
each discriminator. As in ours, every image of a batch goes through both cycles."""

import torch
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.losses import frozen
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    (x, y), t, nets = batch.images, solver.training, solver.networks
    generator, encoder = nets["G"], nets["E"]
    judges = {"adv_vae": "D_VAE", "adv_lr": "D_LR"}
    conditional = solver.config.network.conditional_D

    def gan(name: str, image: Tensor, target: float) -> Tensor:
        seen = torch.cat((x, image), dim=1) if conditional else image
        return sum(((logits - target) ** 2).mean() for logits in nets[name](seen))

    drawn = torch.randn(len(x), solver.model.latent_dim, device=x.device)
    mean, logvar = encoder(y)
    z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
    made = {"adv_vae": generator(x, z), "adv_lr": generator(x, drawn)}
    seen = encoder(made["adv_lr"]).mean

    clear(solver, "E", "G")
    with frozen(*(nets[name] for name in judges.values())):
        terms = {term: gan(name, made[term], 1.0) for term, name in judges.items()}
    terms["l1"] = (made["adv_vae"] - y).abs().mean()
    terms["kl"] = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / len(mean)
    total = t.adv_weight * (terms["adv_vae"] + terms["adv_lr"])
    total = total + t.l1_weight * terms["l1"] + t.kl_weight * terms["kl"]
    total.backward(retain_graph=True)
    kept = [parameter.grad.clone() for parameter in encoder.parameters()]
    terms["latent"] = (seen - drawn).abs().mean()
    (t.latent_weight * terms["latent"]).backward()
    for parameter, gradient in zip(encoder.parameters(), kept):
        parameter.grad = gradient  # the code that was drawn teaches the generator alone
    stepped(solver, "E", "G")

    dis = 0.0
    for term, name in judges.items():
        clear(solver, name)
        loss = gan(name, made[term].detach(), 0.0) + gan(name, y, 1.0)
        loss.backward()
        stepped(solver, name)
        dis = dis + loss.detach()
    total = total + t.latent_weight * terms["latent"]
    return {name: loss.detach() for name, loss in {"total": total, "dis": dis, **terms}.items()}
