"""Diversity against closed forms and plain loops."""

from itertools import combinations

import numpy as np
import pytest
import torch
from fakes import Shades, three_domains
from looking import numbers

from solvers.evaluation import diversity
from solvers.evaluation.diversity import PAIRS, STYLES
from solvers.run.folder import RunError


def test_there_are_a_thousand_pairs():
    assert PAIRS == 1000


def test_translations_differ_by_what_their_styles_differ():
    model, data = Shades(("A", "B", "C")), three_domains()
    found = numbers(model, data, "diversity", seed=7)
    ways = [f"{a}_to_{b}" for a in "ABC" for b in "ABC" if a != b]
    assert set(found) == {f"diversity/l1/{name}" for name in (*ways, "real_A", "real_B", "real_C")}
    generator = torch.Generator().manual_seed(7)
    styles = [model.sample_style(9, 2, generator)[:, 0, 0] for _ in range(STYLES)]
    gaps = [(a - b).abs().mean().item() / 3 for a, b in combinations(styles, 2)]  # one channel of three
    assert found["diversity/l1/B_to_C"] == pytest.approx(np.mean(gaps), rel=1e-5)


def test_real_pairs_come_near_the_mean_over_all_pairs_of_different_images():
    data = three_domains()
    found = numbers(Shades(("A", "B", "C")), data, "diversity")
    images = data.pictures[1].astype(float) / 127.5
    want = np.mean([np.abs(a - b).mean() for a, b in combinations(images, 2)])
    assert found["diversity/l1/real_B"] == pytest.approx(want, rel=0.05)


def test_a_model_that_ignores_its_style_has_no_diversity():
    class Deaf(Shades):
        def decode(self, content, style, domain):
            return super().decode(content, torch.zeros_like(style), domain)

    found = numbers(Deaf(("A", "B", "C")), three_domains(), "diversity")
    assert found["diversity/l1/A_to_B"] == 0 and found["diversity/l1/real_A"] > 0


def squares(a, b):
    return (a - b).square().mean(dim=(1, 2, 3))


def test_lpips_stands_beside_l1_where_it_is_there(monkeypatch):
    monkeypatch.setattr(
        diversity, "lpips_distance", lambda device: lambda a, b: (a - b).square().mean((1, 2, 3))
    )
    found = numbers(Shades(("A", "B", "C")), three_domains(), "diversity", lpips=True)
    assert 0 < found["diversity/lpips/A_to_B"] < found["diversity/l1/A_to_B"]


def test_lpips_without_its_weights_or_libraries_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RunError, match=r"test\.lpips: .* leave test.lpips at 0") as error:
        diversity.check_lpips()
    assert "\n" not in str(error.value)
