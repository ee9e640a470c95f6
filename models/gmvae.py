"""The Gaussian mixture VAE of a code (Dilokthanakul et al. 2016, arXiv 1611.02648, in its form with one
latent): y ~ Cat(1/K), z ~ p(z|y), an image from z; q(y|x) and q(z|x,y) infer them.

A draw of z goes through a Gumbel-softmax (arXiv 1611.01144), so that q(y|x) learns from what the decoder
makes of it. The terms of the bound that are about y and z need no draw: both are closed forms, exact for any
q(y|x).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import LOGVAR_MAX, Gaussian


class MixturePosterior(NamedTuple):
    """q(y|x) and q(z|x,y) for every y: `logits` [B, K]; `means`, `logvars` [B, K, D]; all float32."""

    logits: Tensor
    means: Tensor
    logvars: Tensor
    temperature: float = 1.0
    hard: bool = False

    @property
    def probabilities(self) -> Tensor:
        """q(y|x): [B, K], each row adds up to 1."""
        return self.logits.softmax(dim=1)

    @property
    def mean(self) -> Tensor:
        """E[z] under q(y|x) q(z|x,y): [B, D]."""
        return mixed(self.probabilities, self.means)

    @property
    def likeliest(self) -> Tensor:
        """The mean of z in the component that q(y|x) finds most probable: [B, D]. Unlike `mean` never between
        components, where no style may be; no gradient reaches q(y|x)."""
        rows = torch.arange(self.means.shape[0], device=self.means.device)
        return self.means[rows, self.logits.argmax(dim=1)]

    def sample(self) -> Tensor:
        """A reparameterised draw of z [B, D]: y by a Gumbel-softmax of `temperature` (with `hard`, one-hot
        with the soft draw's gradient), then z from q(z|x,y), whose mean and logvar are linear in y. From the
        device's global generator."""
        y = F.gumbel_softmax(self.logits, self.temperature, self.hard)
        return Gaussian(mixed(y, self.means), mixed(y, self.logvars)).sample()


def mixed(y: Tensor, values: Tensor) -> Tensor:
    """[B, K], [B, K, D] -> [B, D]: the values of each component, weighted by y."""
    return (y[:, :, None] * values).sum(dim=1)


class MixturePrior(nn.Module):
    """p(z|y): learned means and logvars of K diagonal Gaussians; p(y) is uniform and not learned.

    The means start apart, drawn from N(0, I), and the variances at 1: components that start alike would be
    taught alike and stay so.

    With `followed` domains the prior also keeps the moments of their codes by component (`code_means`,
    `code_variances` [domains, K, D]) and how many of their images each has (`shares` [domains, K]), which
    `follow` brings up to date and random styles may be drawn from. What else weighs on codes than p(z|y),
    above all what they must tell the decoder, keeps them off its means.
    """

    def __init__(self, num_classes: int, gaussian_size: int, followed: int = 0):
        super().__init__()
        self.means = nn.Parameter(torch.randn(num_classes, gaussian_size))
        self.logvars = nn.Parameter(torch.zeros(num_classes, gaussian_size))
        self.followed = followed
        if followed:
            shape = followed, num_classes, gaussian_size
            self.register_buffer("code_means", torch.zeros(shape))
            self.register_buffer("code_variances", torch.ones(shape))
            self.register_buffer("shares", torch.ones(shape[:2]))
            self.begin_to_follow()

    def forward(self) -> Gaussian:
        """Mean and logvar [K, D], logvar clamped on both sides: no component may shrink onto one code."""
        return Gaussian(self.means, self.logvars.clamp(-LOGVAR_MAX, LOGVAR_MAX))

    @torch.no_grad()
    def become_one(self) -> None:
        """Make every component N(0, I): together one Gaussian."""
        self.means.zero_()
        self.logvars.zero_()
        self.begin_to_follow()

    @torch.no_grad()
    def begin_to_follow(self) -> None:
        """Take p(z|y) and an even p(y) for what is known of the codes."""
        if self.followed:
            mean, logvar = self()
            self.code_means.copy_(mean)
            self.code_variances.copy_(logvar.exp())
            self.shares.fill_(1 / len(self.means))

    @torch.no_grad()
    def offsets(self, posterior: MixturePosterior, domain: Tensor) -> Tensor:
        """Of the images of each followed domain, added up by component: their number, their codes' offsets
        from its mean there, and the squares of these with the codes' own variances: [domains, K, 1 + 2 D].
        `domain` [B] says whose an image is."""
        mine = domain == torch.arange(self.followed, device=domain.device)[:, None]  # [domains, B]
        share = (mine[:, :, None] * posterior.probabilities)[..., None]
        away = posterior.means - self.code_means[:, None]
        square = away.square() + posterior.logvars.exp()
        return (share * torch.cat((torch.ones_like(away[..., :1]), away, square), dim=3)).sum(dim=1)

    @torch.no_grad()
    def follow(self, offsets: Tensor, rate: float) -> None:
        """A step of online expectation maximisation (Cappe, Moulines 2009, arXiv 0712.4273): move means,
        variances and shares to those of a batch, by `rate` of the way where a component has its even share
        of a domain's images, and by more or less where it has more or fewer."""
        count, away, square = offsets.split((1, *2 * [self.means.shape[1]]), dim=2)
        images, some = count.sum(dim=1, keepdim=True).clamp(min=1), count.clamp(min=1e-6)
        step = (rate * count.shape[1] * count / images).clamp(max=1)
        self.code_variances.lerp_(square / some, step)
        self.code_means.add_(step * away / some)
        have = count.sum(dim=1)  # none, where no image of the domain was there: then nothing moves
        self.shares.add_(rate * (count[..., 0] - have * self.shares) / images[..., 0])

    @torch.no_grad()
    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        component: int | None = None,
        domain: int | None = None,
    ) -> Tensor:
        """`count` draws of z [count, D] from the mixture, or from one `component`, on the prior's device;
        drawn on the CPU, so that one seed gives the same everywhere. With a followed `domain`, from Gaussians
        of the moments of its codes, as often as its images are in each. ValueError where there is no such
        component."""
        kinds, size = self.means.shape
        if component is not None and not 0 <= component < kinds:
            raise ValueError(f"component {component} of a mixture of {kinds}, counted from 0")
        if domain is None:
            y = torch.randint(kinds, (count,), generator=generator)
        else:
            y = torch.multinomial(self.shares[domain].cpu(), count, True, generator=generator)
        noise = torch.randn(count, size, generator=generator).to(self.means.device)
        y = (y if component is None else torch.full_like(y, component)).to(self.means.device)
        if domain is not None:
            return self.code_means[domain, y] + self.code_variances[domain, y].sqrt() * noise
        mean, logvar = self()
        return mean[y] + torch.exp(0.5 * logvar[y]) * noise


class MixtureHead(nn.Module):
    """q(y|x) and q(z|x,y) from an image's features [B, F]; one hidden layer sees features and y together, for
    all K values of y in one pass. `shift` and `scale` [F], not learned, are taken from the features first."""

    def __init__(self, features: int, num_classes: int, gaussian_size: int):
        super().__init__()
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.y = nn.Linear(features, num_classes)
        self.of_image = nn.Linear(features, features)
        self.of_component = nn.Linear(num_classes, features, bias=False)
        self.z = nn.Linear(features, 2 * gaussian_size)

    @torch.no_grad()
    def forget_components(self) -> None:
        """Make q(y|x) uniform and q(z|x,y) the same for all y, as goes with a prior that is one Gaussian."""
        for parameter in self.of_components():
            parameter.zero_()

    def of_components(self) -> list[nn.Parameter]:
        """The parameters by which components differ."""
        return [self.y.weight, self.y.bias, self.of_component.weight]

    @torch.no_grad()
    def standardise(self, shift: Tensor, scale: Tensor) -> None:
        """Take these [F] from the features from now on, with weights changed so that the outputs stay as they
        are. What all images have in common is large, and gradients of a few images would move the outputs of
        all by way of it."""
        for layer in (self.y, self.of_image):
            layer.bias += layer.weight @ ((shift - self.shift) / self.scale)
            layer.weight *= scale / self.scale
        self.shift.copy_(shift)
        self.scale.copy_(scale)

    def forward(self, features: Tensor) -> MixturePosterior:
        features = (features - self.shift) / self.scale
        by_component = self.of_component.weight.T  # the layer's outputs for every one-hot y: [K, F]
        hidden = F.relu(self.of_image(features)[:, None] + by_component)  # [B, K, F]
        means, logvars = self.z(hidden).float().chunk(2, dim=2)
        return MixturePosterior(self.y(features).float(), means, logvars.clamp(max=LOGVAR_MAX))


def gaussian_loss(posterior: MixturePosterior, prior: Gaussian) -> Tensor:
    """E_q[log q(z|x,y) - log p(z|y)] in nats, averaged over the batch. Exact: for each y it is the KL of two
    diagonal Gaussians, and q(y|x) says how much each y counts. One draw of y and z would have the same mean
    and more variance."""
    _, means, logvars, *_ = posterior
    distance = (means - prior.mean).square() + logvars.exp()
    per_component = 0.5 * (prior.logvar - logvars + distance * torch.exp(-prior.logvar) - 1).sum(dim=2)
    return (posterior.probabilities * per_component).sum(dim=1).mean()


def categorical_loss(logits: Tensor) -> Tensor:
    """KL[q(y|x) || Cat(1/K)] = log K - H[q(y|x)] in nats, averaged over the batch: 0 to log K."""
    log_q = logits.log_softmax(dim=1)
    return (log_q.exp() * log_q).sum(dim=1).mean() + math.log(logits.shape[1])


def reconstruction_loss(made: Tensor, images: Tensor, kind: str) -> Tensor:
    """- log p(x|z) of images [B, 3, H, W] in [-1, 1], taken to [0, 1], summed over an image and averaged over
    the batch. `bce`: binary cross-entropy, in nats; `mse`: the squared error, up to a constant a Gaussian's
    of variance 1/2."""
    made, images = (made + 1) / 2, (images + 1) / 2
    if kind == "bce":
        error = F.binary_cross_entropy(made, images, reduction="none")
    else:
        error = (made - images).square()
    return error.flatten(1).sum(dim=1).mean()
