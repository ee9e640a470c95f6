"""How sharp images are: the energy of their Laplacian, a measure of focus (Subbarao, Choi, Nikzad, *Focusing
techniques*, Optical Engineering 32, 1993), of reconstructions, of translations and of real images."""

from collections import defaultdict

import torch
from torch import Tensor

from solvers.evaluation.codes import Part, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


class Numbers(Family):
    """sharpness/real_x, the mean energy of real images of x, sharpness/reconstruction_x of the same images
    from their own codes, and sharpness/x_to_y of translations of x, in random styles where there is a prior,
    in those of references where there is none. Over the whole split.

    Blur lowers it, as an average of several sharp images does; noise and the grids of transposed convolutions
    raise it, so that a number above the real one is no praise.
    """

    name = "sharpness"
    kept = ("found",)
    question = QUESTIONS[4]
    needs = ("content",)

    def __init__(self, view: View):
        super().__init__(view)
        self.found: dict[str, list[Tensor]] = defaultdict(list)

    def see(self, part: Part) -> None:
        model = self.view.model
        for domain, name in enumerate(self.view.domains):
            if len(part.items[domain]):
                self.take(f"real_{name}", part.images[domain])
                if model.rebuilds(domain):
                    self.take(f"reconstruction_{name}", part.reconstruction(domain))
        for source, target in model.directions:
            if len(part.items[source]):
                self.take(self.view.way(source, target), self.translated(part, source, target))

    def translated(self, part: Part, source: int, target: int) -> Tensor:
        if self.view.styles == "reference":
            return part.in_reference_style(source, target)
        return part.translation(source, target)

    def take(self, name: str, images: Tensor) -> None:
        self.found[f"sharpness/{name}"].append(laplacian_energy(images).cpu())

    def numbers(self) -> dict[str, float]:
        return {name: torch.cat(values).double().mean().item() for name, values in self.found.items()}

    def draws(self, number: str) -> bool:
        return self.view.styles == "random" and number.rpartition("/")[2] in self.view.ways

    def meanings(self) -> tuple[Meaning, ...]:
        words = "energy of the Laplacian of brightness, low where images are blurred: as real images have it"
        return (Meaning("sharpness", words),)


def laplacian_energy(images: Tensor) -> Tensor:
    """Of images [B, 3, H, W] in [-1, 1], H and W at least 3, the mean square [B] of four times each inner
    pixel's brightness minus its four neighbours'."""
    luma = torch.tensor(LUMA, device=images.device)[:, None, None]
    grey = (images.float() * luma).sum(1)
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (4 * middle - around).square().mean((1, 2))
