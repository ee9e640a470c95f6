"""Translators whose codes are known, and small unpaired data made of real digits and photographs."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images

from dataloader.mnist_m import MnistM
from dataloader.unpaired import Unpaired
from models.translator import Translator


def patches(count: int, seed: int, size: int = 28) -> np.ndarray:
    """Squares of scikit-learn's photographs, uint8 [count, size, size, 3]."""
    photos, draw = load_sample_images().images, np.random.RandomState(seed)
    places = zip(draw.randint(0, 2, count), draw.randint(0, 380, count), draw.randint(0, 600, count))
    return np.stack([photos[photo][top:, left:][:size, :size] for photo, top, left in places])


def digits_m(first: int, last: int) -> MnistM:
    """scikit-learn's digits first .. last - 1 against digits blended with photographs, 32 x 32."""
    bundle = load_digits()
    small = torch.from_numpy(bundle.images[first:last])[:, None] * (255 / 16)
    large = F.interpolate(small, (28, 28), mode="bilinear")[:, 0].round().byte().numpy()
    blended = np.abs(patches(len(large), first).astype(int) - large[..., None]).astype(np.uint8)
    labels = bundle.target[first:last].astype(np.uint8)
    return MnistM({"digits": large, "images": blended, "labels": labels}, 32)


def three_domains() -> Unpaired:
    """Three domains of photographs of different numbers, 32 x 32, without labels."""
    return Unpaired({name: patches(n, n, 32) for name, n in (("A", 5), ("B", 9), ("C", 7))}, 32)


class Blender(Translator):
    """What makes MNIST-M, as a Translator: content is the grey digit [B, 1, 32, 32], a style of the second
    domain the photograph [B, 3, 32, 32] behind it. Styles of real images are out of its reach: it takes the
    image itself."""

    domains = ("mnist", "mnist_m")

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode_content(self, image, domain):
        return image.mean(dim=1, keepdim=True)

    def encode_style(self, image, domain):
        return image

    def sample_style(self, count, domain, generator=None):
        seed = int(torch.randint(2**31, (), generator=generator))
        pictures = torch.from_numpy(patches(count, seed, 32)).movedim(3, 1)
        return pictures.float() / 127.5 - 1

    def decode(self, content, style, domain):
        if domain == 0:
            return content.expand(-1, 3, -1, -1)
        return (style - content).abs() - 1


class Shades(Translator):
    """Any number of domains; content is the mean grey [B, 1], style two numbers [B, 1, 2]; content and the
    first of them stand in the image as they are, so that a pixel says what was decoded."""

    def __init__(self, domains):
        super().__init__()
        self.domains = domains
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode_content(self, image, domain):
        return image.mean(dim=(1, 2, 3))[:, None]

    def encode_style(self, image, domain):
        return image[:, 0, :1, :2]

    def sample_style(self, count, domain, generator=None):
        return torch.rand(count, 1, 2, generator=generator) * 2 - 1

    def decode(self, content, style, domain):
        grey = content[:, 0]
        planes = (grey, style[:, 0, 0], torch.full_like(grey, domain / 4))
        return torch.stack(planes, dim=1)[:, :, None, None].expand(-1, -1, 32, 32)
