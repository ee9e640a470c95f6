"""DRIT++ of many domains, in the order of its authors' code (MDMM): everything is made for the
discriminators, each of which learns by itself, and made anew for encoders and generator, which learn by two
backward passes. GMVAE-DRIT is the same with the terms of its bound in place of the attribute's KL.

Steps that the authors take between the two backward passes, which PyTorch no longer allows, come after both.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain import clear, stepped
from dataloader.dataset import Batch
from models.blocks import Gaussian
from models.gmvae import categorical_loss, gaussian_loss, reconstruction_loss
from solvers.solver import Solver

JUDGES = ("dis1", "dis2")


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    nets, training = solver.networks, solver.training
    images, domains = (torch.cat(tuple(side)) for side in solver.sides(batch))
    truth = F.one_hot(domains, len(solver.model.domains)).float()
    draws = [solver.model.sample_style(len(batch.images[0]), 0) for _ in range(1 if training.no_ms else 2)]

    made, losses = forward(solver.model, images, domains, draws), {"dis": 0.0}
    for name, fakes in zip(JUDGES, (made.translated, torch.cat(made.randoms))):
        clear(solver, name)
        fake, _ = nets[name](fakes.detach())
        real, classes = nets[name](images)
        loss = 2 * (bce(fake, 0.0) + bce(real, 1.0)) + training.lambda_cls * bce(classes, truth)
        loss.backward()
        stepped(solver, name)
        losses["dis"] = losses["dis"] + loss.detach()
    if training.isDcontent:
        clear(solver, "disContent")
        losses["dis_content"] = said_of_contents(nets["disContent"], made.contents.detach(), truth)
        losses["dis_content"].backward()
        nn.utils.clip_grad_norm_(nets["disContent"].parameters(), training.dcontent_clip)
        stepped(solver, "disContent")

    clear(solver, *solver.parts)
    made = forward(solver.model, images, domains, draws)
    real, classes = nets["dis1"](made.translated)
    terms = {
        "adv": 2 * bce(real, 1.0),
        "cls": bce(classes, truth),
        "cross_cycle": F.l1_loss(made.cycled, images),
        "self_rec": F.l1_loss(made.own, images),
        "content_l2": made.contents.pow(2).mean(),
        **attribute_terms(solver, made, images),
    }
    if training.isDcontent:
        terms["content_adv"] = said_of_contents(nets["disContent"], made.contents, 1 - truth)
    weights = solver.weights()
    total = sum(weights[name] * term for name, term in terms.items())
    total.backward(retain_graph=True)
    kept = [p.grad.clone() for p in nets["enc_a"].parameters() if p.grad is not None]

    judged = [nets["dis2"](random) for random in made.randoms]
    alone = {
        "adv_random": sum(2 * bce(real, 1.0) for real, _ in judged),
        "cls": sum(bce(classes, truth) for _, classes in judged),
        "latent": 2 * F.l1_loss(made.regressed, torch.cat((draws[0], draws[0]))),
    }
    if len(draws) > 1:
        alone["mode_seeking"] = seeking(*made.randoms, (draws[0] - draws[1]).abs().mean())
    more = sum(weights[name] * term for name, term in alone.items())
    more.backward()
    for parameter, gradient in zip((p for p in nets["enc_a"].parameters() if p.grad is not None), kept):
        parameter.grad = gradient  # the second loss does not teach the attribute encoder
    stepped(solver, *solver.parts)
    alone["cls"] = alone["cls"] + terms["cls"]
    return {name: loss.detach() for name, loss in {**losses, "total": total + more, **terms, **alone}.items()}


def forward(model: nn.Module, images: Tensor, domains: Tensor, draws: list[Tensor]) -> SimpleNamespace:
    """Everything of the generator's side, of both sides' images [2B, 3, H, W] in one batch."""
    contents, posterior = model.encode_content(images, domains), model.posterior(images, domains)
    (content_a, content_b), (z_a, z_b) = contents.chunk(2), posterior.sample().chunk(2)
    domain_a, domain_b = domains.chunk(2)
    sides = [(content_b, content_a, z_a, domain_a), (content_a, content_b, z_b, domain_b)]
    parts = []
    for other, own, z, domain in sides:
        content = torch.cat((other, own, *[other] * len(draws)))
        everything = model.decode(content, torch.cat((z, z, *draws)), domain.repeat(2 + len(draws)))
        parts.append(everything.chunk(2 + len(draws)))
    translated, own, *randoms = (torch.cat(pair) for pair in zip(*parts))
    back_a, back_b = model.encode_content(translated, domains).chunk(2)  # whose contents are b's and a's
    again_a, again_b = model.posterior(translated, domains).sample().chunk(2)
    cycled = (model.decode(back_b, again_a, domain_a), model.decode(back_a, again_b, domain_b))
    regressed = model.posterior(randoms[0], domains).mean
    return SimpleNamespace(
        contents=contents,
        posterior=posterior,
        translated=translated,
        own=own,
        randoms=randoms,
        cycled=torch.cat(cycled),
        regressed=regressed,
    )


def attribute_terms(solver: Solver, made: SimpleNamespace, images: Tensor) -> dict[str, Tensor]:
    posterior = made.posterior
    if isinstance(posterior, Gaussian):
        each = 1 + posterior.logvar - posterior.mean.pow(2) - posterior.logvar.exp()
        return {"attribute_kl": -each.sum() / len(each)}  # both sides' KLs, added
    return {
        "gauss": gaussian_loss(posterior, solver.model.prior()),
        "categ": categorical_loss(posterior.logits),
        "rec": reconstruction_loss(made.own, images, solver.training.rec_type),
    }


def bce(logits: Tensor, target: float | Tensor) -> Tensor:
    """Through a sigmoid, as the authors' code computes it."""
    wanted = target if isinstance(target, Tensor) else torch.full_like(logits, target)
    return F.binary_cross_entropy(torch.sigmoid(logits), wanted)


def said_of_contents(judge: nn.Module, contents: Tensor, wanted: Tensor) -> Tensor:
    logits = judge(contents)
    return bce(logits, wanted[:, :, None, None].expand_as(logits))


def seeking(first: Tensor, second: Tensor, distance: Tensor) -> Tensor:
    """Mode seeking of each side's images, added."""
    sides = zip(first.chunk(2), second.chunk(2))
    return sum(1 / ((x - y).abs().mean() / distance + 1e-5) for x, y in sides)
