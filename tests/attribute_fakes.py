"""Translators of Digits-Attributes whose faults are known."""

import torch
from torch import Tensor

from dataloader.digits_attributes import ATTRIBUTES, DigitsAttributes, attributes_of_kinds, render
from models.translator import Translator


class Redrawer(Translator):
    """Knows every picture of a split by its pixels and draws it anew with the attributes that are asked for.
    With `ignores`, an attribute is never changed; with `drags`, asking for the first of two names turns the
    second, too. Its label means are plain colours, its noise a number that is drawn."""

    domains = ("digits",)
    attributes = ATTRIBUTES
    content_is_image = True
    has_style_prior = True
    has_label_means = has_noisy_reconstruction = has_image_prior = True

    def __init__(self, dataset: DigitsAttributes, ignores: str = "", drags: tuple[str, str] | None = None):
        super().__init__()
        self.dataset, self.ignores, self.drags = dataset, ignores, drags
        self.weight = torch.nn.Parameter(torch.zeros(1))
        raw = dataset.read(torch.arange(len(dataset)).numpy())
        self.known = attributes_of_kinds(raw["kinds"])
        self.fields = raw["fields"]
        images = render(self.fields, self.known, dataset.size)
        self.items = {image.numpy().tobytes(): item for item, image in enumerate(images)}
        self.edits = 0

    @property
    def directions(self):
        return ((0, 0),)

    def item_of(self, image: Tensor) -> Tensor:
        return torch.tensor([self.items[one.contiguous().numpy().tobytes()] for one in image])

    def encode_content(self, image, domain):
        return image

    def encode_style(self, image, domain):
        return self.known[self.item_of(image)].float()

    def sample_style(self, count, domain, generator=None):
        return self.known[torch.randint(len(self.known), (count,), generator=generator)].float()

    def decode(self, content, style, domain):
        return self.edit(content, domain, self.encode_style(content, domain), style)

    def edit(self, image, domain, have, want):
        item, want = self.item_of(image), want.clone()
        assert torch.equal(have.long(), self.known[item])
        self.edits += len(image)
        if self.drags:
            first, second = map(ATTRIBUTES.index, self.drags)
            want[:, second] = (want[:, second] + (want != have)[:, first]) % 2
        if self.ignores:
            place = ATTRIBUTES.index(self.ignores)
            want[:, place] = have[:, place]
        return render(self.fields[item], want.long(), self.dataset.size)

    def label_means(self, domain):
        return torch.linspace(-1, 1, len(ATTRIBUTES))[:, None, None, None].expand(-1, 3, *self.dataset.size)

    def noisy_reconstruction(self, image, domain, generator=None):
        return (image + 0.1 * torch.randn(len(image), 1, 1, 1, generator=generator)).clamp(-1, 1)

    def sample_image(self, count, domain, generator=None):
        return torch.rand(count, 3, 1, 1, generator=generator).expand(-1, -1, *self.dataset.size) * 2 - 1
