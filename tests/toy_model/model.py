"""Toy: a content and a style encoder for all domains, a decoder for each. Copy to models/toy.py."""

import torch
from torch import Tensor, nn

from models.translator import Translator


class Toy(Translator):
    """A content is a map [B, width, H/4, W/4], a style a vector [B, style_dim] that each place of it sees."""

    def __init__(self, domains: tuple[str, ...], width: int, style_dim: int):
        super().__init__()
        self.domains, self.style_dim = domains, style_dim
        self.content = nn.Sequential(nn.Conv2d(3, width, 4, stride=4), nn.ReLU())
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.style = nn.Sequential(nn.Conv2d(3, style_dim, 4, stride=4), pool)
        self.decoders = nn.ModuleList(nn.ConvTranspose2d(width + style_dim, 3, 4, stride=4) for _ in domains)

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return self.content(image)

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        return self.style(image)

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, self.style_dim, generator=generator).to(self.decoders[domain].weight.device)

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        everywhere = style[:, :, None, None].expand(-1, -1, *content.shape[2:])
        return self.decoders[domain](torch.cat((content, everywhere), dim=1)).tanh()
