"""Translators made of the true factors of Digits-CDCB: what a perfect model scores, and what each way of
being wrong does."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dataloader.cdcb import CDCB, digit_arrays, render_pairs
from models.translator import Translator


def all_digits() -> CDCB:
    """scikit-learn's 1,797 digits, each once, 32 x 32."""
    bundle = load_digits()
    digits = np.round(bundle.images * (255 / 16)).astype(np.uint8)
    return CDCB(digit_arrays(digits, bundle.target, "test"), 32)


class Oracle(Translator):
    """Content: which digit it is, and its 8 x 8 grey levels, [B, 10 + 64]; style: its colour in [0, 1],
    [B, 3]. An image is told by the shape that it has most in common with, whatever its colours."""

    domains = ("x", "y")

    def __init__(self, dataset: CDCB):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.size = dataset.size
        self.grey = torch.from_numpy(dataset.arrays["digits"])  # uint8 [N, 8, 8]
        self.digits = torch.from_numpy(dataset.arrays["labels"]).long()
        self.ink = self.inked(self.grey)  # [N, H, W]
        self.shapes = F.normalize(self.ink.flatten(1))

    def inked(self, grey):
        """How much ink each place of the picture has, 0 to 1, of digits uint8 [B, 8, 8]."""
        white_on_black = torch.tensor([[0, 0, 0], [255, 255, 255]], dtype=torch.uint8)
        return (render_pairs(grey, white_on_black.expand(len(grey), 2, 3), self.size)[1][:, 0] + 1) / 2

    def identify(self, image, domain):
        """The item that each image shows."""
        seen = (image + 1) / 2
        if domain == 0:
            seen = seen - seen[:, :, :1, :1]  # the background, which stands in every corner
        return (F.normalize(seen.sum(dim=1).flatten(1)) @ self.shapes.T).argmax(dim=1)

    def encode_content(self, image, domain):
        item = self.identify(image, domain)
        return torch.cat((F.one_hot(self.digits[item], 10), self.grey[item].flatten(1) / 255), dim=1)

    def encode_style(self, image, domain):
        seen = (image + 1) / 2
        if domain == 0:
            return seen[:, :, 0, 0]
        ink = self.ink[self.identify(image, domain)][:, None]
        return (seen * ink).sum(dim=(2, 3)) / ink.square().sum(dim=(2, 3))

    def sample_style(self, count, domain, generator=None):
        return torch.rand(count, 3, generator=generator)

    def decode(self, content, style, domain):
        grey = (content[:, 10:] * 255).round().byte().unflatten(1, (8, 8))
        ink, colour = self.inked(grey)[:, None], style[:, :3, None, None]
        return (ink + (1 - ink) * colour if domain == 0 else ink * colour) * 2 - 1


class Blind(Oracle):
    """Ignores its content: it is the same for all."""

    def encode_content(self, image, domain):
        return super().encode_content(image, domain).mul(0).add(0.5)


class Leaking(Oracle):
    """Its style carries the digit beside the colour."""

    def encode_style(self, image, domain):
        digit = F.one_hot(self.digits[self.identify(image, domain)], 10).float()
        return torch.cat((super().encode_style(image, domain), digit), dim=1)

    def sample_style(self, count, domain, generator=None):
        return torch.rand(count, 13, generator=generator)


class Telling(Oracle):
    """Its content says which domain it was seen in."""

    def encode_content(self, image, domain):
        content = super().encode_content(image, domain)
        content[:, 10] = float(domain)  # a corner, where no ink is
        return content
