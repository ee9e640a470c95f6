"""StarGAN's losses and training step (arXiv 1711.09020, eq. 5 to 8); it reads its authors' files."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.dataset import Batch, Dataset
from dataloader.domains import attribute_vectors, spread_attributes
from models.stargan import DomainStarGAN, StarGAN
from solvers.losses import frozen, gradient_penalty
from solvers.run.checkpoint import fitted
from solvers.solver import Solver

KNOWN = 1000  # attribute vectors that a checkpoint holds
OWN = 4  # of so many images one is given its own attributes, with lambda_id


class StarGANSolver(Solver):
    """Every image of a batch is given the attributes of another one, drawn at random, so that exclusive ones
    stay so; and of the made image the given attributes must be read and the first image be made again. Of
    several domains, the images of all are one batch, and its domain is an image's one attribute.

    With `lambda_id`, every fourth image of a batch is given its own attributes and shall stay as it is, which
    costs no time and no memory.

    An iteration teaches the discriminator, every `n_critic`-th the generator too, by the same made images.
    """

    model: StarGAN | DomainStarGAN

    def build(self) -> None:
        data = self.test_set
        shape = self.config.network.model_dump()
        self.known = len(data.domains) == 1
        if self.known and not data.attributes:
            raise ValueError(
                "StarGAN learns from images of known attributes or of several domains, and this data set has "
                "one domain without attributes"
            )
        if self.known:
            known, groups = self.known_attributes(self.train_set), data.exclusive_attributes
            self.model = StarGAN(self.config.size, data.domains, data.attributes, known, groups, **shape)
        else:
            self.model = DomainStarGAN(self.config.size, data.domains, **shape)
        self.model.to(self.device)
        for network in (self.model.G, self.model.D):
            self.place(network)
        self.networks["StarGAN"] = self.model
        scale = self.training.dis_lr_scale
        self.optimizers = {
            "G": self.adam(self.model.G.parameters()),
            "D": self.adam(self.model.D.parameters(), scale),
        }

    def known_attributes(self, dataset: Dataset | None) -> Tensor:
        """KNOWN attribute vectors of a split, always as many, so that they fit a checkpoint; without one
        zeros, until a checkpoint brings them."""
        if dataset is None:
            return torch.zeros(KNOWN, len(self.test_set.attributes))
        found = spread_attributes(dataset, KNOWN)
        return found[torch.linspace(0, len(found) - 1, KNOWN).long()]

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """Only every `n_critic`-th iteration has the generator's losses."""
        images, have = self.examples(batch)
        want = have[torch.randperm(len(have)).to(have.device)]
        if self.training.lambda_id:
            want[::OWN] = have[::OWN]
        taught = iteration % self.training.n_critic == 0
        with torch.set_grad_enabled(taught), self.autocast():
            made = self.model.G(images, want)
        losses = self.teach_discriminator(images, made.detach(), have)
        if taught:
            losses |= self.teach_generator(images, made, have, want)
        return {name: loss.detach() for name, loss in losses.items()}

    def examples(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A batch's images [N, 3, H, W] and what they have, [N, attributes]: each its own, or its domain."""
        if self.known:
            return batch.images[0], attribute_vectors(batch.labels[0], self.model.attributes)
        counts = torch.tensor([len(images) for images in batch.images])
        domain = torch.arange(len(counts)).repeat_interleave(counts)
        return torch.cat(batch.images), F.one_hot(domain, len(counts)).float().to(self.device)

    def teach_discriminator(self, images: Tensor, made: Tensor, have: Tensor) -> dict[str, Tensor]:
        """One step of it on real images, which have the attributes `have`, and made ones."""
        t = self.training
        with self.autocast():
            real, logits = self.model.D(torch.cat((images, made)))
        terms = {
            "dis_real": -real[: len(images)].mean(),
            "dis_fake": real[len(images) :].mean(),
            "dis_cls": self.classification(logits[: len(images)], have),
            "gradient_penalty": gradient_penalty(self.realness, images, made),
        }
        weights = {"dis_cls": t.lambda_cls, "gradient_penalty": t.lambda_gp}
        total = sum(weights.get(name, 1.0) * term for name, term in terms.items())
        self.update(total, "D")
        return {"dis": total, **terms}

    def realness(self, images: Tensor) -> Tensor:
        """The discriminator's map of how real images are; never compiled, since what is cannot go backward
        twice."""
        with self.autocast():
            return self.model.D.forward(images)[0]

    def teach_generator(self, images: Tensor, made: Tensor, have: Tensor, want: Tensor) -> dict[str, Tensor]:
        """One step of it by the images that it made, which shall have the attributes `want`; the
        discriminator lets gradients through and keeps none."""
        t = self.training
        with frozen(self.model.D), self.autocast():
            real, logits = self.model.D(made)
            back = self.model.G(made, have)
        terms = {
            "adv": -real.mean(),
            "cls": self.classification(logits, want),
            "rec": F.l1_loss(back, images),
        }
        total = terms["adv"] + t.lambda_cls * terms["cls"] + t.lambda_rec * terms["rec"]
        if t.lambda_id:
            terms["identity"] = F.l1_loss(made[::OWN], images[::OWN])
            total = total + t.lambda_id * terms["identity"]
        self.update(total, "G")
        return {"total": total, **terms}

    def classification(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Of attributes [B, attributes] in nats per image: cross-entropy where exactly one of all is there,
        else the binary ones of each, added up."""
        if not self.known or any(len(group) == truth.shape[1] for group in self.model.exclusive):
            return F.cross_entropy(logits, truth.argmax(dim=1))
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / len(truth)

    def import_checkpoint(self, state: dict[str, Any]) -> dict[str, Any]:
        """The authors' files hold a network each, and no optimisers, so these begin anew. Without D, training
        begins with a new one, and tests read no attributes in images."""
        given = state.get("single", {})
        generator = given.get("G", given.get(""))
        if generator is None:
            return super().import_checkpoint(state)
        networks = {"G": generator, **({"D": given["D"]} if "D" in given else {})}
        if "D" not in given:
            self.go_on_without_judge()
        weights = self.model.state_dict()
        if self.known and self.train_set is None:
            weights["known"] = self.known_attributes(self.test_set)
        for name, network in networks.items():
            ours = getattr(self.model, name).state_dict()
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.")}
            weights |= {f"{name}.{key}": value for key, value in fitted(network, ours).items()}
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"iters": state["iters"], "networks": {"StarGAN": weights}, "optimizers": optimizers}

    def go_on_without_judge(self) -> None:
        """The generator alone was given."""
        if self.config.train:
            self.reporter.say("Warning: there is no D beside G; the discriminator begins anew")
        elif self.known:
            why = "styles: there was no D beside G to read an image's attributes"
            for model in (self.model, self.tested_model):
                model.has_style, model.missing = False, {"has_style": why}
