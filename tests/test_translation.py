"""What translations keep and take, by fakes whose translations are known."""

import numpy as np
import pytest
import torch
from fakes import Blender, digits_m, three_domains
from looking import left_out, numbers, view_of

from dataloader import open_dataset
from dataloader.packed import DataError
from models.translator import Translator
from solvers.evaluation import translation
from solvers.evaluation.classifier import target_classifier
from solvers.evaluation.evaluate import measure
from solvers.evaluation.translation import shared_labels

ITERATIONS = 120  # of the classifiers


class Recolour(Translator):
    """What makes CDCB: content is the ink [B, 1, H, W], style a colour [B, 3], 0 to 1. `forget` shows another
    digit's ink, `dull` darkens the colour that is asked for."""

    domains = ("x", "y")
    forget, dull = False, 1.0

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode_content(self, image, domain):
        pixels, colour = (image + 1) / 2, self.encode_style(image, domain)[..., None, None]
        if domain == 0:  # white on colour
            return ((pixels - colour).sum(1) / (1 - colour).sum(1).clamp(min=0.05))[:, None].clamp(0, 1)
        return pixels.amax(1, keepdim=True) / colour.amax(1, keepdim=True).clamp(min=0.05)

    def encode_style(self, image, domain):
        pixels = (image + 1) / 2
        return pixels[:, :, 0, 0] if domain == 0 else pixels.amax(dim=(2, 3))

    def sample_style(self, count, domain, generator=None):
        return torch.rand(count, 3, generator=generator)

    def decode(self, content, style, domain):
        colour = style[..., None, None] * self.dull
        ink = torch.zeros_like(content) if self.forget else content
        return (ink + (1 - ink) * colour if domain == 0 else ink * colour) * 2 - 1


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Digits-CDCB"
    return [open_dataset("dataloader.cdcb:open_digits", folder, split, 32) for split in ("train", "test")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def found(model, digits, cache, **options):
    return measure(seen(model, digits, cache, **options))


def seen(model, digits, cache, **options):
    how = {"metrics": ["translation"], "classifier_iterations": ITERATIONS, **options}
    view = view_of(model, digits[1], open_train=lambda: digits[0], **how)
    view.cache = cache
    return view


def test_translations_that_keep_the_digit_and_take_the_colour_score_as_real_images_do(digits, cache):
    scores, protocol = found(Recolour(), digits, cache)
    ways = ("x_to_y", "y_to_x")
    assert set(scores) == {
        *(f"translation/digit/{kind}/{way}" for kind in ("random", "reference") for way in ways),
        *(f"translation/colour_error/reference/{way}" for way in ways),
        *(f"translation/{kind}/real_{domain}" for kind in ("digit", "colour_error") for domain in "xy"),
    }
    for way in ways:
        real = scores[f"translation/digit/real_{way[-1]}"]
        assert real > 0.75 and scores[f"translation/digit/random/{way}"] > real - 0.1
        assert scores[f"translation/colour_error/reference/{way}"] < 0.02
    assert scores["translation/colour_error/real_x"] < 1e-6 < scores["translation/colour_error/real_y"] < 0.02
    about = protocol["families"]["translation"]
    assert about["images"] == {"x": 360, "y": 360}
    assert len(about["classifiers"]["digit of x"]["weights"]) == 12
    assert protocol["numbers"]["translation/digit"]["chance"] == 0.1


def test_translations_that_lose_the_digit_or_the_colour_score_at_chance_or_err(digits, cache):
    model = Recolour()
    model.forget, model.dull = True, 0.5
    scores, _ = found(model, digits, cache)
    assert max(scores[f"translation/digit/{kind}/x_to_y"] for kind in ("random", "reference")) < 0.2
    wanted = digits[1].arrays["colours"][:, 0] / 255  # every image is another's reference
    error = scores["translation/colour_error/reference/y_to_x"]
    assert error == pytest.approx(wanted.mean() / 2, rel=1e-3)


def test_the_share_is_that_of_a_loop_and_does_not_depend_on_the_batch_size(digits, cache, monkeypatch):
    monkeypatch.setattr(translation, "IMAGES", 50)
    scores, _ = found(Recolour(), digits, cache)
    for size in (2, 34):
        again, _ = found(Recolour(), digits, cache, size=size)
        assert again == pytest.approx(scores, abs=1e-6)
    model = Recolour()
    view = seen(model, digits, cache)
    judge, right, errors = target_classifier(view, 1, "digit"), 0, []
    for item in np.linspace(0, 359, 50).astype(int):
        image = digits[1].at(np.array([item])).images[0]
        reference = digits[1].at(np.array([item ^ 1]))
        made = model.translate(image, 0, 1, model.encode_style(reference.images[1], 1))
        right += int(judge.logits(made).argmax()) == int(digits[1].arrays["labels"][item])
        true = digits[1].arrays["colours"][item ^ 1, 1] / 255
        errors.append(np.abs(digits[1].colour_of(made, 1)[0].numpy() - true).mean())
    assert scores["translation/digit/reference/x_to_y"] == right / 50
    assert scores["translation/colour_error/reference/x_to_y"] == pytest.approx(np.mean(errors), abs=1e-6)


def test_without_a_training_split_the_colour_is_still_measured(digits):
    def missing():
        raise DataError("no train here")

    scores = numbers(Recolour(), digits[1], "translation", open_train=missing)
    assert {name.split("/")[1] for name in scores} == {"colour_error"}
    why = left_out(Blender(), digits_m(0, 20), metrics=["translation"], open_train=missing)
    assert why == {"translation": "it needs the training split: no train here"}


def test_without_a_shared_label_or_a_colour_it_says_so():
    data = three_domains()

    class Any(Blender):
        domains = data.domains

    why = left_out(Any(), data, metrics=["translation"], open_train=lambda: data)
    assert why == {"translation": "the domains share no label of few values, and no colour is known"}


class NoStyles(Recolour):
    """Of one direction; the colour of a translation is always the same."""

    has_style = has_style_prior = False
    directions = ((0, 1),)

    def decode(self, content, style, domain):
        assert style is None and domain == 1
        return super().decode(content, torch.tensor([[0.2, 0.9, 0.4]]).expand(len(content), 3), 1)


class NoPrior(Recolour):
    has_style_prior = False


def test_a_model_is_judged_by_the_styles_that_it_has(digits, cache):
    scores, _ = found(NoPrior(), digits, cache)
    assert not any("random" in name for name in scores) and "translation/digit/reference/x_to_y" in scores


def test_without_styles_the_label_is_read_in_the_one_translation_of_each_image(digits, cache):
    scores, protocol = found(NoStyles(), digits, cache)
    assert set(scores) == {"translation/digit/x_to_y", "translation/digit/real_y"}
    model, view = NoStyles(), seen(NoStyles(), digits, cache)
    judge, labels = target_classifier(view, 1, "digit"), digits[1].arrays["labels"]
    made = model.translate(digits[1].at(np.arange(360)).images[0], 0, 1)
    right = judge.logits(made).argmax(dim=1).numpy() == labels[:360]
    assert scores["translation/digit/x_to_y"] == right.mean() > 0.5
    assert protocol["numbers"]["translation/digit"]["better"] == "higher"


def test_shared_labels_are_of_few_values_and_the_same_for_partners(digits):
    assert shared_labels(digits[0]) == ["digit"]
    assert shared_labels(digits_m(0, 100)) == ["digit"]
    assert shared_labels(three_domains()) == []
