"""The numbers of attributes: what a perfect editor scores, and each fault where it belongs."""

import numpy as np
import pytest
import torch
from attribute_fakes import Redrawer
from fakes import Blender, digits_m
from looking import left_out, never, view_of

from dataloader import DataError
from dataloader.digits_attributes import ATTRIBUTES, DigitsAttributes, open_digits_attributes
from dataloader.held_out import Subset
from solvers.evaluation.classifier import Examples, Lessons, target_classifier, train_classifier
from solvers.evaluation.evaluate import measure
from solvers.visualization.plots import asked_and_changed

FACTORS = ("red+green+blue", "light", "thick", "slanted", "large")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributes") / "Digits-Attributes"
    train, test = (open_digits_attributes(folder, split, 32) for split in ("train", "test"))
    return {"train": Subset(train, (np.arange(1000),)), "test": test}


@pytest.fixture(scope="module")
def test_set(splits):
    return splits["test"]


def without_training():
    raise DataError("no training split")


def found(model, dataset, open_train=without_training, **settings):
    settings = {"classifier_iterations": 3, "extractors": [], **settings}
    return measure(view_of(model, dataset, metrics=["attributes"], open_train=open_train, **settings))


def test_a_perfect_editor_scores_as_the_reader_of_pictures_does(test_set):
    model = Redrawer(test_set)
    numbers, protocol = found(model, test_set)
    assert numbers["attributes/unchanged_l1"] < 1e-6
    assert numbers["attributes/asked"] > 0.99 and numbers["attributes/kept"] > 0.99
    for name in ATTRIBUTES:
        others = [factor for factor in FACTORS if name not in factor.split("+")]
        names = {number for number in numbers if number.startswith(f"attributes/{name}/")}
        assert names == {f"attributes/{name}/asked", *(f"attributes/{name}/kept/{one}" for one in others)}
    assert {name for name in numbers if "reader" in name} == {f"attributes/reader/{f}" for f in FACTORS}
    # whoever has an ink is not asked for it
    assert model.edits == 360 * (1 + 4) + 2 * 360
    assert protocol["families"]["attributes"]["reader"] == "the data set's"
    assert "attributes/classification_error/real" not in numbers  # it needs the training split


def test_what_is_ignored_is_not_asked_and_what_is_dragged_is_not_kept(test_set):
    numbers = found(Redrawer(test_set, ignores="slanted"), test_set)[0]
    assert numbers["attributes/slanted/asked"] == 0 and numbers["attributes/thick/asked"] > 0.99
    assert numbers["attributes/thick/kept/slanted"] > 0.99
    numbers = found(Redrawer(test_set, drags=("thick", "light")), test_set)[0]
    assert numbers["attributes/thick/kept/light"] == 0 and numbers["attributes/thick/asked"] > 0.99
    assert numbers["attributes/light/kept/thick"] > 0.99 and numbers["attributes/light/asked"] == 1
    each = [value for name, value in numbers.items() if "/kept/" in name]
    assert numbers["attributes/kept"] == pytest.approx(np.mean(each))
    rows, columns, changed = asked_and_changed(numbers)
    assert (rows, columns) == (list(ATTRIBUTES), list(FACTORS))
    assert changed[rows.index("thick")] == pytest.approx([0, 1, 1, 0, 0], abs=0.02)
    assert changed[rows.index("blue")] == pytest.approx([1, 0, 0, 0, 0], abs=0.02)


def test_labels_and_targets_are_read_by_classifiers_of_the_training_split(splits):
    """Against the same classifiers asked here, one image at a time."""
    train, test = splits["train"], splits["test"]
    model = Redrawer(test)
    view = view_of(model, test, metrics=["attributes"], open_train=lambda: train, classifier_iterations=25)
    numbers, protocol = measure(view)
    judge = target_classifier(view, 0, "digit")
    images, labels = test.at(np.arange(360))
    known = torch.stack([labels[0][name] for name in ATTRIBUTES], dim=1)
    thick = known.clone()
    thick[:, 4] = 1 - thick[:, 4]
    made = model.edit(images[0], 0, known, thick)
    right = [judge.logits(one[None]).argmax() == digit for one, digit in zip(made, labels[0]["digit"])]
    assert numbers["attributes/thick/kept/digit"] == pytest.approx(np.mean(right), abs=1e-9)
    kept = [numbers[f"attributes/{name}/kept/digit"] for name in ATTRIBUTES]
    assert numbers["attributes/digit_kept"] == pytest.approx(np.mean(kept))
    reader = target_classifier(view, 0, ATTRIBUTES)
    wrong = (reader.logits(images[0]) > 0).long() != known
    errors = torch.cat((wrong[:, :3].any(dim=1, keepdim=True), wrong[:, 3:]), dim=1)
    real = numbers["attributes/classification_error/real"]
    assert real == pytest.approx(errors.double().mean().item())
    translated = numbers["attributes/classification_error/translated"]
    assert translated == pytest.approx(real, abs=0.05)  # it draws as the data set does
    about = protocol["families"]["attributes"]["classifiers"]
    assert set(about) == {"attributes", "digit"}
    assert about["attributes"]["weights"] == reader.weights_hash


def test_where_the_data_measure_nothing_a_classifier_reads(splits):
    class Unmeasured(DigitsAttributes):
        measures_attributes = False
        attributes_of = None

    test = splits["test"]
    arrays = {"fields": test.fields, "labels": test.digits, "kinds": test.kinds}
    blind = Unmeasured(arrays, 32)
    settings = {"open_train": lambda: splits["train"], "classifier_iterations": 25}
    numbers, protocol = found(Redrawer(test), blind, **settings)
    assert protocol["families"]["attributes"]["reader"] == "a classifier"
    errors = [1 - numbers[f"attributes/reader/{factor}"] for factor in FACTORS]
    assert numbers["attributes/classification_error/real"] == pytest.approx(np.mean(errors))
    assert numbers["attributes/light/asked"] > 0.9  # the easiest to learn
    reasons = left_out(Redrawer(test), blind, metrics=["attributes"], open_train=without_training)
    assert reasons == {"attributes": "it needs the training split: no training split"}


def test_a_classifier_of_attributes_learns_several_yes_and_no():
    draw = np.random.default_rng(0)
    have = torch.from_numpy(draw.integers(0, 2, (200, 3)))
    pictures = (have * 200)[:, :, None, None].expand(-1, -1, 32, 32).byte()  # a channel each
    network = train_classifier(Examples(pictures, have), 3, Lessons(40, 16), 0)
    with torch.no_grad():
        assert torch.equal((network(pictures.float() / 127.5 - 1) > 0).long(), have)


def test_models_and_data_without_attributes_are_left_out(test_set):
    digits = digits_m(0, 40)
    options = {"metrics": ["attributes"], "open_train": never}
    assert left_out(Blender(), digits, **options) == {"attributes": "the model knows no attributes"}
    model = Redrawer(test_set)
    model.attributes = ATTRIBUTES[:3]
    reason = "the data do not know the attributes that the model knows"
    assert left_out(model, test_set, **options) == {"attributes": reason}


def test_every_number_has_a_meaning_and_every_family_can_look_at_one_domain(splits):
    view = view_of(
        Redrawer(splits["test"]),
        splits["test"],
        open_train=lambda: splits["train"],
        classifier_iterations=3,
        extractors=[],
    )
    numbers, protocol = measure(view)
    assert "adaptation" in protocol["left_out"]
    assert not [name for name in numbers if name.startswith("translation/thick")]
    for name in numbers:
        if name.startswith("attributes"):
            assert any(name.startswith(start) for start in protocol["numbers"])
    chance = {name: about["chance"] for name, about in protocol["numbers"].items()}
    assert chance["attributes/red/asked"] == pytest.approx(1 / 3) and chance["attributes/thick/asked"] == 0.5
    assert chance["attributes/asked"] == pytest.approx((3 / 3 + 4 / 2) / 7)
