"""Probes of codes that are planted, so that what a linear classifier can know of them is known."""

from math import erf, sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from attribute_fakes import Redrawer
from fakes import Blender, Shades, digits_m, three_domains
from looking import left_out, numbers
from oracles import Blind, Leaking, Oracle, Telling, all_digits
from test_retrieval import Known

from dataloader import open_dataset
from dataloader.cdcb import CDCB
from dataloader.dataset import Label
from dataloader.digits_attributes import open_digits_attributes
from solvers.evaluation.probes import (
    ALPHAS,
    FEATURES,
    features,
    mlp_probe,
    number_scores,
    probe,
    shared_classes,
)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_a_probe_of_two_gaussians_is_as_right_as_can_be(distance):
    draw = np.random.default_rng(0)
    classes = np.repeat([0, 1], 4000)
    codes = draw.normal(size=(8000, 4))
    codes[:, 2] += distance * classes
    found = probe(codes, classes, np.tile([True, False], 4000))
    best = 0.5 * (1 + erf(distance / 2 / sqrt(2)))  # of two unit Gaussians at this distance
    assert found == pytest.approx(best, abs=0.025)


def test_a_score_is_balanced_over_classes_however_rare():
    draw = np.random.default_rng(0)
    classes = np.repeat([0, 1], [1900, 100])
    assert probe(draw.normal(size=(2000, 3)), classes, np.tile([True, False], 1000)) == pytest.approx(0.5)


def test_features_are_bounded_and_small_codes_are_kept():
    code = torch.randn(3, 7, 5)
    assert np.array_equal(features(code), code.flatten(1).double().numpy())
    maps = torch.randn(2, 64, 16, 16)
    want = maps.view(2, 64, 4, 4, 4, 4).mean(dim=(3, 5)).flatten(1)
    assert np.allclose(features(maps), want.numpy(), atol=1e-6)
    for shape in ((2, 3000, 4, 4), (2, 5000), (2, 3, 200, 3)):
        assert features(torch.randn(shape)).shape[1] <= FEATURES


def test_labels_are_classes_where_every_domain_has_the_same_few_values():
    n = np.arange(400)
    x = {"digit": n % 10, "colour": n % 256, "azimuth": n % 1, "view": n % 3, "only": n % 2}
    y = {"digit": (n + 4) % 10, "colour": n % 256, "azimuth": n % 1, "view": n % 4}
    assert shared_classes([x, y], n < 200) == ["digit"]
    assert shared_classes([x, y], n < 5) == []  # half of the digits are not seen in training


class Leaky(Blender):
    """The digit stands in the style, and only the domain in the content."""

    def encode_content(self, image, domain):
        return torch.randn(len(image), 6, generator=self.noise) + 10 * domain

    def encode_style(self, image, domain):
        return image[:, 0, 0, :10]

    noise = torch.Generator().manual_seed(0)


def test_planted_knowledge_is_found_where_it_is_and_nowhere_else():
    data = digits_m(0, 600)
    for stack, known in zip(data.pictures, data.known):
        stack[:] = 0
        stack[np.arange(600), 0, known["digit"].astype(int)] = 255
    found = numbers(Leaky(), data, "probes", size=100)
    linear = {"probe/content/domain", "probe/content/digit", "probe/style/digit"}
    assert set(found) == linear | {name.replace("probe", "probe_mlp") for name in linear} | {"probe/gap"}
    assert found["probe/content/domain"] == 1
    assert found["probe/content/digit"] < 0.2 and found["probe/style/digit"] > 0.6


def test_real_codes_of_digits_say_the_digit_and_the_domain_the_same_every_time():
    found = numbers(Blender(), digits_m(0, 200), "probes", size=100)
    assert found["probe/content/domain"] > 0.9 and found["probe/content/digit"] > 0.4
    assert numbers(Blender(), digits_m(0, 200), "probes", size=34) == pytest.approx(found, abs=0.02)


def test_without_labels_or_styles_the_rest_is_left_out():
    model = Shades(("A", "B", "C"))
    found = numbers(model, three_domains(), "probes", size=4)
    assert set(found) == {"probe/content/domain", "probe_mlp/content/domain"}
    model = Blender()
    model.has_style = False
    assert "probe/style/digit" not in numbers(model, digits_m(0, 200), "probes", size=100)
    model.has_content = False
    assert left_out(model, digits_m(0, 200), size=100)["probes"] == "the model has no content codes"


def test_of_one_domain_its_attributes_are_what_the_style_shall_say_and_the_content_shall_not(tmp_path):
    class Digits(Redrawer):
        """Its content is the digit alone."""

        content_is_image = False

        def encode_content(self, image, domain):
            return F.one_hot(digits[self.item_of(image)], 10).float()

    data = open_digits_attributes(tmp_path / "Digits-Attributes", "test", 32)
    digits = data.at(np.arange(len(data))).labels[0]["digit"]
    found = numbers(Digits(data), data, "probes", size=len(data))
    assert not any(name.endswith("/domain") for name in found)
    assert found["probe/content/digit"] == 1 and found["probe/style/digit"] < 0.3
    assert found["probe/style/thick"] == 1 and found["probe/content/thick"] < 0.65
    assert found["probe/gap"] > 0.5


def test_what_hides_from_a_linear_probe_is_found_by_an_mlp():
    codes = np.random.default_rng(0).normal(size=(2000, 6))
    classes = ((codes[:, 0] > 0) ^ (codes[:, 1] > 0)).astype(int)
    training = np.arange(2000) < 1000
    assert probe(codes, classes, training) < 0.6 and mlp_probe(codes, classes, training, 0) > 0.9


def test_the_r2_of_numbers_is_that_of_a_ridge_regression_by_hand():
    rng, half = np.random.default_rng(0), 40
    codes = rng.normal(size=(400, 12)) * np.arange(1, 13)
    values = np.stack((codes[:, 0] + 0.7 * rng.normal(size=400), codes[:, 3] / 4 - codes[:, 1] / 2), axis=1)
    values += 0.5 * rng.normal(size=values.shape)
    x = (codes - codes[:half].mean(axis=0)) / codes[:half].std(axis=0)
    y = (values - values[:half].mean(axis=0)) / values[:half].std(axis=0)

    def guesses(x, y, new, alpha):
        """Of `new` by a ridge regression that learned from x and y."""
        centre = x.mean(axis=0)
        shifted = x - centre
        gram = shifted.T @ shifted + alpha * np.eye(x.shape[1])
        return (new - centre) @ np.linalg.solve(gram, shifted.T @ (y - y.mean(axis=0))) + y.mean(axis=0)

    def left_out_error(alpha):
        errors = []
        for one in range(half):
            rest = np.arange(half) != one
            guess = guesses(x[:half][rest], y[:half][rest], x[one], alpha)
            errors.append(((y[one] - guess) ** 2).mean())
        return np.mean(errors)

    alpha = min(ALPHAS, key=left_out_error)
    assert min(ALPHAS) < alpha < max(ALPHAS)
    truth, guess = y[half:], guesses(x[:half], y[:half], x[half:], alpha)
    r2 = 1 - ((truth - guess) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    assert 0.2 < r2.mean() < 0.95
    found = number_scores(codes, values, np.arange(400) < half, 0)[0]
    assert found == pytest.approx(r2.mean(), abs=1e-6)


def test_a_number_is_found_in_a_code_of_as_many_features_as_there_are_images():
    rng = np.random.default_rng(0)
    values = rng.random((600, 3))
    codes = (values - 0.5) @ rng.normal(size=(3, 300)) + 3 * rng.normal(size=(600, 300))
    best = 1 - 3**2 / (300 / 12 + 3**2)  # of what is spread over 300 features, each with noise of its own
    assert 0.5 < number_scores(codes, values, np.arange(600) < 300, 0)[0] < best


# Oracles: models whose codes are the true factors, or are wrong in one known way


@pytest.fixture(scope="module")
def digits():
    return all_digits()


def test_the_true_factors_score_as_perfect(digits):
    found = numbers(Oracle(digits), digits, "retrieval", "probes", "reconstruction", size=300)
    assert found["retrieval/shared/x_to_y"] == found["retrieval/shared/y_to_x"] == 1
    assert found["probe/gap"] > 0.95
    assert found["probe/style/x_colour"] > 0.99 and found["probe/style/y_colour"] > 0.99
    assert found["probe/content/x_colour"] < 0.05 and found["probe_mlp/content/y_colour"] < 0.05
    assert found["reconstruction/l1/x"] < 1e-3 and found["translation/reference_l1/x_to_y"] < 1e-3


def test_a_content_that_is_ignored_scores_at_chance(digits):
    found = numbers(Blind(digits), digits, "retrieval", "probes", size=500)
    assert found["retrieval/shared/x_to_y"] == 1 / 1797
    assert found["probe/content/digit"] == pytest.approx(0.1) and found["probe/gap"] < 0.05


def test_a_style_that_carries_the_digit_leaves_no_gap(digits):
    found = numbers(Leaking(digits), digits, "retrieval", "probes", size=500)
    assert found["retrieval/shared/x_to_y"] == 1 and found["probe/style/digit"] > 0.95
    assert found["probe/gap"] < 0.05


def test_a_content_that_tells_its_domain_leaves_no_gap(digits):
    found = numbers(Telling(digits), digits, "probes", size=500)
    assert found["probe/content/domain"] == 1 and found["probe/gap"] == 0


def test_the_gap_is_what_its_parts_say(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    found = numbers(Known(), data, "probes")

    def level(name, chance):
        best = max(found[f"probe/{name}"], found[f"probe_mlp/{name}"])
        return min(1, max(0, (best - chance) / (1 - chance)))

    gaps = [1 - level("content/domain", 0.5), level("content/digit", 0.1) - level("style/digit", 0.1)]
    gaps += [level(f"style/{d}_colour", 0) - level(f"content/{d}_colour", 0) for d in "xy"]
    assert found["probe/gap"] == pytest.approx(min(gaps))


def test_what_one_domain_alone_shows_is_not_taken_for_shared_where_it_has_few_values(digits):
    arrays = {name: array[:500] for name, array in digits.arrays.items()}
    arrays["colours"] = np.where(arrays["colours"] > 127, 200, 50).astype(np.uint8)
    data = CDCB(arrays, 32)
    found = numbers(Oracle(data), data, "probes", size=250)
    assert {name.split("/")[2] for name in found if name.count("/") == 2} == {
        "domain",
        "digit",
        "x_colour",
        "y_colour",
    }
    assert found["probe/gap"] > 0.9


class Slanted(CDCB):
    """Says of each pair how much ink its digit has, which both share, and at which hour y was drawn."""

    def __init__(self, arrays):
        super().__init__(arrays, 32)
        self.knows["ink"] = Label("number", ("ink",))
        self.knows["hour"] = Label("angle", ("hour",), domain=1, period=24)

    def render(self, raw, training=False):
        batch = super().render(raw, training)
        ink, hour = raw["digits"].flatten(1).long().sum(dim=1), raw["colours"][:, 1, 0].long() % 24
        return batch._replace(labels=tuple({**known, "ink": ink, "hour": hour} for known in batch.labels))


class Clock(Oracle):
    """Its style shows the hour as a hand does."""

    def encode_style(self, image, domain):
        colour = super().encode_style(image, domain)
        turn = (colour[:, :1] * 255).round() % 24 * (np.pi / 12)
        return torch.cat((colour, turn.cos(), turn.sin()), dim=1)


def test_numbers_are_shared_too_and_angles_are_probed_around_the_clock(digits):
    data = Slanted({name: array[:800] for name, array in digits.arrays.items()})
    found = numbers(Clock(data), data, "probes", size=400)
    assert found["probe/content/ink"] > 0.99 and found["probe/style/ink"] < 0.05
    assert found["probe/style/hour"] > 0.99 and found["probe/content/hour"] < 0.05
    assert found["probe/gap"] > 0.9
    without = numbers(Oracle(data), data, "probes", size=400)
    assert without["probe/style/hour"] < 0.2 and without["probe/gap"] < 0.5
