"""What many domains change in DRIT's training: the authors' MDMM (DRIT++, arXiv 1905.01270)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataloader.dataset import Batch
from models.discriminators import Classifying
from models.mdmm import MDMM
from solvers.drit import Domain, DRITSolver
from solvers.losses import adversarial


class MDMMSolver(DRITSolver):
    """Any number of domains. An iteration takes pairs of images of two different domains, drawn at random for
    each pair, and is as long as with two domains, however many there are.

    As in the authors' code, reconstructions, contents and classifications are averaged over the two sides,
    and the rest is added. There the content discriminator learns only in iterations of its own, so with
    `d_iter` 1 never; here it learns in the others too.

    For another attribute encoder, prior or generator: a model derived from MDMM as `model_class`, and
    `attribute_terms` for its posterior.
    """

    model_class = MDMM
    side_mean = True

    def build(self) -> None:
        given, there = self.config.network.num_domains, len(self.test_set.domains)
        if given not in (None, there):
            raise ValueError(f"network.num_domains is {given} and the data has {there} domains")
        self.content_outputs = there
        super().build()

    def make_discriminators(self) -> dict[str, nn.Module]:
        size, count, shape = self.config.size, len(self.model.domains), self.discriminator_shape()
        shape["border"] = self.config.network.dis_border
        return {name: Classifying(size, count, **shape) for name in ("dis1", "dis2")}

    def sides(self, batch: Batch) -> tuple[Sequence[Tensor], Sequence[Domain]]:
        stack = torch.stack(batch.images)  # [domains, B, 3, H, W]
        count = stack.shape[1]
        order = torch.rand(count, len(stack)).argsort(dim=1).to(stack.device)
        if self.test_set.paired:
            stack = torch.stack([images.roll(n, 0) for n, images in enumerate(stack)])
        item = torch.arange(count, device=stack.device)
        domains = (order[:, 0], order[:, 1])
        return tuple(stack[domain, item] for domain in domains), domains

    def seen_by_discriminators(
        self, encoded: Sequence[Tensor], random: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        return {"dis1": torch.cat(tuple(encoded)), "dis2": torch.cat(tuple(random))}

    def discriminator_loss(self, real: list[Tensor], fake: list[Tensor], domains: Sequence[Domain]) -> Tensor:
        (real_logits, real_domain), (fake_logits, _) = real, fake
        gan = 2 * (adversarial([real_logits], 1.0) + adversarial([fake_logits], 0.0))
        return gan + self.training.lambda_cls * classification(real_domain, domains)

    def generator_terms(
        self, encoded: list[list[Tensor]], random: list[list[Tensor]], domains: Sequence[Domain]
    ) -> dict[str, Tensor]:
        return {
            "adv": sum(2 * adversarial([logits], 1.0) for logits, _ in encoded),
            "adv_random": sum(2 * adversarial([logits], 1.0) for logits, _ in random),
            "cls": sum(classification(domain, domains) for _, domain in (*encoded, *random)),
        }

    def content_targets(self, side: int, domain: Domain, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The domain's one-hot vector, and the other domains' vector."""
        truth = self.model.one_hot(domain, logits)[:, :, None, None].expand_as(logits)
        return truth, 1 - truth

    def weights(self) -> dict[str, float]:
        return {**super().weights(), "cls": self.training.lambda_cls_G}


def classification(logits: Tensor, domains: Sequence[Tensor]) -> Tensor:
    """Binary cross-entropy [B, domains] of each domain's logit with whether it is the image's, averaged."""
    truth = F.one_hot(torch.cat(tuple(domains)), logits.shape[1]).float()
    return F.binary_cross_entropy_with_logits(logits, truth)
