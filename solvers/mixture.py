"""Where a mixture of styles begins, once styles mean something: at clusters of encoded images."""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from models.gmvae import MixtureHead
from models.gmvae_drit import GMVAEDRIT

IMAGES = 2000  # of each domain, evenly spread over the training set
DEAD = 1e-3  # added to features' standard deviations, for those that no image changes
SMALLEST = 1e-3  # variance of a cluster in any direction, so that none shrinks onto one image


@torch.no_grad()
def place_components(model: GMVAEDRIT, dataset: Dataset, seed: int, device: torch.device) -> None:
    """Fit a mixture of diagonal Gaussians to the codes of one domain's images, as VaDE begins (Jiang et al.
    2017, arXiv 1611.05148, section 3.2), and make it the prior p(z|y); make q(y|x) a logistic regression of
    the clusters on the encoder's features. The domain is the one whose codes vary most: where images of a
    domain have little style of their own, their codes are no guide. A pure function of weights, images and
    seed.

    The model's q(z|x,y) must not differ between components yet."""
    found = [encoded(model, dataset, domain, device) for domain in range(len(model.domains))]
    guide = int(np.argmax([means.var(axis=0).sum() for _, means, _ in found]))
    _, means, variances = found[guide]
    kinds = min(model.components, len(np.unique(means, axis=0)))
    mixture = GaussianMixture(
        kinds, covariance_type="diag", n_init=10, reg_covar=SMALLEST, random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        cluster = mixture.fit_predict(means)
    for number in range(kinds):
        mine = variances[cluster == number] if (cluster == number).any() else variances
        spread_out = mixture.covariances_[number] + mine.mean(axis=0)
        model.prior.means[number] = torch.from_numpy(mixture.means_[number])
        model.prior.logvars[number] = torch.from_numpy(np.log(spread_out))
    model.prior.begin_to_follow()
    features = np.concatenate([of_domain for of_domain, _, _ in found])
    known = np.concatenate([mixture.predict(of_domain) for _, of_domain, _ in found])
    shift, scale = features.mean(axis=0), features.std(axis=0) + DEAD
    head = model.enc_a.head
    head.standardise(*(torch.as_tensor(values).to(head.shift) for values in (shift, scale)))
    if len(np.unique(known)) > 1:
        infer_components(head, (features - shift) / scale, known)


def infer_components(head: MixtureHead, features: np.ndarray, cluster: np.ndarray) -> None:
    """Make the layer of q(y|x) a logistic regression of the clusters [N] on standardised features [N, F]."""
    fitted = LogisticRegression(max_iter=1000).fit(features, cluster)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn then has one logit, of the second class
        weight, bias = np.concatenate((0 * weight, weight)), np.append(0 * bias, bias)
    layer = head.y
    layer.weight.zero_()
    layer.bias.fill_(float(bias.min()) - 10)  # of a component that no image is in
    for number, row, offset in zip(fitted.classes_, weight, bias):
        layer.weight[number], layer.bias[number] = torch.from_numpy(row), float(offset)


def encoded(
    model: GMVAEDRIT, dataset: Dataset, domain: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a domain's images the encoder's features [N, F] and the codes' means and variances [N, D]."""
    features, means, variances = [], [], []
    for part in in_batches(spread(count_of(dataset, domain), IMAGES), 250):
        images, _ = one_domain(dataset, domain, part, device)
        seen = model.enc_a.features(images, model.one_hot(domain, images))
        posterior = model.enc_a.head(seen)
        features.append(seen.float())
        means.append(posterior.means[:, 0])
        variances.append(posterior.logvars[:, 0].exp())
    return tuple(torch.cat(values).double().cpu().numpy() for values in (features, means, variances))
