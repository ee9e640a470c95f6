"""Adaptation: an oracle that blends as MNIST-M does must help, with the same budget for every classifier."""

import numpy as np
import pytest
import torch
from fakes import Blender, digits_m, three_domains
from looking import left_out, numbers, view_of

from configs.keys.common import Adaptation
from dataloader import open_dataset
from models.translator import Translator
from solvers.evaluation.adaptation import Plan, plan_adaptation, translate_all
from solvers.evaluation.classifier import Examples, accuracy, classifier, stored, to_bytes, train_classifier
from solvers.evaluation.evaluate import measure
from solvers.run.folder import RunError

CPU = torch.device("cpu")


def run(model: Translator, settings: Adaptation, train, test, seed: int = 0) -> dict[str, float]:
    options = {"open_train": lambda: train, "adaptation": settings, "size": 200, "seed": seed}
    return numbers(model, test, "adaptation", **options)


def test_translations_that_look_like_the_target_teach_more_than_source_images_do():
    train, test = digits_m(0, 1300), digits_m(1300, 1797)
    found = run(Blender(), Adaptation(iterations=150), train, test)
    assert set(found) == {f"adaptation/{name}" for name in ("source_only", "x1", "x3", "x5", "target_only")}
    source, x1, x3, x5, target = (
        found[f"adaptation/{name}"] for name in ("source_only", "x1", "x3", "x5", "target_only")
    )
    assert min(x1, x3, x5) > source + 0.15 and target > source + 0.15
    assert max(found.values()) < 1


class Useless(Blender):
    """Translations without a digit in them."""

    def decode(self, content, style, domain):
        return style


def test_translations_that_lost_the_digit_teach_nothing():
    settings = Adaptation(iterations=20)
    found = run(Useless(), settings, digits_m(0, 300), digits_m(1300, 1797))
    assert all(found[f"adaptation/x{n}"] < 0.25 for n in (1, 3, 5))


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_global_generator_alone():
    train, test, settings = digits_m(0, 200), digits_m(1300, 1500), Adaptation(iterations=3)
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    first = run(Blender(), settings, train, test, seed=1)
    assert torch.equal(torch.rand(3), want)
    assert run(Blender(), settings, train, test, seed=1) == first
    assert run(Blender(), settings, train, test, seed=2) != first


class Watched(Blender):
    """Notes the styles that it draws and decodes with, and what it encodes."""

    def __init__(self):
        super().__init__()
        self.contents, self.used, self.encoded = 0, [], []

    def encode_content(self, image, domain):
        self.contents += len(image)
        return super().encode_content(image, domain)

    def encode_style(self, image, domain):
        assert domain == 1
        self.encoded.append(image)
        return super().encode_style(image, domain)

    def decode(self, content, style, domain):
        self.used.append(style)
        return super().decode(content, style, domain)


@pytest.mark.parametrize("styles", ["prior", "reference"])
def test_every_translation_has_a_style_of_its_own_of_the_kind_asked_for(styles):
    train = digits_m(0, 60)
    model, plan = Watched(), Plan(Adaptation(styles=styles), 0, 1)
    index = np.array([4, 2, 9, 17, 33])
    made = translate_all(view_of(model, train, 2), plan, train, index)
    assert made.shape == (5, 5, 3, 32, 32) and made.dtype == torch.uint8
    assert model.contents == 5 and sum(map(len, model.used)) == 25
    used = torch.cat(model.used)
    assert len({style.numpy().tobytes() for style in used}) > (20 if styles == "prior" else 15)
    if styles == "prior":
        assert not model.encoded
    else:  # each one is a real target training image
        real = {image.numpy().tobytes() for image in train.at(np.arange(60), np.arange(60)).images[1]}
        assert {style.numpy().tobytes() for style in used} <= real
    digits = train.at(index, np.zeros(5, int)).images[0]
    by_hand = [(style - digits[i, :1]).abs() - 1 for i, style in zip((0, 1) * 5, model.used[0])]
    assert (made[0, :2].float() / 127.5 - 1 - torch.stack(by_hand)).abs().max() <= 0.5 / 127.5 + 1e-6


@pytest.mark.parametrize("styles", ["prior", "reference"])
def test_translations_are_the_same_in_batches_of_any_size(styles):
    train, plan, index = digits_m(0, 60), Plan(Adaptation(styles=styles), 0, 1), np.arange(9)
    made = [translate_all(view_of(Blender(), train, size), plan, train, index) for size in (2, 5, 64)]
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])


def test_the_pictures_of_x1_are_among_those_of_x3_and_of_x5(monkeypatch):
    seen = {}

    def remember(examples, kinds, settings, seed):
        seen[len(seen)] = examples
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, kinds))

    monkeypatch.setattr("solvers.evaluation.adaptation.train_classifier", remember)
    run(Blender(), Adaptation(images=50), digits_m(0, 120), digits_m(1300, 1400))
    source, x1, x3, x5, target = (seen[n] for n in range(5))
    assert [len(e.classes) for e in seen.values()] == [50, 50, 150, 250, 50]
    assert torch.equal(x1.pictures, x3.pictures[:50]) and torch.equal(x3.pictures, x5.pictures[:150])
    for part in range(5):
        assert torch.equal(x5.classes[part * 50 : part * 50 + 50], source.classes)
    assert not torch.equal(source.classes, target.classes)  # other items, not the source's partners


def test_stored_examples_are_the_real_images_with_their_labels():
    data, index = digits_m(0, 40), np.array([7, 3, 21])
    for domain in (0, 1):
        found = stored(data, domain, index, "digit", 2, CPU)
        batch = data.at(index, index)
        want = ((batch.images[domain] + 1) * 127.5).round().byte()
        assert torch.equal(found.pictures, want)
        assert torch.equal(found.classes, batch.labels[domain]["digit"])


def test_larger_images_are_reduced_and_bytes_are_the_nearest():
    image = torch.linspace(-1.2, 1.2, 32 * 32).view(1, 1, 32, 32).expand(1, 3, 32, 32)
    want = np.clip(np.round((np.clip(image.numpy(), -1, 1) + 1) * 127.5), 0, 255)
    assert np.abs(to_bytes(image).numpy().astype(float) - want).max() == 0
    twice = image.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert to_bytes(twice).shape == (1, 3, 32, 32)
    assert (to_bytes(twice).float() - to_bytes(image).float()).abs()[:, :, 2:-2, 2:-2].max() <= 2


def test_accuracy_is_the_share_of_right_answers_in_blocks_or_not():
    torch.manual_seed(0)
    examples = Examples(torch.randint(0, 256, (57, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 4, (57,)))
    network = classifier(4).eval()
    with torch.no_grad():
        right = sum(
            int(network(p[None].float() / 127.5 - 1).argmax()) == int(c)
            for p, c in zip(examples.pictures, examples.classes)
        )
    assert accuracy(network, examples, block=10) == accuracy(network, examples) == right / 57


def test_a_classifier_learns_what_can_be_learnt():
    dark, bright = torch.randint(0, 90, (80, 3, 32, 32)), torch.randint(166, 256, (80, 3, 32, 32))
    examples = Examples(torch.cat((dark, bright)).byte(), torch.arange(2).repeat_interleave(80))
    settings = Adaptation(iterations=15, batch_size=16)
    assert accuracy(train_classifier(examples, 2, settings, 0), examples) == 1


class OneWay(Blender):
    """Without styles: it shows every digit on the same photograph."""

    has_style = has_style_prior = False
    directions = ((0, 1),)

    def decode(self, content, style, domain):
        assert style is None and domain == 1
        return super().decode(content, Blender().sample_style(1, 1, torch.Generator().manual_seed(7)), 1)


@pytest.mark.parametrize("styles", ["prior", "reference"])
def test_a_model_without_styles_teaches_by_one_translation_of_each_image(styles):
    train, test = digits_m(0, 60), digits_m(1300, 1340)
    settings = Adaptation(iterations=2, styles=styles)
    said = []
    options = {"open_train": lambda: train, "adaptation": settings, "size": 200, "say": said.append}
    found, protocol = measure(view_of(OneWay(), test, metrics=["adaptation"], **options))
    assert set(found) == {f"adaptation/{name}" for name in ("source_only", "x1", "target_only")}
    about = protocol["families"]["adaptation"]
    assert about == {"source_images": 60, "copies": [1], "styles": "none"}
    assert "translated to mnist_m once, then 3 classifiers" in said[0]
    index = np.array([4, 2, 9])
    made = translate_all(view_of(OneWay(), train, 2), Plan(settings, 0, 1), train, index)
    digits = train.at(index, np.zeros(3, int)).images[0]
    assert torch.equal(made, to_bytes(OneWay().translate(digits, 0, 1))[None])


def test_a_direction_that_the_model_has_not_is_left_out_with_a_reason():
    how = {"metrics": ["adaptation"], "adaptation": Adaptation(source="mnist_m")}
    why = left_out(OneWay(), digits_m(0, 20), **how)
    assert why == {"adaptation": "the model does not translate mnist_m to mnist"}


# Where it is on, and what is refused


def test_it_is_on_by_itself_for_unpaired_data_with_a_common_label_only(digits_folder):
    paired = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    unpaired = digits_m(0, 20)
    plan = plan_adaptation(Adaptation(), unpaired)
    assert plan is not None and (plan.source, plan.target) == (0, 1)
    assert plan_adaptation(Adaptation(enabled=False), unpaired) is None
    assert plan_adaptation(Adaptation(), paired) is None
    assert plan_adaptation(Adaptation(enabled=True), paired) is not None
    assert plan_adaptation(Adaptation(), three_domains()) is None
    plan = plan_adaptation(Adaptation(source="mnist_m"), unpaired)
    assert plan is not None and (plan.source, plan.target) == (1, 0)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"source": "minst"}, "test.adaptation.source: got 'minst'; allowed: mnist, mnist_m"),
        ({"target": "y"}, "test.adaptation.target: got 'y'; allowed: mnist, mnist_m"),
        ({"source": "mnist", "target": "mnist"}, "both mnist"),
        ({"enabled": True, "label": "car"}, "test.adaptation.label: got 'car'; .* in common: digit"),
    ],
)
def test_what_the_data_have_not_is_refused_in_one_line(settings, part):
    with pytest.raises(RunError, match=part):
        plan_adaptation(Adaptation(**settings), digits_m(0, 20))
