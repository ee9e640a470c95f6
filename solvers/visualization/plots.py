"""Plots as pictures: where styles lie, how losses went and what asking for an attribute changed. Matplotlib
is loaded only when one is drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA

from solvers.visualization.page import is_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = (4.2, 3.6)  # width and height of one panel, in inches of DPI pixels
DPI = 100


def style_space(
    styles: list[np.ndarray], components: list[np.ndarray], domains: tuple[str, ...], kinds: int
) -> np.ndarray:
    """The styles of each domain, [N, D] with the likeliest of `kinds` components [N] of each, along the two
    directions in which they differ most: once coloured by component, once by domain. uint8 [H, W, 3]."""
    return rendered(style_figure(styles, components, domains, kinds))


def loss_curves(rows: Sequence[Mapping[str, Any]], across: int = 4) -> np.ndarray | None:
    """One panel for each loss in the rows of metrics.jsonl, over iterations: uint8 [H, W, 3]; None for less
    than two rows."""
    figure = loss_figure(rows, across)
    return None if figure is None else rendered(figure)


def style_figure(
    styles: list[np.ndarray], components: list[np.ndarray], domains: tuple[str, ...], kinds: int
) -> "Figure":
    """What `style_space` shows."""
    places = principal_components(np.concatenate(styles))
    figure = empty_figure(1, 2)
    by_component, by_domain = figure.subplots(1, 2)
    names = [f"component {number}" for number in range(kinds)]
    scatter(by_component, places, np.concatenate(components), names)
    scatter(by_domain, places, np.repeat(np.arange(len(domains)), [len(codes) for codes in styles]), domains)
    by_component.set_title("styles by component")
    by_domain.set_title("styles by domain")
    return figure


def loss_figure(rows: Sequence[Mapping[str, Any]], across: int = 4) -> "Figure | None":
    """What `loss_curves` shows."""
    rows = [row for row in rows if any(map(is_loss, row))]
    names = list(dict.fromkeys(name for row in rows for name in row if is_loss(name)))
    if len(rows) < 2:
        return None
    across = min(across, len(names))
    down = -(-len(names) // across)
    figure = empty_figure(down, across)
    panels = figure.subplots(down, across, squeeze=False).flat
    for name, panel in zip(names, panels):
        iterations, values = zip(*[(row["iteration"], row[name]) for row in rows if name in row])
        panel.plot(iterations, values, marker="." if len(values) == 1 else None)
        panel.set_title(f"{name}  {values[-1]:.4g}")
        panel.set_xlabel("iteration")
    for panel in panels:  # those left over, since zip asks `names` first
        panel.remove()
    return figure


def principal_components(codes: np.ndarray, count: int = 2) -> np.ndarray:
    """[N, D] -> float64 [N, count], the codes along the directions of their greatest variance; columns that
    are too many are 0. Each direction's sign is such that its largest entry is positive."""
    codes = codes.astype(np.float64)
    found = PCA(min(count, *codes.shape), svd_solver="full")
    with np.errstate(divide="ignore", invalid="ignore"):  # shares of a variance that may be 0
        places = found.fit_transform(codes)
    directions = found.components_
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.pad(places * np.sign(largest), ((0, 0), (0, count - len(directions))))


def scatter(axes: "Axes", places: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> None:
    """Points [N, 2], each in the colour of its group [N], with a legend of the groups that occur. A length is
    as long in both directions."""
    for group in np.unique(groups):
        x, y = places[groups == group].T
        axes.scatter(x, y, s=14, linewidths=0, color=f"C{group % 10}", label=f"{names[group]}: {len(x)}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def empty_figure(down: int, across: int) -> "Figure":
    """Room for `down` x `across` panels."""
    from matplotlib.figure import Figure

    return Figure((across * PANEL[0], down * PANEL[1]), dpi=DPI, layout="constrained")


def rendered(figure: "Figure") -> np.ndarray:
    """The figure as a picture, uint8 [H, W, 3]. No window and no state of pyplot's is involved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def asked_and_changed(numbers: Mapping[str, float]) -> tuple[list[str], list[str], np.ndarray] | None:
    """From the numbers of attributes by name what was asked (R), what may have changed (C), and the shares
    [R, C] of images in which it did: what was asked became so, anything else did not stay as it was. NaN
    where nothing was measured; None where there are no such numbers."""
    names = [name.split("/") for name in numbers if name.startswith("attributes/")]
    rows = [name[1] for name in names if len(name) == 3 and name[2] == "asked"]
    columns = list(dict.fromkeys(name[2] for name in names if len(name) == 3 and name[1] == "reader"))
    if not rows:
        return None
    shares = np.full((len(rows), len(columns)), np.nan)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            if row in column.split("+"):
                shares[r, c] = numbers[f"attributes/{row}/asked"]
            elif (kept := f"attributes/{row}/kept/{column}") in numbers:
                shares[r, c] = 1 - numbers[kept]
    return rows, columns, shares


def attribute_changes(numbers: Mapping[str, float]) -> np.ndarray | None:
    """What changed, in columns, when each attribute was asked for, in rows, of the numbers of attributes by
    name: uint8 [H, W, 3]; None where there are none. What was asked for is framed."""
    found = asked_and_changed(numbers)
    return None if found is None else rendered(change_figure(*found))


def change_figure(rows: Sequence[str], columns: Sequence[str], shares: np.ndarray) -> "Figure":
    """What `attribute_changes` shows."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    size = (2.5 + 0.65 * len(columns), 1.8 + 0.45 * len(rows))
    figure = Figure(size, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [name.replace("+", "\n") for name in columns])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylabel("asked for")
    axes.set_title("share of images in which it changed")
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            if np.isfinite(shares[r, c]):
                ink = "white" if shares[r, c] > 0.6 else "black"
                axes.text(c, r, f"{shares[r, c]:.2f}", ha="center", va="center", color=ink, fontsize="small")
            if row in column.split("+"):
                axes.add_patch(Rectangle((c - 0.48, r - 0.46), 0.96, 0.92, fill=False, edgecolor="#b0562a"))
    return figure
