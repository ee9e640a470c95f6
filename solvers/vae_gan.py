"""VAE/GAN's losses and training step (arXiv 1512.09300, algorithm 1), and its attribute vectors."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.autograd import grad

from dataloader.dataset import Batch
from dataloader.domains import (
    READ,
    attribute_vectors,
    count_of,
    in_batches,
    one_domain,
    spread,
    spread_attributes,
)
from models.vae_gan import VAEGAN, Discriminator
from solvers.losses import adversarial, kl_to_standard
from solvers.run import distributed
from solvers.run.folder import RunFolder
from solvers.solver import Solver

KNOWN = 1_000  # attribute vectors that styles are drawn from


class VAEGANSolver(Solver):
    """One pass through each network a step: the decoder makes reconstructions and draws of the prior in one
    batch, the discriminator sees real images and both of these in one. Each loss then gives gradients to its
    own networks alone.

    The attribute vectors change with the encoder, and nothing in training depends on them. So they are made
    anew where somebody looks at them: for grids, validation and checkpoints.
    """

    model: VAEGAN
    least_share = 2  # for BatchNorm
    only_for_training = ("dis",)

    def build(self) -> None:
        data, net, size = self.test_set, self.config.network, self.config.size
        known = torch.zeros(KNOWN, len(data.attributes))
        if self.train_set is not None and data.attributes:
            seen = spread_attributes(self.train_set, KNOWN)
            known = seen[torch.arange(KNOWN) % len(seen)]
        self.model = VAEGAN(
            size, data.domains, data.attributes, known, data.exclusive_attributes, **net.model_dump()
        )
        self.networks["vae"] = self.model.to(self.device)
        players = {
            "enc": self.place(self.model.encoder),
            "dec": self.place(self.model.decoder),
            "dis": self.place(Discriminator(size, net.base_width, net.slope)),
        }
        self.networks["dis"] = players["dis"]
        self.parameters = {name: list(network.parameters()) for name, network in players.items()}
        self.optimizers = {name: self.optimizer_of(given) for name, given in self.parameters.items()}
        self.learnt_at: int | None = None

    def optimizer_of(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The one that the config asks for; its learning rate is set anew each iteration."""
        t = self.training
        if t.optimizer == "adam":
            return self.adam(parameters)
        group = {"params": list(parameters), "lr_scale": 1.0}
        return torch.optim.RMSprop([group], lr=t.lr, alpha=t.beta2, weight_decay=t.weight_decay)

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        (x,) = batch.images
        t, params, scale = self.training, self.parameters, self.scaler.scale
        with self.autocast():
            q = self.model.encoder(x)
            z = torch.cat((q.sample(), torch.randn_like(q.mean)))
            made = self.model.decoder(z)
            logits, features = self.networks["dis"](torch.cat((x, made)))
        real, rebuilt, drawn = (
            adversarial([part], target) for part, target in zip(logits.chunk(3), (1.0, 0.0, 0.0))
        )
        wanted, seen, _ = features.chunk(3)
        like = 0.5 * (seen - wanted).square().flatten(1).sum(dim=1).mean()
        kl, gan = kl_to_standard(q), real + rebuilt + drawn

        if t.decoder_loss == "minimax":
            *of_dis, by_gan = grad(scale(gan), [*params["dis"], made], retain_graph=True)
        else:
            of_dis = grad(scale(gan), params["dis"], retain_graph=True)
            as_real = adversarial(logits.chunk(3)[1:], 1.0)
            (by_gan,) = grad(scale(-as_real), made, retain_graph=True)
        (by_like,) = grad(scale(like), made)
        of_dec = grad(made, params["dec"], t.gamma * by_like - by_gan, retain_graph=True)
        (at_z,) = grad(made, z, by_like)
        of_enc = grad((z, scale(t.kl_weight * kl)), params["enc"], (at_z, None))
        gradients = {"enc": of_enc, "dec": of_dec, "dis": of_dis}
        learning = ("enc", *self.who_learns(real, (rebuilt + drawn) / 2))
        self.give({name: zip(params[name], gradients[name]) for name in learning})
        losses = {"like": like, "kl": kl, "gan_real": real, "gan_rec": rebuilt, "gan_prior": drawn}
        return {name: loss.detach() for name, loss in losses.items()}

    def who_learns(self, real: Tensor, fake: Tensor) -> list[str]:
        """Who of decoder and discriminator learns at this iteration, by the discriminator's losses: the
        authors' rule, by which both do where neither would."""
        t = self.training
        if t.margin is None:
            return ["dec", "dis"]
        low, high = torch.minimum(real, fake), torch.maximum(real, fake)
        still = {
            "dec": self.anywhere(high > t.equilibrium + t.margin),
            "dis": self.anywhere(low < t.equilibrium - t.margin),
        }
        return [name for name, holds in still.items() if not holds] or ["dec", "dis"]

    def anywhere(self, flag: Tensor) -> bool:
        """Whether it is so in any process."""
        return bool(distributed.largest(int(flag), self.device))

    # --- Attribute vectors

    def save_samples(self, fixed: Batch, iteration: int) -> None:
        self.learn_attributes(iteration)
        super().save_samples(fixed, iteration)

    def save(self, run: RunFolder, iteration: int, saving: bool, validating: bool) -> None:
        self.learn_attributes(iteration)
        super().save(run, iteration, saving, validating)

    def learn_attributes(self, iteration: int) -> None:
        """Give the model the attribute vectors of this iteration's encoder; and that of averaged weights
        those of its own."""
        if iteration == self.learnt_at:
            return
        for model in {self.model, self.tested_model}:
            self.learn_attributes_of(model)
        self.learnt_at = iteration

    @torch.no_grad()
    def learn_attributes_of(self, model: VAEGAN) -> None:
        """In eval mode and float32."""
        model.eval()
        latents, attributes = [], []
        index = spread(count_of(self.train_set, 0), self.training.attribute_images)
        for part in in_batches(index, READ):
            images, labels = one_domain(self.train_set, 0, part, self.device)
            latents.append(model.encode_content(images, 0))
            attributes.append(attribute_vectors(labels, model.attributes))
        model.learn_attributes(torch.cat(latents), torch.cat(attributes))
        model.train()
