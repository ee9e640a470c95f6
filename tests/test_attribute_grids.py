"""Grids of attributes: what stands in each cell, asked of the model one image at a time."""

import json

import numpy as np
import pytest
import torch
from attribute_fakes import Redrawer
from looking import view_of

from dataloader.digits_attributes import ATTRIBUTES, DigitsAttributes, open_digits_attributes, render
from solvers.evaluation.evaluate import evaluate
from solvers.run.folder import RunFolder
from solvers.visualization import pictures
from solvers.visualization.attribute_grids import attribute_pictures
from solvers.visualization.grids import GAP, to_uint8
from solvers.visualization.pictures import fixed_batch, save_samples

ROWS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attributes") / "Digits-Attributes"


@pytest.fixture(scope="module")
def test_set(folder):
    whole = open_digits_attributes(folder, "test", 32)
    return DigitsAttributes(
        {"fields": whole.fields[:40], "labels": whole.digits[:40], "kinds": whole.kinds[:40]}, 32
    )


def cell(picture: np.ndarray, row: int, column: int, rows: int) -> np.ndarray:
    top = picture.shape[0] - rows * (64 + GAP) + row * (64 + GAP)
    left = GAP + column * (64 + GAP)
    return picture[top : top + 64, left : left + 64][::2, ::2]


def shown(picture: np.ndarray, columns: list[torch.Tensor], rows: int = ROWS) -> None:
    """That the grid has these columns of images, and no more."""
    assert picture.shape[1] == GAP + len(columns) * (64 + GAP)
    for c, images in enumerate(columns):
        for r in range(rows):
            apart = cell(picture, r, c, rows).astype(int) - to_uint8(images[r])
            assert np.abs(apart).max() <= 1, (r, c)


def drawn(batch, test_set, change):
    """The images of the batch with attributes that `change` makes of each one's, a dictionary by name."""
    made = []
    items = [int(i) for i in np.linspace(0, 39, len(batch.images[0])).astype(int)]
    for row, item in enumerate(items[:ROWS]):
        has = {name: int(batch.labels[0][name][row]) for name in ATTRIBUTES}
        has = {**has, **change(has)}
        vector = torch.tensor([[has[name] for name in ATTRIBUTES]])
        made.append(render(torch.from_numpy(np.array(test_set.fields[[item]])), vector, 32)[0])
    return made


def ink(name):
    return {"red": 0, "green": 0, "blue": 0, name: 1}


NEXT = {"red": "green", "green": "blue", "blue": "red"}


def pictures_of(test_set, rows=ROWS):
    batch = fixed_batch(test_set, torch.device("cpu"), rows)
    return batch, attribute_pictures(Redrawer(test_set).eval(), test_set, batch, seed=3, rows=rows)


def test_each_attribute_is_asked_for_alone_in_a_column_of_its_own(test_set):
    batch, found = pictures_of(test_set)
    inks = [drawn(batch, test_set, lambda has, n=name: ink(n)) for name in ATTRIBUTES[:3]]
    flags = [drawn(batch, test_set, lambda has, n=name: {n: 1 - has[n]}) for name in ATTRIBUTES[3:]]
    shown(found["attributes"], [batch.images[0], *inks, *flags])


def test_several_attributes_are_asked_for_at_once_one_more_in_each_column(test_set):
    batch, found = pictures_of(test_set)

    def changed(count):
        def change(has):
            now = next(name for name in ATTRIBUTES[:3] if has[name])
            return {**ink(NEXT[now]), **{name: 1 - has[name] for name in ATTRIBUTES[3 : 3 + count]}}

        return change

    columns = [drawn(batch, test_set, changed(count)) for count in range(5)]
    shown(found["attributes_together"], [batch.images[0], *columns])


def test_every_attribute_is_shown_off_and_on_whatever_an_image_has(test_set):
    batch, found = pictures_of(test_set)
    columns = [drawn(batch, test_set, lambda has, n=name: ink(n)) for name in ATTRIBUTES[:3]]
    for name in ATTRIBUTES[3:]:
        columns += [drawn(batch, test_set, lambda has, n=name, v=value: {n: v}) for value in (0, 1)]
    shown(found["attributes_off_and_on"], [batch.images[0], *columns])


def test_means_noise_and_the_prior_are_shown_where_the_model_has_them(test_set):
    batch, found = pictures_of(test_set)
    generator = torch.Generator().manual_seed(3)
    noisy = batch.images[0] + 0.1 * torch.randn(ROWS, 1, 1, 1, generator=generator)
    shown(found["reconstruction_with_noise"], [batch.images[0], batch.images[0], noisy])
    greys = [[torch.full((3, 32, 32), -1 + number / 3)] for number in range(7)]
    shown(found["label_means"], greys, rows=1)
    colours = (
        torch.rand(64, 3, 1, 1, generator=torch.Generator().manual_seed(3)).expand(-1, -1, 32, 32) * 2 - 1
    )
    shown(found["from_prior"], [colours[column::8] for column in range(8)], rows=8)
    model = Redrawer(test_set)
    model.has_label_means = model.has_noisy_reconstruction = model.has_image_prior = False
    names = {"attributes", "attributes_together", "attributes_off_and_on"}
    assert set(attribute_pictures(model, test_set, batch, 0)) == names
    model.attributes = ()
    assert attribute_pictures(model, test_set, batch, 0) == {}


class Silent:
    def __init__(self):
        self.names = []

    def picture(self, name, picture, iteration):
        self.names.append(name)


def test_training_and_test_mode_save_them_and_what_changed(test_set, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "style_ends", lambda *_: {})  # GIFs take long
    model, reporter = Redrawer(test_set), Silent()
    batch = fixed_batch(test_set, torch.device("cpu"))
    save_samples(model, batch, tmp_path, 0, reporter, 5, test_set)
    wanted = {"attributes", "attributes_together", "attributes_off_and_on", "label_means", "from_prior"}
    wanted |= {"reconstruction_with_noise"}
    assert wanted <= set(reporter.names) == {path.stem for path in tmp_path.glob("*.png")}
    assert model.training
    run = RunFolder(tmp_path / "run")
    run.results.mkdir(parents=True)
    options = {"metrics": ["attributes"], "classifier_iterations": 1, "extractors": []}
    numbers = evaluate(view_of(model, test_set, open_train=lambda: test_set, **options), run, 5)
    saved = {path.stem for path in run.results.glob("*.png")}
    assert wanted | {"attributes_asked_and_changed"} <= saved
    written = json.loads((run.results / "metrics.json").read_text())
    assert written["attributes/asked"] == numbers["attributes/asked"] > 0.9
    assert set(written["protocol"]["families"]) == {"attributes"}
