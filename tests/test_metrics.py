from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from dataloader import open_dataset
from dataloader.unpaired import Unpaired
from models.iiae import IIAE
from models.translator import Translator
from solvers.evaluation.paired import l1, paired_metrics, recall_at_1, unpaired_metrics


def brute_force(queries, keys, query_ids, key_ids) -> float:
    nearest = cdist(queries.numpy(), keys.numpy()).argmin(axis=1)
    return float(np.mean(key_ids.numpy()[nearest] == query_ids.numpy()))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_blockwise_recall_equals_brute_force(offset):
    torch.manual_seed(0)
    keys = torch.randn(700, 5) + offset
    queries = keys + 0.4 * torch.randn(700, 5)
    ids = torch.arange(700)
    want = brute_force(queries.double(), keys.double(), ids, ids)
    assert 0.1 < want < 0.9
    assert recall_at_1(queries, keys, ids, ids, block=128) == want


def test_recall_counts_any_key_with_the_right_id():
    torch.manual_seed(0)
    keys, queries = torch.randn(60, 3), torch.randn(90, 3)
    key_ids, query_ids = torch.randint(0, 4, (60,)), torch.randint(0, 4, (90,))
    assert recall_at_1(queries, keys, query_ids, key_ids) == brute_force(queries, keys, query_ids, key_ids)


def test_codes_that_all_coincide_score_at_chance():
    codes, ids = torch.ones(200, 4), torch.arange(200)
    assert recall_at_1(codes, codes, ids, ids) == 1 / 200


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
    metrics = paired_metrics(Known(), data, 50, torch.device("cpu"))
    assert metrics["retrieval/shared/x_to_y"] > 0.98 and metrics["retrieval/shared/y_to_x"] > 0.98
    assert metrics["retrieval/exclusive/x_to_y"] < 0.03 and metrics["retrieval/exclusive/y_to_x"] < 0.03
    assert metrics["reconstruction/l1/x"] < 0.02 and metrics["reconstruction/l1/y"] < 0.02
    assert metrics["translation/reference_l1/x_to_y"] < 0.02


def test_numbers_do_not_depend_on_the_batch_size_and_equal_a_loop(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    model = Known()
    numbers = [paired_metrics(model, data, size, torch.device("cpu")) for size in (7, 360)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-6)
    total = 0.0
    for i in range(len(data)):
        (x, y), _ = data.at(np.array([i]))
        made = model.decode(model.encode_content(x, 0), model.encode_style(y, 1), 1)
        total += np.abs(made.numpy() - y.numpy()).mean()
    assert numbers[0]["translation/reference_l1/x_to_y"] == pytest.approx(total / len(data), abs=1e-6)


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
    metrics = unpaired_metrics(model, data, 4, torch.device("cpu"))
    for d, (stack, name) in enumerate(zip(pictures.values(), model.domains)):
        images = torch.from_numpy(stack).movedim(3, 1) / 127.5 - 1
        with torch.no_grad():
            want = sum((model.reconstruct(i[None], d) - i).abs().mean().item() for i in images) / len(images)
        assert metrics[f"reconstruction/l1/{name}"] == pytest.approx(want, rel=1e-4)


class ContentOnly(Known):
    has_style = has_style_prior = False
    missing: ClassVar = {"style": "this model has no styles"}


def test_a_model_without_styles_gets_no_number_that_needs_them(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    metrics = paired_metrics(ContentOnly(), data, 90, torch.device("cpu"))
    assert set(metrics) == {"retrieval/shared/x_to_y", "retrieval/shared/y_to_x"}
