"""The numbers of test mode as answers to a reader's questions: words, and where each number lies between
ignorance and perfection."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from solvers.visualization.published import Published

OTHER = "Other numbers"


class Bar(NamedTuple):
    """A scale from `start` to `end`, the better; `done` and `marks` are shares of it in percent."""

    start: float
    end: float
    done: float
    marks: list[tuple[str, float]]


@dataclass
class Row:
    """One number: its key in metrics.json, what tells it from others of its kind, what real images score in
    its place, and what was published."""

    key: str
    label: str
    value: float
    real: float | None = None
    published: Published | None = None
    bar: Bar | None = None

    @property
    def spoken(self) -> str:
        """The bar in words."""
        assert self.bar is not None
        return f"{self.bar.done:.0f} % of the way from {self.bar.start:.4g} to {self.bar.end:.4g}"


@dataclass
class Kind:
    """Numbers that mean the same: by what their keys begin with, a sentence, and facts of the scale."""

    name: str
    words: str
    facts: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def meaning_of(number: str, meanings: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """What a number means: of the beginnings that its name has, the longest holds."""
    start = beginning(number, meanings)
    return meanings[start] if start else None


def beginning(number: str, meanings: dict[str, dict[str, Any]]) -> str:
    return max((start for start in meanings if number.startswith(start)), key=len, default="")


def answers(
    metrics: dict[str, float], protocol: dict[str, Any], published: dict[str, Published]
) -> dict[str, list[Kind]]:
    """The kinds of numbers that answer each question, in the order of the numbers. What real images score
    stands beside what translations to their domain do."""
    meanings, domains = protocol.get("numbers", {}), list(protocol.get("images", {}))
    ways = {f"{a}_to_{b}": (a, b) for a in domains for b in domains}
    beside: set[str] = set()
    prior = protocol.get("prior") or {}
    drawn, drawn_from = prior.get("numbers", ()), f"random styles: {prior.get('which', 'model')} prior"
    found: dict[str, dict[str, Kind]] = {}
    for key, value in metrics.items():
        if key == "iteration":
            continue
        start = beginning(key, meanings)
        about = meanings.get(start, {})
        kinds = found.setdefault(about.get("question", OTHER), {})
        kind = kinds.setdefault(start, Kind(start.strip("/"), about.get("words", ""), facts(about)))
        row = Row(key, label(key.removeprefix(start), ways, domains), value, published=published.get(key))
        above, _, way = key.rpartition("/")
        real = f"{above}/real_{ways[way][1]}" if way in ways else ""
        if real in metrics:
            row.real = metrics[real]
            beside.add(real)
        row.bar = bar(row, about)
        kind.rows.append(row)
        if key in drawn and drawn_from not in kind.facts:
            kind.facts.append(drawn_from)
    for kind in (kind for kinds in found.values() for kind in kinds.values()):
        kind.rows = [row for row in kind.rows if row.key not in beside]
    return {question: list(kinds.values()) for question, kinds in found.items()}


def label(rest: str, ways: dict[str, tuple[str, str]], domains: list[str]) -> str:
    """What follows the beginning of a key, in words; domains keep their names."""
    known = {way: " to ".join(ends) for way, ends in ways.items()}
    known |= {name: name for name in domains} | {f"real_{name}": f"real {name}" for name in domains}
    return ", ".join(known.get(part, part.replace("_", " ")) for part in rest.split("/") if part)


def prior_in_words(prior: dict[str, Any]) -> str:
    """What random styles were drawn from, as a protocol says it; older ones know the model's own alone."""
    which = prior.get("which", "model")
    if which != "fitted":
        return {"model": "the model's own", "none": "none"}.get(which, str(which))
    counts = ", ".join(f"{count} for {name}" for name, count in (prior.get("components") or {}).items())
    images = f"at most {prior.get('training_images_at_most')} training images of a domain"
    return f"fitted to styles of {images}; Gaussians, by {prior.get('chosen_by')}: {counts}"


def facts(about: dict[str, Any]) -> list[str]:
    chance, perfect, better = (about.get(name) for name in ("chance", "perfect", "better"))
    if chance is not None and chance == perfect:
        return [f"best is chance, {chance:.4g}"]
    found = [f"chance {chance:.4g}"] if chance is not None else []
    found += [f"perfection {perfect:.4g}"] if perfect is not None else []
    return found + ([f"{better} is better"] if better else [])


def bar(row: Row, about: dict[str, Any]) -> Bar | None:
    """None where nothing says how far a number can go. Where chance is best, the worst is 1, since it is of
    shares; where there is no chance, a share begins at 0; where nothing is perfect, real images are."""
    chance, perfect = about.get("chance"), about.get("perfect")
    start = 0 if chance is None and (perfect, about.get("better")) == (1, "higher") else chance
    end = row.real if perfect is None else perfect
    if start is None or end is None or not math.isfinite(row.value):
        return None
    start = 1 if start == end else start
    if start == end:
        return None
    others = {"real images": row.real, "published": row.published and row.published.value}
    marks = [(name, share(at, start, end)) for name, at in others.items() if at is not None]
    return Bar(start, end, share(row.value, start, end), marks)


def share(value: float, start: float, end: float) -> float:
    """In percent of the way, 0 to 100."""
    return 100 * min(1.0, max(0.0, (value - start) / (end - start)))
