"""A mixture of Gaussians with full covariances, fitted to codes of real images after training (ex-post
density estimation: Ghosh, Sajjadi, Vergari, Black, Schoelkopf, ICLR 2020, arXiv 1903.12436)."""

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture  # takes time to load, which few runs need

MOST = 20  # components that the Bayesian information criterion (BIC) chooses among
PATIENCE = 4  # the search ends when so many numbers in a row are no better than an earlier one
STARTS = 3  # of each number of components; the likeliest counts
SMALLEST = 1e-6  # added to variances, in the codes' own mean variance, so that none becomes zero


class Mixture(NamedTuple):
    """Of styles of `shape` with D values in all: `weights` [K], which add up to 1; `means` [K, D]; `factors`
    [K, D, D], lower triangles whose products with their transposes are the covariances. All float64."""

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    shape: tuple[int, ...]

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws [count, *shape] of the default float type, on the CPU."""
        chosen = torch.multinomial(torch.from_numpy(self.weights), count, True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        drawn = torch.empty_like(noise)
        for component in chosen.unique().tolist():
            mine, factor = chosen == component, torch.from_numpy(self.factors[component])
            drawn[mine] = torch.from_numpy(self.means[component]) + noise[mine] @ factor.T
        return drawn.reshape(count, *self.shape).to(torch.get_default_dtype())


def fit_mixture(codes: np.ndarray, shape: tuple[int, ...], components: int | None, seed: int) -> Mixture:
    """Fit by expectation maximisation to `codes` [N, D], float64; a function of the arguments alone. Without
    a number of components it is the one that has the least BIC (`search`), of those that leave each more
    codes than a covariance has rows, and of no more than there are different codes. Directions in which codes
    do not vary get a standard deviation of a thousandth of the codes' own."""
    centre = codes.mean(axis=0)
    scale = float(np.sqrt(codes.var(axis=0).mean())) or 1.0
    standard = (codes - centre) / scale
    if components is None:
        count, size = codes.shape
        most = min(MOST, len(np.unique(codes, axis=0)), max(1, count // (size + 1)))
        best = search(standard, most, seed)
    else:
        best = fitted(standard, components, seed)
    factors = np.linalg.cholesky(best.covariances_) * scale
    return Mixture(best.weights_ / best.weights_.sum(), best.means_ * scale + centre, factors, shape)


def search(codes: np.ndarray, most: int, seed: int) -> "GaussianMixture":
    """The mixture of the least BIC, from 1 component up."""
    best, least, worse = None, np.inf, 0
    for number in range(1, most + 1):
        tried = fitted(codes, number, seed)
        criterion = tried.bic(codes)
        if criterion < least:
            best, least, worse = tried, criterion, 0
        else:
            worse += 1
        if worse == PATIENCE:
            break
    return best


def fitted(codes: np.ndarray, components: int, seed: int) -> "GaussianMixture":
    """Where rounding leaves a covariance without a factor, more is added to variances."""
    from sklearn.mixture import GaussianMixture

    def fit(smallest: float) -> GaussianMixture:
        return GaussianMixture(components, reg_covar=smallest, n_init=STARTS, random_state=seed % 2**32).fit(
            codes
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for smallest in (SMALLEST, 1e-4):
            try:
                return fit(smallest)
            except ValueError:
                continue
        return fit(1e-2)
