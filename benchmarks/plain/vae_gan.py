"""VAE/GAN in the order of public PyTorch code: one forward pass, and for encoder, decoder and discriminator a
backward pass each through all that there is. Steps come after all three, as PyTorch asks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    (x,), t, players = batch.images, solver.training, ("enc", "dec", "dis")
    mean, logvar = solver.model.encoder(x)
    z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
    made = solver.model.decoder(torch.cat((z, torch.randn_like(mean))))
    said, features = solver.networks["dis"](torch.cat((x, made)))
    real, rebuilt, drawn = (bce(part, target) for part, target in zip(said.chunk(3), (1.0, 0.0, 0.0)))
    gan = real + rebuilt + drawn
    kl = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / len(mean)
    like = 0.5 * ((features.chunk(3)[1] - features.chunk(3)[0]) ** 2).sum() / len(mean)
    fooled = gan if t.decoder_loss == "minimax" else -sum(bce(part, 1.0) for part in said.chunk(3)[1:])
    losses = {"enc": t.kl_weight * kl + like, "dec": t.gamma * like - fooled, "dis": gan}
    kept = {}
    for name, loss in losses.items():
        clear(solver, *players)
        loss.backward(retain_graph=name != "dis")
        kept[name] = [parameter.grad for parameter in solver.parameters[name]]
    for name, gradients in kept.items():
        for parameter, gradient in zip(solver.parameters[name], gradients):
            parameter.grad = gradient
    stepped(solver, "enc", *solver.who_learns(real, (rebuilt + drawn) / 2))
    found = {"like": like, "kl": kl, "gan_real": real, "gan_rec": rebuilt, "gan_prior": drawn}
    return {name: loss.detach() for name, loss in found.items()}


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))
