from typing import ClassVar

import numpy as np
import pytest
import torch
from looking import left_out, numbers, view_of
from scipy.spatial.distance import cdist

from dataloader import open_dataset
from dataloader.unpaired import Unpaired
from models.iiae import IIAE
from models.translator import Translator
from solvers.evaluation import retrieval
from solvers.evaluation.distances import l1
from solvers.evaluation.evaluate import measure
from solvers.evaluation.retrieval import RECALLS, chance_recall, ranks_of_partners, recall


def brute_force(queries, keys, query_ids, key_ids, most=1) -> float:
    nearest = cdist(queries, keys).argsort(axis=1, kind="stable")[:, :most]
    return float(np.mean((key_ids[nearest] == query_ids[:, None]).any(axis=1)))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("most", [1, 5])
def test_blockwise_recall_equals_brute_force(offset, most, monkeypatch):
    monkeypatch.setattr(retrieval, "DISTANCES", 700 * 128)
    monkeypatch.setattr(retrieval, "KEYS", 300)
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(700, 5)).astype(np.float32) + np.float32(offset)
    queries = keys + 0.4 * rng.normal(size=(700, 5)).astype(np.float32)
    ids = np.arange(700)
    want = brute_force(queries.astype(float), keys.astype(float), ids, ids, most)
    assert 0.1 < want < 0.99
    assert recall(queries, keys, ids, ids, most) == want


def test_recall_counts_any_key_with_the_right_id():
    rng = np.random.default_rng(0)
    keys, queries = rng.normal(size=(60, 3)), rng.normal(size=(90, 3))
    key_ids, query_ids = rng.integers(0, 4, 60), rng.integers(0, 4, 90)
    assert recall(queries, keys, query_ids, key_ids) == brute_force(queries, keys, query_ids, key_ids)


def test_codes_that_all_coincide_score_at_chance_and_an_id_without_a_key_comes_last():
    codes, ids = np.ones((200, 4)), np.arange(200)
    assert recall(codes, codes, ids, ids) == 1 / 200
    assert recall(codes, codes, ids, ids, most=5) == 5 / 200
    assert ranks_of_partners(codes[:1], codes, np.array([999]), ids).tolist() == [200]


def test_chance_is_what_keys_in_random_order_score():
    rng = np.random.default_rng(0)
    query_ids, key_ids = rng.integers(0, 8, 400), rng.integers(0, 6, 50)  # two ids have no key
    for most in (1, 5):
        shuffled = [rng.permutation(key_ids)[:most] for _ in range(400) for _ in range(20)]
        found = [(keys == one).any() for keys, one in zip(shuffled, np.repeat(query_ids, 20))]
        assert chance_recall(query_ids, key_ids, most) == pytest.approx(np.mean(found), abs=0.02)
    assert chance_recall(np.arange(360), np.arange(360), 1) == pytest.approx(1 / 360)


class Known(Translator):
    """Codes that are known: content is the digit's own picture, style the colour; reconstruction is exact."""

    domains = ("x", "y")

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode_content(self, image, domain):
        ink = (image + 1) / 2
        if domain == 0:  # white on colour: undo the background, read at the corner
            background = ink[:, :, :1, :1]
            ink = ((ink - background) / (1 - background).clamp(min=1e-3)).amax(dim=1)
        else:
            ink = ink.amax(dim=1) / ink.amax(dim=(1, 2, 3))[:, None, None]
        return ink

    def encode_style(self, image, domain):
        ink = (image + 1) / 2
        return ink[:, :, 0, 0] if domain == 0 else ink.amax(dim=(2, 3))

    def decode(self, content, style, domain):
        shape, colour = content[:, None], style[:, :, None, None]
        return (shape + (1 - shape) * colour if domain == 0 else shape * colour) * 2 - 1


def test_a_model_with_perfect_codes_gets_perfect_numbers(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    metrics = numbers(Known(), data, "retrieval", "reconstruction")
    assert metrics["retrieval/shared/x_to_y"] > 0.98 and metrics["retrieval/shared/y_to_x"] > 0.98
    assert metrics["retrieval_at_5/shared/x_to_y"] >= metrics["retrieval/shared/x_to_y"]
    assert metrics["retrieval/exclusive/x_to_y"] < 0.03 and metrics["retrieval/exclusive/y_to_x"] < 0.03
    assert metrics["reconstruction/l1/x"] < 0.02 and metrics["reconstruction/l1/y"] < 0.02
    assert metrics["translation/reference_l1/x_to_y"] < 0.02


def test_numbers_do_not_depend_on_the_batch_size_and_equal_a_loop(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    model = Known()
    found = [numbers(model, data, "retrieval", "reconstruction", size=size) for size in (7, 360)]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    total = 0.0
    for i in range(len(data)):
        (x, y), _ = data.at(np.array([i]))
        made = model.decode(model.encode_content(x, 0), model.encode_style(y, 1), 1)
        total += np.abs(made.numpy() - y.numpy()).mean()
    assert found[0]["translation/reference_l1/x_to_y"] == pytest.approx(total / len(data), abs=1e-6)


def test_l1_is_a_mean_over_pixels_per_image():
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    b[1, 0] = 3.0
    assert l1(a, b).tolist() == [0.0, 1.0]


def test_unpaired_data_get_reconstruction_errors_over_each_domains_whole_split():
    torch.manual_seed(0)
    pictures = {
        name: torch.randint(0, 256, (n, 32, 32, 3), dtype=torch.uint8).numpy()
        for name, n in (("A", 5), ("B", 9))
    }
    data = Unpaired(pictures, 32)
    model = IIAE(32, base_width=4).eval()
    metrics = numbers(model, data, "reconstruction", size=4)
    for d, (stack, name) in enumerate(zip(pictures.values(), model.domains)):
        images = torch.from_numpy(stack).movedim(3, 1) / 127.5 - 1
        with torch.no_grad():
            want = sum((model.reconstruct(i[None], d) - i).abs().mean().item() for i in images) / len(images)
        assert metrics[f"reconstruction/l1/{name}"] == pytest.approx(want, rel=1e-4)


class ContentOnly(Known):
    """Shows every image as white on black."""

    has_style = has_style_prior = False
    missing: ClassVar = {"style": "this model has no styles"}

    def decode(self, content, style, domain):
        assert style is None
        return content[:, None].expand(-1, 3, -1, -1) * 2 - 1


class ImageOnly(ContentOnly):
    """One direction, and the image itself for a content."""

    content_is_image, directions = True, ((0, 1),)

    def encode_content(self, image, domain):
        return image

    def decode(self, content, style, domain):
        assert style is None and domain == 1
        return super().decode(super().encode_content(content, 0), None, 1)


def test_a_model_without_styles_gets_no_number_that_needs_them(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    metrics = numbers(ContentOnly(), data, "retrieval", "reconstruction")
    ways = ("x_to_y", "y_to_x")
    kinds = ("l1", "psnr", "ssim")
    assert set(metrics) == {
        *(f"{name}/shared/{way}" for name in RECALLS for way in ways),
        *(f"translation/{kind}/{way}" for kind in kinds for way in ways),
        *(f"reconstruction/{kind}/{domain}" for kind in kinds for domain in "xy"),
    }


def test_a_model_without_styles_rebuilds_images_of_their_contents_alone():
    rng, model = np.random.default_rng(0), ContentOnly()
    pictures = {name: rng.integers(0, 256, (n, 32, 32, 3), np.uint8) for name, n in (("A", 5), ("B", 3))}
    metrics = numbers(model, Unpaired(pictures, 32), "reconstruction", size=2)
    for domain, name in enumerate("AB"):
        images = torch.from_numpy(pictures[name]).movedim(3, 1) / 127.5 - 1
        made = model.decode(model.encode_content(images, domain), None, domain)
        assert torch.equal(model.reconstruct(images, domain), made)
        want = np.abs(made.numpy() - images.numpy()).mean()
        assert metrics[f"reconstruction/l1/{model.domains[domain]}"] == pytest.approx(want, rel=1e-5)


class OnlyRandom(ContentOnly):
    """Its styles are drawn and never seen in an image."""

    has_style_prior = True


@pytest.mark.parametrize("kind", [OnlyRandom, ImageOnly])
def test_a_model_that_cannot_rebuild_is_not_asked_to(kind):
    unpaired = Unpaired({name: np.zeros((5, 32, 32, 3), np.uint8) for name in "AB"}, 32)
    reasons = left_out(kind(), unpaired, metrics=["reconstruction"])
    assert reasons == {"reconstruction": "the model rebuilds no image from its codes"}
    assert not any(kind().rebuilds(domain) for domain in (0, 1))


def test_a_model_whose_content_is_the_image_is_measured_by_its_translations_alone(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    families = ["retrieval", "reconstruction", "probes"]
    found = [measure(view_of(ImageOnly(), data, size, metrics=families)) for size in (7, 360)]
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert set(found[0][0]) == {f"translation/{kind}/x_to_y" for kind in ("l1", "psnr", "ssim")}
    total = 0.0
    for i in range(len(data)):
        (x, y), _ = data.at(np.array([i]))
        total += np.abs(ContentOnly().translate(x, 0, 1).numpy() - y.numpy()).mean()
    assert found[0][0]["translation/l1/x_to_y"] == pytest.approx(total / len(data), abs=1e-6)
    assert "translation/l1" in found[0][1]["numbers"]
    reasons = found[0][1]["left_out"]
    for name in ("retrieval", "probes"):
        assert reasons[name] == "the content is the image itself, not a code"


class EncodesOne(Known):
    directions = ((0, 1),)


def test_contents_of_one_domain_are_not_compared_with_another_s(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    metrics = numbers(EncodesOne(), data, "retrieval", "reconstruction")
    assert set(metrics) == {f"translation/reference_{kind}/x_to_y" for kind in ("l1", "psnr", "ssim")}
    assert left_out(EncodesOne(), data, metrics=["probes"]) == {
        "probes": "the model does not encode the contents of every domain"
    }
