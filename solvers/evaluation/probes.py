"""Probes: what can be read from a code by a small model that is trained on half of the split and judged on
the other half. A linear one, and beside it an MLP, from which less can hide.

A score above chance shows that something is there; a score at chance does not show that nothing is.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dataloader.dataset import Label
from solvers.evaluation.codes import Part, Rows, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

IMAGES = 2000  # of each domain, at most
FEATURES = 1024  # of each code, at most
KINDS = 32  # a label with more values (a colour, say) is no class
MLP = {
    "hidden_layer_sizes": (64,),
    "max_iter": 60,
    "learning_rate_init": 3e-3,
    "alpha": 1e-2,
}
ALPHAS = tuple(10.0**power for power in range(-1, 6))  # of ridge regression; the training half chooses
GAP = (
    "how far content and style are separated: the smallest difference, from 0 (chance) to 1, between what "
    "one code should know and what the other does"
)
PROBES = ("probe", "probe_mlp")  # names of the linear ones and of the MLPs


class Numbers(Family):
    """Of a code of content or style and a label, probe/<code>/<label> by a linear probe and
    probe_mlp/<code>/<label> by an MLP: balanced accuracy of a class (chance: one over the number of values),
    R2 of a number or an angle, at least 0 (chance: 0).

    - `domain`, from the contents of all domains together, where there are several;
    - each label that domains share: a class that every domain has with the same values, such as `digit`, or a
      number or angle: from the contents of all domains together, and from the styles of each domain alone,
      averaged over domains;
    - each label that one domain alone shows, such as `x_colour`, and each attribute of a single domain: from
      that domain's contents and styles. A colour's three numbers and an angle's sine and cosine are one
      label, their R2 averaged.

    probe/gap puts every score on a scale from 0 (chance) to 1 (perfect), takes of linear probe and MLP what
    knows more, and is the smallest of: content minus style for each shared label, style minus content for
    each exclusive one, and 1 minus the content's knowledge of the domain. 1: separated; 0 or less: not.

    Up to 2,000 images of each domain, the same indices in every domain where it has as many, so that partners
    never stand on both sides.
    """

    name = "probes"
    kept = ("contents", "styles", "seen")
    question = QUESTIONS[2]
    needs = ("content", "codes", "codes of all")

    def __init__(self, view: View):
        super().__init__(view)
        draw = np.random.Generator(np.random.PCG64(view.seed))
        self.index = draw.permutation(min(view.counts))[:IMAGES]
        domains = range(len(view.domains))
        self.contents, self.styles = ([Rows(len(self.index)) for _ in domains] for _ in range(2))
        self.seen: list[dict[str, Rows]] = [{} for _ in domains]
        self.labels: list[dict[str, np.ndarray]] = []  # that were seen
        self.about: dict[str, Meaning] = {}

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
                known = self.seen[domain].setdefault(name, Rows(len(self.index)))
                known.put(places, values[mine].cpu().numpy().astype(int))

    def numbers(self) -> dict[str, float]:
        count, domains = len(self.index), len(self.view.domains)
        self.labels = [{name: rows.array for name, rows in seen.items()} for seen in self.seen]
        training, seed = np.arange(count) < count // 2, self.view.seed
        contents, styles = ([rows.array for rows in side] for side in (self.contents, self.styles))
        together, halves = np.concatenate(contents), np.tile(training, domains)
        has_style = self.view.model.has_style
        found: dict[str, float] = {}
        gaps = []
        if domains > 1:
            where = class_scores(together, np.repeat(np.arange(domains), count), halves, seed)
            gaps.append(1 - self.note(found, "content/domain", 1 / domains, 1 / domains, where))
        for name, label in self.shared(training):
            known = [self.target_of(label, domain) for domain in range(domains)]
            score, chance = score_of(label, known[0])
            scores = score(together, np.concatenate(known), halves, seed)
            content = self.note(found, f"content/{name}", chance, 1, scores)
            if has_style:
                each = [score(code, values, training, seed) for code, values in zip(styles, known)]
                means = [float(np.mean(scores)) for scores in zip(*each)]
                gaps.append(content - self.note(found, f"style/{name}", chance, chance, means))
        for name, label in self.exclusive(training):
            known = self.target_of(label, label.domain)
            score, chance = score_of(label, known)
            scores = score(contents[label.domain], known, training, seed)
            content = self.note(found, f"content/{name}", chance, chance, scores)
            if has_style:
                scores = score(styles[label.domain], known, training, seed)
                gaps.append(self.note(found, f"style/{name}", chance, 1, scores) - content)
        if len(gaps) > (domains > 1):  # of the domain alone there is no gap
            found["probe/gap"] = min(gaps)
            self.about["probe/gap"] = Meaning("probe/gap", GAP, 0, 1, "higher")
        return found

    def shared(self, training: np.ndarray) -> list[tuple[str, Label]]:
        """The labels of what domains share that can be probed: of classes `shared_classes`, also where the
        data say nothing of them, and numbers and angles that vary in every domain."""
        knows = self.known_labels()
        others = {
            part
            for label in knows.values()
            if label.domain is not None or label.kind != "class"
            for part in label.names
        }
        classes = [name for name in shared_classes(self.labels, training) if name not in others]
        return [(name, Label("class", (name,))) for name in classes] + [
            (name, label)
            for name, label in knows.items()
            if label.domain is None
            and label.kind != "class"
            and all(self.varies(label, domain) for domain in range(len(self.labels)))
        ]

    def exclusive(self, training: np.ndarray) -> list[tuple[str, Label]]:
        """The labels of one domain alone that can be probed: classes with 2 to KINDS values that training
        has seen all of, and numbers and angles that vary."""
        found = []
        for name, label in self.known_labels().items():
            if label.domain is None or not self.varies(label, label.domain):
                continue
            if label.kind == "class":
                values = self.labels[label.domain][label.names[0]]
                kinds = set(values.tolist())
                if len(kinds) > KINDS or set(values[training].tolist()) != kinds:
                    continue
            found.append((name, label))
        return found

    def known_labels(self) -> dict[str, Label]:
        """What the data say of their labels; the attributes of a single domain are for its style to say."""
        data = self.view.dataset
        own = data.attributes if len(data.domains) == 1 else ()
        return {
            name: label._replace(domain=0) if name in own else label for name, label in data.knows.items()
        }

    def varies(self, label: Label, domain: int) -> bool:
        """Whether this domain has the label, with more than one value."""
        known = self.labels[domain]
        return all(name in known for name in label.names) and any(
            len(np.unique(known[name])) > 1 for name in label.names
        )

    def target_of(self, label: Label, domain: int) -> np.ndarray:
        """What a probe learns of this label: classes [N], numbers [N, D], or an angle's cosine and sine
        [N, 2]."""
        values = np.stack([self.labels[domain][part] for part in label.names], axis=1)
        if label.kind == "class":
            return values[:, 0]
        if label.kind == "angle":
            turn = 2 * np.pi * values / label.period
            values = np.concatenate((np.cos(turn), np.sin(turn)), axis=1)
        return values.astype(float)

    def note(
        self, found: dict[str, float], name: str, chance: float, perfect: float, scores: Iterable[float]
    ) -> float:
        """Keep the scores of both probes, and what they mean; the larger on the scale from chance to 1."""
        scores = tuple(scores)
        whose, _, label = name.partition("/")
        for probe_name, score in zip(PROBES, scores):
            found[f"{probe_name}/{name}"] = score
            kind = "a linear probe" if probe_name == "probe" else "an MLP"
            measure = "balanced accuracy" if chance else "R2"
            words = f"{measure} with which {kind} reads {label} from the {whose} code"
            better = "higher" if perfect > chance else "lower"
            full = f"{probe_name}/{name}"
            self.about[full] = Meaning(full, words, chance, perfect, better)
        return float(np.clip((max(scores) - chance) / (1 - chance), 0, 1))

    def meanings(self) -> Iterable[Meaning]:
        return self.about.values()

    def protocol(self) -> dict[str, Any]:
        return {
            "images_per_domain": len(self.index),
            "trained_on": len(self.index) // 2,
            "features": FEATURES,
            "ridge": list(ALPHAS),
            "mlp": str(MLP),
        }


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


def score_of(label: Label, target: np.ndarray) -> tuple[Callable[..., tuple[float, float]], float]:
    """The function that scores probes of this label, and what chance scores."""
    if label.kind == "class":
        return class_scores, 1 / len(np.unique(target))
    return number_scores, 0.0


def class_scores(
    codes: np.ndarray, classes: np.ndarray, training: np.ndarray, seed: int
) -> tuple[float, float]:
    """The balanced accuracies of a linear probe and of an MLP."""
    return probe(codes, classes, training), mlp_probe(codes, classes, training, seed)


def number_scores(
    codes: np.ndarray, values: np.ndarray, training: np.ndarray, seed: int
) -> tuple[float, float]:
    """The R2 of a linear probe and of an MLP, [N, D] each, averaged over the D values, at least 0.

    How strongly the linear one, a ridge regression, is held back is chosen of ALPHAS by leaving out one
    training item at a time: with as many features as items a weak one knows nothing of what is there."""
    scale = StandardScaler().fit(values[training])
    wanted = scale.transform(values)
    wanted = wanted[:, 0] if wanted.shape[1] == 1 else wanted
    models = (RidgeCV(ALPHAS), MLPRegressor(random_state=seed, **MLP))
    return tuple(
        max(0.0, float(r2_score(wanted[~training], predicted(model, codes, wanted, training))))
        for model in models
    )


def probe(codes: np.ndarray, classes: np.ndarray, training: np.ndarray) -> float:
    """The balanced accuracy (mean recall over classes) on the items that are not `training` of a logistic
    regression, on standardised codes [N, F], trained on those that are."""
    return balanced(LogisticRegression(C=0.1, max_iter=1000), codes, classes, training)


def mlp_probe(codes: np.ndarray, classes: np.ndarray, training: np.ndarray, seed: int) -> float:
    """The same of an MLP with one hidden layer."""
    return balanced(MLPClassifier(random_state=seed, **MLP), codes, classes, training)


def balanced(model: Any, codes: np.ndarray, classes: np.ndarray, training: np.ndarray) -> float:
    guess, truth = predicted(model, codes, classes, training), classes[~training]
    return float(np.mean([np.mean(guess[truth == kind] == kind) for kind in np.unique(truth)]))


def predicted(model: Any, codes: np.ndarray, wanted: np.ndarray, training: np.ndarray) -> np.ndarray:
    """What `model`, trained on standardised codes of the `training` items, says of the others."""
    fitted = make_pipeline(StandardScaler(), model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an MLP ends after its epochs
        fitted.fit(codes[training], wanted[training])
    return fitted.predict(codes[~training])
