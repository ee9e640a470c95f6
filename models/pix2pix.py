"""pix2pix (arXiv 1611.07004): a U-Net that turns images of one domain into their partners of the other."""

from typing import Any, ClassVar

from torch import Tensor

from models.translator import Translator
from models.unet import UNet


class Pix2Pix(Translator):
    """From the first domain to the second. The content is the image itself, and there is no style: dropout
    is the only noise, and training teaches to ignore it.

    `test_mode` "paper" keeps dropout and each image's own statistics in eval mode (UNet's `noisy_test`),
    "eval" neither. Raises ValueError as UNet does.
    """

    has_style = has_style_prior = False
    content_is_image = True
    directions = ((0, 1),)
    missing: ClassVar[dict[str, str]] = {"has_style": "styles: pix2pix makes one translation of each image"}

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: tuple[str, ...] = ("x", "y"),
        base_width: int = 64,
        norm: str = "batch",
        dropout: float = 0.5,
        test_mode: str = "paper",
    ):
        super().__init__()
        self.domains, self.test_mode = domains, test_mode
        noisy = test_mode == "paper"
        self.net_G = UNet(resolution, base_width, norm=norm, dropout=dropout, noisy_test=noisy)

    @property
    def protocol(self) -> dict[str, Any]:
        return {"test_mode": self.test_mode}

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return image

    def decode(self, content: Tensor, style: Tensor | None, domain: int) -> Tensor:
        """Only domain 1 can be made. Raises ValueError for another."""
        if domain != 1:
            raise ValueError(f"pix2pix makes images of {self.domains[1]} alone")
        return self.net_G(content)
