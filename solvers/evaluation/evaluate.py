"""Test mode: pictures, and every family's numbers from one look at the split."""

import json
from typing import Any

import numpy as np
import torch

from dataloader.domains import spread
from solvers.evaluation.codes import Part, Rows, View
from solvers.evaluation.family import Family, chosen
from solvers.evaluation.prior import said_of, with_prior
from solvers.evaluation.shares import first_alone, gather
from solvers.run.folder import RunFolder, write_whole
from solvers.visualization.grids import save_png
from solvers.visualization.pictures import save_pictures
from solvers.visualization.plots import attribute_changes, style_space

STYLES_SHOWN = 400  # of each domain, at most


def evaluate(
    view: View, run: RunFolder, iteration: int, choice: dict[str, Any] | None = None
) -> dict[str, float]:
    """Grids and metrics.json in run.results, in eval mode and float32, the same for the same checkpoint. Of
    several processes all look and the first writes; the others have no numbers. `choice` says how that of
    this `iteration` was chosen, where it is not the last. Raises DataError, RunError."""
    view.model.eval()
    view = with_prior(view, run)
    for reason in view.model.missing.values():
        view.say(f"Left out: {reason}")
    plot = StyleSpace(view) if view.model.components and view.model.has_style else None
    if view.share[0]:
        return measure(view, plot)[0]
    save_pictures(view.model, view.dataset, view.seed, run.results, view.device)
    metrics, protocol = measure(view, plot)
    protocol["checkpoint"] = {"iteration": iteration, **(choice or {"chosen": "last"})}
    if plot is not None:
        save_png(plot.picture(), run.results / "style_space.png")
    if (changes := attribute_changes(metrics)) is not None:
        save_png(changes, run.results / "attributes_asked_and_changed.png")
    found = {"iteration": iteration, **metrics, "protocol": protocol}
    write_whole(run.results / "metrics.json", json.dumps(found, indent=2) + "\n")
    return metrics


def measure(view: View, *watching: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """The numbers of the families that test.metrics names, by flat names, and what a reader should know of
    them. Each image is read and encoded once, whoever looks; `watching` look on too. Of several processes the
    first has the numbers."""
    left_out, families = {}, []
    with first_alone(view.share):  # it packs data and trains classifiers, which the others then find
        for family in chosen(view.settings):
            if (reason := family.why_not(view)) is not None:
                left_out[family.name] = reason
            else:
                families.append(family(view))
    everyone = [*families, *(one for one in watching if one is not None)]
    look(view, *everyone)
    if view.share[1] > 1:
        gather(everyone)
    if view.share[0]:
        return {}, {}
    numbers: dict[str, float] = {}
    drawn: list[str] = []
    for family in families:
        found = family.numbers()
        numbers |= found
        drawn += [name for name in found if family.draws(name)]
    if left_out:
        view.say("Left out: " + "; ".join(f"{name} ({reason})" for name, reason in left_out.items()))
    return numbers, {
        "split": view.split,
        "images": dict(zip(view.domains, view.counts)),
        "seed": view.seed,
        "model": view.model.protocol,
        "prior": said_of(view) | {"numbers": drawn},
        "families": {family.name: family.protocol() for family in families},
        "left_out": left_out,
        "numbers": meanings(families, numbers),
    }


@torch.no_grad()
def look(view: View, *watching: Any) -> None:
    """Show every part of the split to all that are `watching`."""
    if watching:
        for part in view.parts():
            for one in watching:
                one.see(part)


def meanings(families: list[Family], numbers: dict[str, float]) -> dict[str, dict[str, Any]]:
    """What the numbers say, by the beginnings of their names: words, chance, perfect, better, and the
    question that they answer."""
    found = {}
    for family in families:
        for name, *facts in family.meanings():
            if any(number.startswith(name) for number in numbers):
                about = dict(zip(("words", "chance", "perfect", "better"), facts))
                found[name] = {**about, "question": family.question}
    return found


class StyleSpace:
    """Collects the styles of some images of each domain, and their likeliest components, for a plot."""

    kept = ("styles", "components")

    def __init__(self, view: View):
        self.view = view
        self.index = [spread(count, STYLES_SHOWN) for count in view.counts]
        self.styles, self.components = ([Rows(len(index)) for index in self.index] for _ in range(2))

    def see(self, part: Part) -> None:
        for domain, wanted in enumerate(self.index):
            places, mine = part.chosen(domain, wanted)
            if len(places):
                self.styles[domain].put(places, part.style(domain)[mine].flatten(1))
                self.components[domain].put(places, part.components(domain)[mine].argmax(dim=1))

    def codes(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Of each domain the styles [N, D] and the likeliest components [N]."""
        styles, components = ([rows.array for rows in side] for side in (self.styles, self.components))
        return styles, components

    def picture(self) -> np.ndarray:
        """uint8 [H, W, 3]."""
        return style_space(*self.codes(), self.view.domains, self.view.model.components)
