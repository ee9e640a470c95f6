"""Colour-Modes: what it holds, that its modes can be told by looks, and what is counted of them."""

import itertools
import struct

import numpy as np
import pytest
import torch
from conftest import contents
from fakes import Blender
from looking import left_out, numbers
from sklearn.datasets import load_digits

from dataloader import DataError
from dataloader.colour_modes import COLOURS, FAR, FREQUENCIES, hue, open_colour_modes
from models.translator import Translator
from solvers.evaluation.clustering import matched_accuracy
from solvers.evaluation.modes import coverage

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("modes") / "Colour-Modes"


def whole(dataset):
    return dataset.at(*map(np.arange, dataset.streams))


def test_it_makes_itself_of_digits_once_and_holds_no_digit_in_both_domains(folder):
    train, test = (open_colour_modes(folder, split, 32) for split in ("train", "test"))
    before = contents(folder)
    assert before and open_colour_modes(folder, "test", 32).streams == test.streams
    assert contents(folder) == before
    assert (train.streams, test.streams) == ((719, 4 * 718), (180, 4 * 180))
    assert (train.domains, train.paired) == (("white", "coloured"), False)
    seen = [{digit.tobytes() for digit in train.pictures[domain]} for domain in (0, 1)]
    assert not seen[0] & seen[1] and len(seen[1]) == 718
    assert {digit.tobytes() for digit in test.pictures[1]}.isdisjoint(seen[1])
    stored, targets = load_digits(return_X_y=True)
    known = {np.round(d * 255 / 16).astype(np.uint8).tobytes(): t for d, t in zip(stored, targets)}
    batch = whole(test)
    for domain in (0, 1):
        digits = [known[digit.tobytes()] for digit in test.pictures[domain]]
        assert digits == batch.labels[domain]["digit"].tolist()


def test_modes_have_their_frequencies_and_little_noise_and_can_be_told_by_looks_at_any_size(folder):
    train = open_colour_modes(folder, "train", 32)
    modes = whole(train).labels[1]["mode"].numpy()
    assert np.abs(np.bincount(modes) / len(modes) - FREQUENCIES).max() < 0.03
    spread = [train.colours[modes == mode].std(axis=0).max() for mode in range(5)]
    assert max(spread) < 10
    centres = hue(torch.from_numpy(COLOURS).float())
    apart = [(a - b).norm().item() for a, b in itertools.combinations(centres, 2)]
    assert min(apart) > 2 * FAR  # no picture is near two modes
    for resolution in (32, 64):
        test = open_colour_modes(folder, "test", resolution)
        images, labels = whole(test)
        assert torch.equal(test.mode_of(images[1]), labels[1]["mode"])
        assert (test.mode_of(images[0]) == -1).all()  # white is no mode
        assert (test.mode_of(-torch.ones(2, 3, 8, 8)) == -1).all()
        assert images[0].amin() >= -1 and images[0].amax() <= 1


def test_white_digits_are_grey_and_coloured_ones_their_colour_times_the_digit(folder):
    test = open_colour_modes(folder, "test", 32)
    images, _ = whole(test)
    assert torch.equal(images[0][:, 0], images[0][:, 1]) and torch.equal(images[0][:, 0], images[0][:, 2])
    zero_to_one = (images[1] + 1) / 2
    colours = torch.from_numpy(np.asarray(test.colours)).float() / 255
    grey = zero_to_one / colours[:, :, None, None]
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=1e-5) and grey.amax() <= 1 + 1e-5


def write_idx(path, array):
    dims = struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + dims + array.tobytes())


def test_mnists_files_are_read_as_they_are_and_other_folders_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train", 9), ("t10k", 5)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28), np.uint8))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", rng.integers(0, 10, count).astype(np.uint8))
    assert open_colour_modes(tmp_path, "train", 32).streams == (5, 4)
    assert open_colour_modes(tmp_path, "test", 32).streams == (3, 2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with pytest.raises(DataError, match="holds something else than Colour-Modes"):
        open_colour_modes(tmp_path / "other", "train", 32)


class Painter(Translator):
    """White digits painted in the colour of a mode, which is the style; real images' modes it knows by
    looks."""

    domains = ("white", "coloured")
    components = 3

    def __init__(self, dataset, shares):
        super().__init__()
        self.components = 3
        self.dataset, self.shares = dataset, torch.tensor(shares)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode_content(self, image, domain):
        return image[:, :1]

    def encode_style(self, image, domain):
        return image[:, :, 0, 0]

    def sample_style(self, count, domain, generator=None, component=None):
        mode = torch.multinomial(self.shares, count, True, generator=generator)
        return torch.from_numpy(COLOURS)[mode] / 255

    def decode(self, content, style, domain):
        return (content + 1) * style.float()[:, :, None, None] - 1

    def component_probabilities(self, image, domain):
        """Components 2, 1, 0 for modes 0, 1 and the rest."""
        mode = self.dataset.mode_of(image)
        return torch.eye(3)[torch.where(mode == 0, 2, torch.where(mode == 1, 1, 0))]


def test_modes_of_translations_are_counted_against_real_ones(folder):
    test = open_colour_modes(folder, "test", 32)
    real = np.bincount(whole(test).labels[1]["mode"]) / 720
    shares = [0.5, 0.3, 0.2, 0.0, 0.0]
    found = numbers(Painter(test, shares), test, "modes")
    assert found["modes/covered/white_to_coloured"] == 3 and found["modes/none/white_to_coloured"] == 0
    expected = sum(abs(a - b) for a, b in zip(shares, real)) / 2
    assert found["modes/distance/white_to_coloured"] == pytest.approx(expected, abs=0.06)
    perfect = numbers(Painter(test, FREQUENCIES.tolist()), test, "modes")
    assert perfect["modes/covered/white_to_coloured"] == 5
    assert perfect["modes/distance/white_to_coloured"] < 0.07


def test_coverage_equals_a_computation_by_hand():
    modes = np.array([0] * 60 + [1] * 20 + [-1] * 19 + [2])
    found = coverage(modes, np.array([0.5, 0.25, 0.15, 0.1]))
    distance = (0.1 + 0.05 + 0.14 + 0.1 + 0.19) / 2
    assert found == pytest.approx({"covered": 3, "none": 0.19, "distance": distance})


def test_components_are_held_against_labels(folder):
    test = open_colour_modes(folder, "test", 32)
    found = numbers(Painter(test, [1.0]), test, "clustering")
    truth = whole(test).labels[1]["mode"].numpy()
    best = ((truth == 0).sum() + (truth == 1).sum() + (truth == 2).sum()) / len(truth)
    assert found["clustering/accuracy/coloured/mode"] == pytest.approx(best)
    p = np.array([(truth == 0).mean(), (truth == 1).mean(), (truth > 1).mean()])
    q = np.bincount(truth) / len(truth)
    information = -(p * np.log(p)).sum()  # the components are a function of the mode
    nmi = 2 * information / (information - (q * np.log(q)).sum())
    assert found["clustering/nmi/coloured/mode"] == pytest.approx(nmi)
    assert found["clustering/components/coloured"] == 3 and found["clustering/components/white"] == 1
    assert "clustering/nmi/white/digit" in found


def test_matched_accuracy_equals_a_search_through_all_matchings():
    rng = np.random.default_rng(0)
    truth, chosen = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    best = max(np.mean(np.array(names)[chosen] == truth) for names in itertools.permutations(range(4)))
    assert matched_accuracy(truth, chosen) == pytest.approx(best)
    assert matched_accuracy(np.array([0, 1, 2]), np.array([5, 5, 0])) == pytest.approx(2 / 3)


def test_without_modes_or_components_nothing_is_counted(folder):
    test = open_colour_modes(folder, "test", 32)
    test.mode_domain = None
    reasons = left_out(Blender(), test, metrics=["modes", "clustering"])
    assert reasons["modes"] == "the data know no modes"
    assert reasons["clustering"] == "the model's prior of styles is no mixture"
