"""DRIT's and DRIT++'s losses and training step (arXiv 1808.00948, 1905.01270), and the reading of their
authors' checkpoints. What many domains change is in solvers/mdmm.py.

An iteration encodes images of two sides, a and b. Everything of the generator's side is computed once: its
images, detached, teach the discriminators, which are then frozen while the same images, with their graph,
teach the encoders and the generator in one backward pass.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataloader.dataset import Batch
from models.blocks import Gaussian, Point
from models.discriminators import ContentDiscriminator, MultiScale, SingleScale
from models.drit import DRIT, AttributeTranslator
from solvers.losses import adversarial, frozen, kl_to_standard, mode_seeking
from solvers.run.checkpoint import CheckpointError
from solvers.solver import Solver

SHAPE = (  # the model's keys
    "concat",
    "base_width",
    "attribute_dim",
    "residual_blocks",
    "content_noise",
    "init_std",
    "upsampling",
)
Domain = int | Tensor  # of a side: one for all its images, or one for each, [B]


class Made(NamedTuple):
    """What the generator's side computes in one iteration. Each field holds side a's and side b's; images are
    [B, 3, H, W] in [-1, 1] and of their side's domain."""

    contents: Sequence[Tensor]
    posteriors: Sequence[Gaussian | Point]
    translated: Sequence[Tensor]  # the other side's content with this side's attribute
    reconstructed: Sequence[Tensor]  # this side's content and attribute
    randoms: Sequence[Sequence[Tensor]]  # the other side's content, once with each of `draws`
    cycled: Sequence[Tensor]  # content and attribute taken back from `translated`
    regressed: Sequence[Tensor]  # the attribute [B, D] seen in the first of `randoms`
    draws: Sequence[Tensor]  # attributes from the prior, [B, D], the same for both sides


class DRITSolver(Solver):
    """Two domains, each with two discriminators: of images with encoded attributes (disA, disB) and with
    random ones (disA2, disB2).

    The authors' code splits a batch into a first image, which is encoded, and the rest, which are the real
    ones that the second discriminators see; so it takes exactly 1 + 1. Here every image of a batch of any
    size is encoded, gets random attributes too, and is a real one for both discriminators: a batch of 1 does
    the work of the published 1 + 1. Losses are averaged over the batch, so weights mean the same at any size.
    """

    model: AttributeTranslator
    model_class: type[AttributeTranslator] = DRIT
    parts = ("enc_c", "enc_a", "gen")  # the model's networks, by the names in the authors' checkpoints
    side_mean = False  # the means of both sides are added; True: averaged

    def build(self) -> None:
        net, (height, width) = self.config.network, self.config.size
        self.model = self.make_model(self.test_set.domains)
        for name in self.parts:
            self.networks[name] = self.place(getattr(self.model, name))
        judges = self.make_discriminators()
        self.discriminators = tuple(judges)
        for name, network in judges.items():
            self.networks[name] = self.place(network)
        if self.training.isDcontent:
            shape = (height // 4, width // 4), 4 * net.base_width, self.content_outputs
            content = ContentDiscriminator(*shape, norm=net.dcontent_norm == "Instance")
            self.networks["disContent"] = self.place(content)
        self.only_for_training = tuple(name for name in self.networks if name not in self.parts)
        for name, network in self.networks.items():
            self.optimizers[name] = self.adam(network.parameters(), self.rate_scale(name))

    def make_model(self, domains: tuple[str, ...]) -> AttributeTranslator:
        return self.model_class(self.config.size, domains, **self.model_options())

    def model_options(self) -> dict[str, Any]:
        """What the model takes beside resolution and domains."""
        return {key: getattr(self.config.network, key) for key in SHAPE}

    # --- What differs with many domains or another prior

    def rate_scale(self, name: str) -> float:
        """The learning rate of this network, times `lr`."""
        return self.training.dcontent_lr_scale if name == "disContent" else 1.0

    content_outputs = 1

    def make_discriminators(self) -> dict[str, nn.Module]:
        """The image discriminators by name; the second of a pair, for random attributes, ends in 2."""
        scales, size, shape = (
            self.config.network.dis_scale,
            self.config.size,
            self.discriminator_shape(),
        )
        names = ("disA", "disA2", "disB", "disB2")
        if scales == 1:
            return {name: SingleScale(size, **shape) for name in names}
        return {name: MultiScale(size, scales, **shape) for name in names}

    def discriminator_shape(self) -> dict[str, Any]:
        net = self.config.network
        return {"width": net.dis_width, "norm": net.dis_norm == "Instance", "spectral": net.dis_spectral_norm}

    def sides(self, batch: Batch) -> tuple[Sequence[Tensor], Sequence[Domain]]:
        """The images of sides a and b, [B, 3, H, W] each, and their domains. Paired data is unpaired by
        moving b's images on by one."""
        a, b = batch.images
        return (a, b.roll(1, 0) if self.test_set.paired else b), (0, 1)

    def seen_by_discriminators(
        self, encoded: Sequence[Tensor], random: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """By name of a discriminator, what it gets to see of two kinds of images, each given per side."""
        (a, b), (a2, b2) = encoded, random
        return {"disA": a, "disA2": a2, "disB": b, "disB2": b2}

    def judge(self, name: str, images: Tensor) -> list[Tensor]:
        with self.autocast():
            return self.networks[name](images)

    def discriminator_loss(self, real: list[Tensor], fake: list[Tensor], domains: Sequence[Domain]) -> Tensor:
        """Of one discriminator, from its logits on real and on made images (side a's before side b's)."""
        return adversarial(real, 1.0) + adversarial(fake, 0.0)

    def generator_terms(
        self, encoded: list[list[Tensor]], random: list[list[Tensor]], domains: Sequence[Domain]
    ) -> dict[str, Tensor]:
        """The generator's terms from what discriminators of either kind say of made images."""
        return {
            "adv": sum(adversarial(logits, 1.0) for logits in encoded),
            "adv_random": sum(adversarial(logits, 1.0) for logits in random),
        }

    def content_targets(self, side: int, domain: Domain, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What the content discriminator should say of a content of this side, and what the encoder wants
        it to: here 0 or 1, and 1/2."""
        return torch.full_like(logits, side), torch.full_like(logits, 0.5)

    def weights(self) -> dict[str, float]:
        """The weight of each of the generator's terms."""
        t = self.training
        return {
            "adv": t.adv_weight,
            "adv_random": t.adv_weight,
            "content_adv": t.content_adv_weight,
            "cross_cycle": t.cross_cycle_weight,
            "self_rec": t.self_rec_weight,
            "attribute_kl": t.attribute_kl_weight,
            "content_l2": t.content_l2_weight,
            "latent": t.latent_weight,
            "mode_seeking": t.ms_weight,
        }

    # --- One iteration

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """With a content discriminator, only every `d_iter`-th iteration teaches the other networks."""
        images, domains = self.sides(batch)
        if self.training.isDcontent and iteration % self.training.d_iter:
            with torch.no_grad(), self.autocast():
                contents = [self.model.encode_content(x, d) for x, d in zip(images, domains)]
            return self.teach_content_discriminator(contents, domains)
        with self.autocast():
            made = cross_cycle(self.model, images, domains, self.draws(len(images[0])))
        losses = self.teach_discriminators(images, domains, made)
        if self.training.isDcontent:
            contents = [content.detach() for content in made.contents]
            losses |= self.teach_content_discriminator(contents, domains)
        return losses | self.teach_generator(images, domains, made)

    def draws(self, count: int) -> list[Tensor]:
        """Random attributes [count, D]: one for each content, with mode seeking two."""
        return [self.model.sample_style(count, 0) for _ in range(1 if self.training.no_ms else 2)]

    def teach_discriminators(
        self, images: Sequence[Tensor], domains: Sequence[Domain], made: Made
    ) -> dict[str, Tensor]:
        """One step of all image discriminators, each on real and made images in one pass."""
        randoms = [torch.cat(tuple(side)) for side in made.randoms]
        real = self.seen_by_discriminators(images, images)
        fake = self.seen_by_discriminators(made.translated, randoms)
        losses = []
        for name in self.discriminators:
            count = len(real[name])
            logits = self.judge(name, torch.cat((real[name], fake[name].detach())))
            on_real, on_fake = [x[:count] for x in logits], [x[count:] for x in logits]
            losses.append(self.discriminator_loss(on_real, on_fake, domains))
        loss = torch.stack(losses).sum()
        self.update(loss, *self.discriminators)
        return {"dis": loss.detach()}

    def teach_content_discriminator(
        self, contents: Sequence[Tensor], domains: Sequence[Domain]
    ) -> dict[str, Tensor]:
        """One step of the content discriminator on contents that carry no gradient."""
        loss = self.content_loss(contents, domains, confuse=False)
        self.update(loss, "disContent", clip=self.training.dcontent_clip)
        return {"dis_content": loss.detach()}

    def content_loss(self, contents: Sequence[Tensor], domains: Sequence[Domain], confuse: bool) -> Tensor:
        losses = []
        for side, (content, domain) in enumerate(zip(contents, domains)):
            with self.autocast():
                logits = self.networks["disContent"](content)
            target = self.content_targets(side, domain, logits)[confuse]
            losses.append(F.binary_cross_entropy_with_logits(logits, target))
        return self.both(losses)

    def teach_generator(
        self, images: Sequence[Tensor], domains: Sequence[Domain], made: Made
    ) -> dict[str, Tensor]:
        """One step of encoders and generator; discriminators let gradients through and keep none."""
        terms = self.generator_losses(images, domains, made)
        weights = self.weights()
        total = sum(weights[name] * term for name, term in terms.items())
        self.update(total, *self.parts)
        return {"total": total.detach(), **{name: term.detach() for name, term in terms.items()}}

    def generator_losses(
        self, images: Sequence[Tensor], domains: Sequence[Domain], made: Made
    ) -> dict[str, Tensor]:
        """The unweighted terms that encoders and generator minimise, by name."""
        count = len(made.draws) if self.training.ms_adversarial == "both" else 1
        with frozen(*(self.networks[name] for name in self.only_for_training)):
            encoded, random = [], []
            for draw in range(count):
                seen = self.seen_by_discriminators(made.translated, [side[draw] for side in made.randoms])
                for name in self.discriminators:
                    if name.endswith("2"):
                        random.append(self.judge(name, seen[name]))
                    elif draw == 0:
                        encoded.append(self.judge(name, seen[name]))
            terms = self.generator_terms(encoded, random, domains)
            if self.training.isDcontent:
                terms["content_adv"] = self.content_loss(made.contents, domains, confuse=True)
        terms["cross_cycle"] = self.both([F.l1_loss(x, y) for x, y in zip(made.cycled, images)])
        terms["self_rec"] = self.both([F.l1_loss(x, y) for x, y in zip(made.reconstructed, images)])
        terms |= self.attribute_terms(images, made)
        terms["content_l2"] = self.both([content.float().square().mean() for content in made.contents])
        terms["latent"] = sum(F.l1_loss(seen_in, made.draws[0]) for seen_in in made.regressed)
        if not self.training.no_ms:
            terms["mode_seeking"] = sum(mode_seeking(made.draws, images) for images in made.randoms)
        return terms

    def attribute_terms(self, images: Sequence[Tensor], made: Made) -> dict[str, Tensor]:
        """What keeps attributes near the prior: the KL per image of Gaussians, the mean square of points."""
        if isinstance(made.posteriors[0], Gaussian):
            return {"attribute_kl": sum(kl_to_standard(posterior) for posterior in made.posteriors)}
        return {"attribute_kl": self.both([posterior.mean.square().mean() for posterior in made.posteriors])}

    def both(self, values: Sequence[Tensor]) -> Tensor:
        total = values[0] + values[1]
        return total / 2 if self.side_mean else total

    # --- The authors' checkpoints

    def import_checkpoint(self, state: dict[str, Any]) -> dict[str, Any]:
        """A dict of networks, `<network>_opt`, `ep` and `total_it`. Its iteration is `total_it`, which in the
        authors' code leaves out those of the content discriminator alone. What only training needs is looked
        at only there; a discriminator that cannot be carried over begins anew where the config lets it."""
        if not all(name in state for name in self.parts):
            return super().import_checkpoint(state)
        if self.config.network.upsampling != "transposed":
            how = "whose generators have transposed convolutions; set network.upsampling=transposed"
            raise CheckpointError(f"it looks like its authors', {how}")
        networks = {name: network.state_dict() for name, network in self.networks.items()}
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        for name in networks if self.config.train else self.parts:
            weights = todays_spectral_norm(state.get(name, {}))
            reason = f"has no {name}" if name not in state else self.why_not(name, weights)
            if reason is None and f"{name}_opt" not in state and self.config.train:
                reason = f"has no {name}_opt"
            if reason is None:
                networks[name] = weights
                if self.config.train:
                    optimizers[name] = torch_adam(state[f"{name}_opt"])
            elif name in self.parts or not self.training.new_discriminators:
                hint = "" if name in self.parts else "; training.new_discriminators=1 lets it begin anew"
                raise CheckpointError(f"it looks like its authors' and {reason}{hint}")
            else:
                self.reporter.say(f"Warning: the authors' checkpoint {reason}, which begins anew")
        return {"iters": state["total_it"], "networks": networks, "optimizers": optimizers}

    def why_not(self, name: str, weights: dict[str, Tensor]) -> str | None:
        """Why the authors' weights are another function in our network of this name; None where they are the
        same. In the model's own parts, shapes are looked at where they are loaded."""
        if name in self.parts:
            return None
        ours = {key: tensor.shape for key, tensor in self.networks[name].state_dict().items()}
        if {key: tensor.shape for key, tensor in weights.items()} != ours:
            return f"has a {name} of another shape (network.dis_scale, dis_spectral_norm, dis_width)"
        key = "dcontent_norm" if name == "disContent" else "dis_norm"
        if getattr(self.config.network, key) == "Instance":
            return f"has a {name} that learned without InstanceNorm (network.{key}=None)"
        return None


def cross_cycle(
    model: AttributeTranslator, images: Sequence[Tensor], domains: Sequence[Domain], draws: Sequence[Tensor]
) -> Made:
    """Encode both sides, exchange their contents, and exchange them back; with each of `draws` too, [B, D].

    `regressed` is computed with the attribute encoder's weights held fixed, so that its loss teaches those
    who made the image and not the encoder that looks at it.
    """
    contents = [model.encode_content(x, d) for x, d in zip(images, domains)]
    posteriors = [model.posterior(x, d) for x, d in zip(images, domains)]
    made = []
    for own, posterior, other, domain in zip(contents, posteriors, contents[::-1], domains):
        attribute = posterior.sample()
        content = torch.cat((other, own, *(other for _ in draws)))
        attributes = torch.cat((attribute, attribute, *draws))
        everything = model.decode(content, attributes, repeated(domain, 2 + len(draws)))
        made.append(everything.split(len(own)))
    translated, reconstructed = ([side[n] for side in made] for n in (0, 1))
    randoms = [side[2:] for side in made]
    other_contents = [model.encode_content(x, d) for x, d in zip(translated, domains)]
    attributes = [model.posterior(x, d).sample() for x, d in zip(translated, domains)]
    cycled = [model.decode(c, z, d) for c, z, d in zip(other_contents[::-1], attributes, domains)]
    with frozen(model.enc_a):
        regressed = [model.posterior(x[0], d).mean for x, d in zip(randoms, domains)]
    return Made(contents, posteriors, translated, reconstructed, randoms, cycled, regressed, draws)


def repeated(domain: Domain, times: int) -> Domain:
    """The domains of a batch that stands `times` times in a row."""
    return domain.repeat(times) if isinstance(domain, Tensor) else domain


def todays_spectral_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict whose spectral normalisation has the form of PyTorch 0.5 (weight_orig, weight, weight_u)
    in that of torch.nn.utils.parametrizations."""
    found = {}
    for name, tensor in weights.items():
        place, _, last = name.rpartition(".")
        if last == "weight_orig":
            u = weights[f"{place}.weight_u"]
            v = F.normalize(tensor.flatten(1).T @ u, dim=0, eps=1e-12)
            new = f"{place}.parametrizations.weight"
            found |= {f"{new}.original": tensor, f"{new}.0._u": u, f"{new}.0._v": v}
        elif last != "weight_u" and f"{name}_orig" not in weights:
            found[name] = tensor
    return found


def torch_adam(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an Adam of any PyTorch as today's fused one takes it: steps were once plain numbers."""
    moments = {
        key: {**values, "step": torch.as_tensor(values["step"], dtype=torch.float32)}
        for key, values in state["state"].items()
    }
    return {"state": moments, "param_groups": [{**group, "fused": True} for group in state["param_groups"]]}
