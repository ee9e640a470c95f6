"""Whether images come back from their own codes, and pairs from each other's."""

from collections import defaultdict

import torch
from torch import Tensor

from solvers.evaluation.codes import Part, View
from solvers.evaluation.distances import Distance, l1, lpips_distance, psnr, ssim
from solvers.evaluation.family import QUESTIONS, Family, Meaning

KINDS = {  # of distances: in words, of equal images, and which way is better
    "l1": ("mean absolute error over pixels in [-1, 1]", 0, "lower"),
    "psnr": ("mean peak signal-to-noise ratio in dB, at most 100,", 100, "higher"),
    "ssim": ("mean structural similarity", 1, "higher"),
    "lpips": ("mean LPIPS distance by AlexNet", 0, "lower"),
}


class Numbers(Family):
    """reconstruction/l1/x, the error of images of x from their own codes, and for pairs
    translation/reference_l1/x_to_y, the error of y from x's content and y's own style, or of a model without
    styles of images translation/l1/x_to_y, that of y from x alone; over the whole split. The same as psnr and
    ssim, and as lpips with test.lpips."""

    name = "reconstruction"
    kept = ("errors",)
    question = QUESTIONS[1]
    needs = ("content",)

    def __init__(self, view: View):
        super().__init__(view)
        self.distances: dict[str, Distance] = {"l1": l1, "psnr": psnr, "ssim": ssim}
        if view.settings.lpips:
            self.distances["lpips"] = lpips_distance(view.device)
        self.errors: dict[str, list[Tensor]] = defaultdict(list)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        rebuilt = any(map(view.model.rebuilds, range(len(view.domains))))
        nothing = None if rebuilt or view.dataset.paired else "the model rebuilds no image from its codes"
        return super().why_not(view) or nothing

    def see(self, part: Part) -> None:
        model = self.view.model
        for domain, name in enumerate(self.view.domains):
            if len(part.items[domain]) and model.rebuilds(domain):
                self.compare("reconstruction/", name, part.reconstruction(domain), part.images[domain])
        if self.view.dataset.paired:
            start = "translation/reference_" if model.has_style else "translation/"
            for a, b in model.directions:
                made = part.in_partners_style(a, b) if model.has_style else part.translation(a, b)
                self.compare(start, self.view.way(a, b), made, part.images[b])

    def compare(self, start: str, end: str, made: Tensor, real: Tensor) -> None:
        for kind, distance in self.distances.items():
            self.errors[f"{start}{kind}/{end}"].append(distance(made, real).cpu())

    def numbers(self) -> dict[str, float]:
        return {name: torch.cat(values).double().mean().item() for name, values in self.errors.items()}

    def meanings(self) -> tuple[Meaning, ...]:
        of = {
            "reconstruction/": "an image encoded and decoded again",
            "translation/reference_": "a translation with the partner's own style",
            "translation/": "a translation without the partner's style",
        }
        return tuple(
            Meaning(f"{start}{kind}", f"{words} of {made}", None, perfect, better)
            for start, made in of.items()
            for kind, (words, perfect, better) in KINDS.items()
        )
