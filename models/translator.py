"""The interface that every model answers to: four verbs that grids, metrics and pages are built from."""

from itertools import permutations
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Translator(nn.Module):
    """An image-to-image translator between named domains, split into what is shared and what is exclusive.

    Images are float [B, 3, H, W] in [-1, 1]. `domain` is an index into `domains`. Contents and styles are
    tensors whose first dimension is the batch; their other dimensions belong to the model.

    A model that lacks a verb sets the class attribute of the same name to False and says why in `missing`.
    Everything that would need the verb is then left out with that reason; nothing is made up in its place.
    One whose content is no code but the image itself sets `content_is_image`.

    A model whose prior of styles is a mixture says of how many `components`. It takes one of them, counted
    from 0, as `component` in `sample_style`, and has `component_probabilities`.

    A model whose style is a vector of known attributes names its entries in `attributes`, and has `edit`.
    Further pictures that a model may have, each of which it says by a class attribute: the mean of what has
    an attribute (`has_label_means`, `label_means`), a reconstruction with noise (`has_noisy_reconstruction`,
    `noisy_reconstruction`) and images drawn from a prior of whole images (`has_image_prior`, `sample_image`).

    Where each place of a translation is made of what is near it, and of statistics of the whole, the model is
    `fully_convolutional`: a large picture can be translated window by window.
    """

    domains: tuple[str, ...] = ()
    has_content: bool = True
    has_style: bool = True
    has_style_prior: bool = True
    content_is_image: bool = False
    components: int = 0
    attributes: tuple[str, ...] = ()
    has_label_means: bool = False
    has_noisy_reconstruction: bool = False
    has_image_prior: bool = False
    fully_convolutional: bool = False
    missing: ClassVar[dict[str, str]] = {}

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        """The (source, target) pairs of domains between which it translates: all, where it says nothing
        else."""
        return tuple(permutations(range(len(self.domains)), 2))

    @property
    def takes_style(self) -> bool:
        """Whether `decode` takes a style; where not, it is given None."""
        return self.has_style or self.has_style_prior

    @property
    def has_codes(self) -> bool:
        """Whether a content is a code rather than the image itself."""
        return self.has_content and not self.content_is_image

    @property
    def encodes_every_domain(self) -> bool:
        """Whether contents of every domain are encoded, rather than of those alone that are translated."""
        return {source for source, _ in self.directions} == set(range(len(self.domains)))

    def rebuilds(self, domain: int) -> bool:
        """Whether an image of this domain can be decoded from its own codes: if there are styles it has one,
        and the model translates from the domain and to it, or where the content is the image, to itself."""
        if self.takes_style and not self.has_style:
            return False
        if self.content_is_image:
            return (domain, domain) in self.directions
        return all(domain in ends for ends in zip(*self.directions))

    @property
    def protocol(self) -> dict[str, Any]:
        """What else of the model decides the numbers, such as what it does in eval mode. Plain values."""
        return {}

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        """What the domains share, seen from one image of `domain` alone. [B, 3, H, W] -> content [B, ...]."""
        raise NotImplementedError

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        """What `domain` adds to the content, seen from one of its images. [B, 3, H, W] -> style [B, ...]."""
        raise NotImplementedError

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` styles of `domain` drawn from the prior, on the model's device. The draw is made on the
        CPU, so that one seed gives the same styles on every device."""
        raise NotImplementedError

    def component_probabilities(self, image: Tensor, domain: int) -> Tensor:
        """Where the prior is a mixture: how probable each component is for the style of an image.
        [B, 3, H, W] -> [B, components], rows that add up to 1."""
        raise NotImplementedError

    def encode_style_and_components(self, image: Tensor, domain: int) -> tuple[Tensor, Tensor]:
        """`encode_style` and `component_probabilities` of the same images, for a model that has both from one
        pass through its networks."""
        return self.encode_style(image, domain), self.component_probabilities(image, domain)

    def decode(self, content: Tensor, style: Tensor | None, domain: int) -> Tensor:
        """The image of `domain` that has this content and this style. -> [B, 3, H, W] in [-1, 1]."""
        raise NotImplementedError

    def translate(self, image: Tensor, source: int, target: int, style: Tensor | None = None) -> Tensor:
        """The content of `image` (of domain `source`) shown in domain `target` with `style`."""
        return self.decode(self.encode_content(image, source), style, target)

    def reconstruct(self, image: Tensor, domain: int) -> Tensor:
        """`image` encoded into content and style and decoded again, each code seen from this image alone."""
        return self.decode(self.encode_content(image, domain), self.own_style(image, domain), domain)

    def own_style(self, image: Tensor, domain: int) -> Tensor | None:
        """What `decode` takes to rebuild `image`: its style, None of a model without styles."""
        return self.encode_style(image, domain) if self.has_style else None

    def edit(self, image: Tensor, domain: int, have: Tensor, want: Tensor) -> Tensor:
        """Where a style is a vector of `attributes`: `image`, which has the attributes `have`, with those of
        `want` in their place, each [B, attributes] of 0 and 1. -> [B, 3, H, W]."""
        return self.decode(self.encode_content(image, domain), want, domain)

    def label_means(self, domain: int) -> Tensor:
        """Where it `has_label_means`: for each of `attributes` the mean latent of the training images that
        have it, decoded. -> [attributes, 3, H, W] in [-1, 1]."""
        raise NotImplementedError

    def noisy_reconstruction(
        self, image: Tensor, domain: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Where it `has_noisy_reconstruction`: `image` encoded, and decoded from a latent to which noise is
        added, which is drawn on the CPU as in `sample_style`. [B, 3, H, W] -> [B, 3, H, W]."""
        raise NotImplementedError

    def sample_image(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        """Where it `has_image_prior`: `count` images of `domain` decoded from draws of the prior, which are
        made on the CPU as in `sample_style`. -> [count, 3, H, W] in [-1, 1]."""
        raise NotImplementedError
