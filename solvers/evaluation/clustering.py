"""Whether the components of a mixture of styles are classes of the data."""

from collections import defaultdict

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score

from solvers.evaluation.codes import Part, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

KINDS = 32  # a label with more values is no class


class Numbers(Family):
    """Of each label with 2 to 32 values of each domain x's test images against the likeliest component:
    clustering/nmi/x/label, the normalised mutual information (arithmetic mean; 0 to 1), and
    clustering/accuracy/x/label, the share that is right when components and values are matched as well as can
    be, one to one. Besides, clustering/components/x, how many components are the likeliest of some image."""

    name = "clustering"
    kept = ("components", "labels")
    question = QUESTIONS[2]
    needs = ("components",)

    def __init__(self, view: View):
        super().__init__(view)
        self.components: dict[int, list[np.ndarray]] = defaultdict(list)
        self.labels: dict[tuple[int, str], list[np.ndarray]] = defaultdict(list)

    def see(self, part: Part) -> None:
        for domain, items in enumerate(part.items):
            if len(items):
                self.components[domain].append(part.components(domain).argmax(dim=1).cpu().numpy())
                for name, values in part.labels[domain].items():
                    self.labels[domain, name].append(values.cpu().numpy())

    def numbers(self) -> dict[str, float]:
        found = {}
        for domain, name in enumerate(self.view.domains):
            chosen = np.concatenate(self.components[domain])
            found[f"clustering/components/{name}"] = float(len(np.unique(chosen)))
            for label in [label for d, label in self.labels if d == domain]:
                truth = np.concatenate(self.labels[domain, label])
                if 2 <= len(np.unique(truth)) <= KINDS:
                    nmi = normalized_mutual_info_score(truth, chosen)
                    found[f"clustering/nmi/{name}/{label}"] = float(nmi)
                    found[f"clustering/accuracy/{name}/{label}"] = matched_accuracy(truth, chosen)
        return found

    def meanings(self) -> tuple[Meaning, ...]:
        nmi = "normalised mutual information of the likeliest component with a label"
        accuracy = "share of images whose component is their label's, matched one to one"
        return (
            Meaning("clustering/nmi", nmi, 0, 1, "higher"),
            Meaning("clustering/accuracy", accuracy, None, 1, "higher"),
            Meaning("clustering/components", "how many components are the likeliest of some image"),
        )


def matched_accuracy(truth: np.ndarray, chosen: np.ndarray) -> float:
    """The share of items [N] whose cluster is their class's, under the best one-to-one matching."""
    table = np.zeros((truth.max() + 1, chosen.max() + 1))
    np.add.at(table, (truth, chosen), 1)
    return float(table[linear_sum_assignment(-table)].sum() / len(truth))
