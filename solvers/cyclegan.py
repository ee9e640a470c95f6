"""CycleGAN's losses and training step (arXiv 1703.10593), and the reading of its authors' files."""

from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch
from models.cyclegan import WAYS, CycleGAN, ImagePool
from models.discriminators import Patches
from solvers.losses import GAN_LOSSES, frozen
from solvers.run import distributed
from solvers.run.checkpoint import CheckpointError, fitted
from solvers.solver import Solver

JUDGES = ("net_D_A", "net_D_B")  # of what net_G_A and net_G_B make: images of the second domain, of the first


class CycleGANSolver(Solver):
    """The generators learn first, together, while the discriminators are frozen; then the discriminators,
    from real images and from made ones that the pools give in place of the new.

    With several processes each pool sees the images of all of them, in the order of the whole batch, and its
    draws are the same in all: so all have the same pool, and rank 0's checkpoint holds it whole.

    Nothing compares an image of one domain with one of the other, so pairs count as unpaired as they are.
    """

    model: CycleGAN
    only_for_training = JUDGES

    def build(self) -> None:
        domains, net, size = self.test_set.domains, self.config.network, self.config.size
        if len(domains) != 2:
            raise ValueError(f"CycleGAN translates between two domains; this data set has {len(domains)}")
        self.model = CycleGAN(size, domains, net.base_width, net.residual_blocks)
        for name in WAYS:
            self.networks[name] = self.place(getattr(self.model, name))
        for name in JUDGES:
            judge = Patches(size, width=net.dis_width, norm="instance", layers=net.dis_layers)
            self.networks[name] = self.place(judge)
        for player, names in (("net_G", tuple(WAYS)), ("net_D", JUDGES)):
            parameters = chain.from_iterable(self.networks[name].parameters() for name in names)
            self.optimizers[player] = self.adam(parameters)
        self.pools: dict[str, ImagePool] = {}  # by the judge of what they hold
        if self.config.train and self.training.pool_size:
            self.pools = {name: ImagePool(self.training.pool_size, size).to(self.device) for name in JUDGES}
            self.networks |= {name.replace("net_D", "pool"): pool for name, pool in self.pools.items()}

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        a, b = batch.images
        with frozen(*map(self.networks.get, JUDGES)):
            made, terms = self.generate(a, b)
        t = self.training
        weights = {"adv": (1.0, 1.0), "cycle": (t.lambda_A, t.lambda_B)}
        weights["identity"] = tuple(t.lambda_identity * weight for weight in weights["cycle"])
        total = sum(w * x for kind, xs in terms.items() for w, x in zip(weights[kind], xs))
        self.update(total, "net_G")
        shown = self.shown([x.detach().float() for x in made], iteration)
        terms["dis"] = [self.judged(name, *sides) for name, *sides in zip(JUDGES, (b, a), shown)]
        self.update(sum(terms["dis"]), "net_D")
        losses = {f"{kind}_{side}": x for kind, xs in terms.items() for side, x in zip("AB", xs)}
        return {name: loss.detach() for name, loss in {"total": total, **losses}.items()}

    def generate(self, a: Tensor, b: Tensor) -> tuple[tuple[Tensor, Tensor], dict[str, list[Tensor]]]:
        """What the generators make of the images of both domains, (of b, of a); and the terms of their loss,
        each of A's side and of B's: "adv" of what net_G_A and net_G_B make, "cycle" of images of a and b that
        went there and back, "identity" of images of a and b that were made into their own domain."""
        to_b, to_a = self.model.net_G_A, self.model.net_G_B
        identity = self.training.lambda_identity > 0
        with self.autocast():  # both passes of a generator in one; InstanceNorm keeps images apart
            made_b, *same_b = to_b(torch.cat((a, b)) if identity else a).split(len(a))
            made_a, *same_a = to_a(torch.cat((b, a)) if identity else b).split(len(b))
            back = to_a(made_b), to_b(made_a)
        made = made_b, made_a
        terms = {
            "adv": [self.loss(self.judge(name, x), 1.0) for name, x in zip(JUDGES, made)],
            "cycle": [distance(*pair) for pair in zip(back, (a, b))],
        }
        if identity:
            terms["identity"] = [distance(*pair) for pair in zip((*same_a, *same_b), (a, b))]
        return made, terms

    def judged(self, name: str, real: Tensor, made: Tensor) -> Tensor:
        """A discriminator's loss, half that on real and half that on made images."""
        on_real, on_made = self.judge(name, torch.cat((real, made))).split(len(real))
        return (self.loss(on_real, 1.0) + self.loss(on_made, 0.0)) / 2

    def judge(self, name: str, images: Tensor) -> Tensor:
        with self.autocast():
            return self.networks[name](images)

    def loss(self, logits: Tensor, target: float) -> Tensor:
        return GAN_LOSSES[self.training.gan_mode]([logits], target)

    def shown(self, made: list[Tensor], iteration: int) -> list[Tensor]:
        """What the discriminators see instead of these new images, [B, 3, H, W] each, by the pools."""
        if not self.pools:
            return made
        draw, count = self.draws(iteration), self.training.batch_size
        shown = []
        for pool, images in zip(self.pools.values(), made):
            coins = torch.rand(count, generator=draw) > 0.5
            places = torch.randint(len(pool.images), (count,), generator=draw)
            coins, places = (self.of_part(drawn).to(self.device) for drawn in (coins, places))
            chosen = pool.swap(distributed.gather(images), coins, places)
            shown.append(chosen[self.rank :: self.world])
        return shown

    def draws(self, iteration: int) -> torch.Generator:
        """Of the pools: a function of (seed, iteration), the same in every process."""
        (state,) = np.random.SeedSequence([self.config.seed, iteration]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state))

    def import_checkpoint(self, state: dict[str, Any]) -> dict[str, Any]:
        """The authors' files hold a network each. A generator alone, by either name or as net_G, which counts
        as net_G_A, is enough to test its direction. Discriminators that are not there, pools and optimisers
        begin anew."""
        given = dict(state.get("single", {}))
        if not given.keys() & WAYS.keys() and (alone := given.get("net_G", given.get(""))) is not None:
            given["net_G_A"] = alone
        ways = tuple(way for name, way in WAYS.items() if name in given)
        if not ways:
            return super().import_checkpoint(state)
        if self.config.train and len(ways) < len(WAYS):
            raise CheckpointError("one generator alone is for test mode; training needs net_G_A and net_G_B")
        networks = {name: network.state_dict() for name, network in self.networks.items()}
        for name in (*WAYS, *JUDGES):
            if name in given:
                networks[name] = fitted(given[name], networks[name])
            elif self.config.train:
                self.reporter.say(f"Warning: there is no {name} beside the others; it begins anew")
        self.model.ways = self.tested_model.ways = ways
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"iters": state["iters"], "networks": networks, "optimizers": optimizers}


def distance(made: Tensor, real: Tensor) -> Tensor:
    """Mean absolute error, in float32."""
    return (made.float() - real).abs().mean()
