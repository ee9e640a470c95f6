"""Whether images come back from their own codes, and pairs from each other's."""

from collections import defaultdict

import torch
from torch import Tensor

from solvers.evaluation.codes import Part, View
from solvers.evaluation.family import NEEDS, QUESTIONS, Family, Meaning


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of each image: [B, 3, H, W] twice -> [B], for images in [-1, 1] between 0
    and 2."""
    return (a - b).abs().flatten(1).mean(dim=1)


class Numbers(Family):
    """reconstruction/l1/x, the error of images of x from their own content and style, and for pairs
    translation/reference_l1/x_to_y, the error of y from x's content and y's own style, or of a model without
    styles of images translation/l1/x_to_y, that of y from x alone; over the whole split."""

    name = "reconstruction"
    question = QUESTIONS[1]
    needs = ("content",)

    def __init__(self, view: View):
        super().__init__(view)
        self.errors: dict[str, list[Tensor]] = defaultdict(list)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        no_style = None if view.model.has_style or view.dataset.paired else NEEDS["style"][1]
        return super().why_not(view) or no_style

    def see(self, part: Part) -> None:
        model = self.view.model
        for domain, name in enumerate(self.view.domains):
            if len(part.items[domain]) and model.rebuilds(domain):
                error = l1(part.reconstruction(domain), part.images[domain])
                self.errors[f"reconstruction/l1/{name}"].append(error.cpu())
        if self.view.dataset.paired:
            kind = "reference_l1" if model.has_style else "l1"
            for a, b in model.directions:
                made = part.in_partners_style(a, b) if model.has_style else part.translation(a, b)
                self.errors[f"translation/{kind}/{self.view.way(a, b)}"].append(
                    l1(made, part.images[b]).cpu()
                )

    def numbers(self) -> dict[str, float]:
        return {name: torch.cat(values).double().mean().item() for name, values in self.errors.items()}

    def meanings(self) -> tuple[Meaning, ...]:
        error = "mean absolute error over pixels in [-1, 1]"
        rebuilt = f"{error} of an image encoded and decoded again"
        translated = f"{error} of a translation with the partner's own style"
        return (
            Meaning("reconstruction/l1", rebuilt, None, 0, "lower"),
            Meaning("translation/reference_l1", translated, None, 0, "lower"),
            Meaning(
                "translation/l1", f"{error} of a translation without the partner's style", None, 0, "lower"
            ),
        )
