"""Linear probes: what can be read from a code by a linear classifier that is trained on half of the test
split and judged on the other half.

A probe finds only what stands in a code linearly: a score above chance shows that something is there, a score
at chance does not show that nothing is.
"""

import numpy as np
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from solvers.evaluation.codes import Part, Rows, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

IMAGES = 2000  # of each domain, at most
FEATURES = 1024  # of each code, at most
KINDS = 32  # a label with more values (a colour, say) is no class


class Numbers(Family):
    """Balanced accuracies: probe/content/domain, the domain from the content code (chance: one over the
    number of domains), and for each label that every domain has with the same values, such as `digit`:
    probe/content/digit from the contents of all domains together, and probe/style/digit from the styles of
    each domain alone, averaged over domains (chance: one over the number of values).

    Up to 2,000 images of each domain, the same indices in every domain where it has as many, so that partners
    never stand on both sides.
    """

    name = "probes"
    question = QUESTIONS[2]
    needs = ("content", "codes", "codes of all")

    def __init__(self, view: View):
        super().__init__(view)
        draw = np.random.Generator(np.random.PCG64(view.seed))
        self.index = draw.permutation(min(view.counts))[:IMAGES]
        domains = range(len(view.domains))
        self.contents, self.styles = ([Rows(len(self.index)) for _ in domains] for _ in range(2))
        self.labels: list[dict[str, np.ndarray]] = [{} for _ in domains]

    @classmethod
    def why_not(cls, view: View) -> str | None:
        return super().why_not(view) or ("the split is too small" if min(view.counts) < 4 else None)

    def see(self, part: Part) -> None:
        for domain in range(len(self.view.domains)):
            places, mine = part.chosen(domain, self.index)
            if not len(places):
                continue
            self.contents[domain].put(places, features(part.content(domain)[mine]))
            if self.view.model.has_style:
                self.styles[domain].put(places, features(part.style(domain)[mine]))
            for name, values in part.labels[domain].items():
                known = self.labels[domain].setdefault(name, np.zeros(len(self.index), int))
                known[places] = values[mine].cpu().numpy()

    def numbers(self) -> dict[str, float]:
        count, domains = len(self.index), len(self.view.domains)
        training = np.arange(count) < count // 2
        together = np.concatenate([rows.array for rows in self.contents])
        halves = np.tile(training, domains)
        found = {"probe/content/domain": probe(together, np.repeat(np.arange(domains), count), halves)}
        for name in shared_classes(self.labels, training):
            classes = np.concatenate([known[name] for known in self.labels])
            found[f"probe/content/{name}"] = probe(together, classes, halves)
            if self.view.model.has_style:
                scores = [
                    probe(rows.array, known[name], training) for rows, known in zip(self.styles, self.labels)
                ]
                found[f"probe/style/{name}"] = float(np.mean(scores))
        return found

    def meanings(self) -> tuple[Meaning, ...]:
        one = 1 / len(self.view.domains)
        score = "balanced accuracy of a linear probe that reads"
        return (
            Meaning("probe/content/domain", f"{score} the domain from the content code", one, one, "lower"),
            Meaning("probe/content", f"{score} a label from the content code", None, 1, "higher"),
            Meaning(
                "probe/style", f"{score} a label that domains share from the style code", None, None, "lower"
            ),
        )


def features(code: Tensor) -> np.ndarray:
    """A code [B, ...] as float64 [B, F] with F at most FEATURES. A map [B, C, H, W] that is larger is
    averaged over a grid as fine as fits; of what is still too long, every so many-th number is taken."""
    code = code.float()
    if code.ndim == 4 and code[0].numel() > FEATURES:
        side = max(1, int((FEATURES / code.shape[1]) ** 0.5))
        code = F.adaptive_avg_pool2d(code, (min(side, code.shape[2]), min(side, code.shape[3])))
    flat = code.flatten(1)
    step = -(-flat.shape[1] // FEATURES)
    return flat[:, ::step].double().cpu().numpy()


def shared_classes(labels: list[dict[str, np.ndarray]], training: np.ndarray) -> list[str]:
    """The labels that every domain has, with the same 2 to KINDS values in each, all of them seen in
    training."""
    found = []
    for name in labels[0]:
        if not all(name in known for known in labels):
            continue
        values = set(labels[0][name].tolist())
        halves = [known[name][half].tolist() for known in labels for half in (training, slice(None))]
        if 2 <= len(values) <= KINDS and all(set(half) == values for half in halves):
            found.append(name)
    return found


def probe(codes: np.ndarray, classes: np.ndarray, training: np.ndarray) -> float:
    """The balanced accuracy (mean recall over classes) on the items that are not `training` of a logistic
    regression, on standardised codes [N, F], trained on those that are."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    fitted.fit(codes[training], classes[training])
    guess, truth = fitted.predict(codes[~training]), classes[~training]
    return float(np.mean([np.mean(guess[truth == kind] == kind) for kind in np.unique(truth)]))
