"""Networks, grids and whole runs on images that are no squares, against counts, bits and pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drit_toys import TINY, check_resumes, check_tests, make_run
from PIL import Image

from configs.load import ConfigError, validate
from models.discriminators import Classifying, ContentDiscriminator, MultiScale, SingleScale
from models.drit import DRIT
from models.gmvae_drit import GMVAEDRIT
from models.iiae import IIAE
from models.mdmm import MDMM
from solvers import solver_class
from solvers.evaluation.adaptation import to_bytes
from solvers.run.folder import RunError
from solvers.visualization.grids import draw_grid
from solvers.visualization.interpolation import small

# Networks


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (128, 32)])
def test_iiae_has_a_map_as_long_as_the_image_before_its_codes(size):
    model = IIAE(size, base_width=2, shared_dim=5, exclusive_dim=3).eval()
    image = torch.rand(2, 3, *size) * 2 - 1
    features = 8 * (size[0] // 8) * (size[1] // 8)  # three halvings, by the shorter side
    assert model.zx_encoder.fc_mu_var[0].in_features == features
    assert model.zs_encoder.fc_mu_var[0].in_features == features
    assert model.x_decoder.start == (16, size[0] // 16, size[1] // 16)
    assert model.translate(image, 0, 1, model.encode_style(image, 1)).shape == image.shape
    with pytest.raises(ValueError, match=r"power of two.*not 32 x 48"):
        IIAE((32, 48))
    with pytest.raises(ValueError, match="1 to 4 stages"):
        IIAE((256, 32), stages=5)


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("kind", [DRIT, MDMM, GMVAEDRIT])
def test_drits_networks_do_not_depend_on_the_size(kind, concat):
    shape = {"concat": concat, "base_width": 2, "attribute_dim": 3, "residual_blocks": 1}
    square, model = kind(64, ("A", "B"), **shape), kind((36, 52), ("A", "B"), **shape).eval()
    sizes = [{name: value.shape for name, value in m.state_dict().items()} for m in (square, model)]
    assert sizes[0] == sizes[1]
    image = torch.rand(2, 3, 36, 52) * 2 - 1
    content = model.encode_content(image, 0)
    assert content.shape == (2, 8, 9, 13)
    assert model.decode(content, model.encode_style(image, 1), 1).shape == image.shape
    with pytest.raises(ValueError, match=r"multiple of 4.*not 32 x 50"):
        kind((32, 50), ("A", "B"))


@pytest.mark.parametrize("size", [(32, 48), (96, 64), (216, 432), (32, 256), (36, 1024)])
def test_discriminators_take_their_kernels_from_the_shorter_side(size):
    shorter = min(size)
    image = torch.rand(1, 3, *size)
    for kind, options in ((MultiScale, (3, 2)), (SingleScale, (2,)), (ContentDiscriminator, (4,))):
        least = (side // 4 for side in size) if kind is ContentDiscriminator else size
        judge, square = kind(tuple(least), *options), kind(shorter // (4 if options == (4,) else 1), *options)
        assert {n: p.shape for n, p in judge.state_dict().items()} == {
            n: p.shape for n, p in square.state_dict().items()
        }
        if kind is not ContentDiscriminator:
            assert all(logits.shape[1] == 1 for logits in judge(image))
    content = ContentDiscriminator(tuple(side // 4 for side in size), 4, 3)
    logits = content(torch.rand(2, 4, *(side // 4 for side in size)))
    assert logits.shape[:2] == (2, 3) and logits[..., 0, 0].isfinite().all()
    assert (logits.shape[2] >= logits.shape[3]) == (size[0] >= size[1])


@pytest.mark.parametrize("size", [(32, 48), (96, 64), (32, 256), (36, 132)])
def test_the_head_that_names_a_domain_sees_the_whole_map(size):
    judge = Classifying(size, 3, 2)
    blocks = len(judge.model)
    assert judge.conv2.kernel_size == tuple(max(1, side // 2**blocks) for side in size)
    image = torch.rand(1, 3, *size, requires_grad=True)
    real, domain = judge(image)
    assert real.shape[1] == 1 and domain.shape == (1, 3)
    domain.sum().backward()
    assert (image.grad.abs().sum((0, 1)) > 0).float().mean() > 0.95


# What is shown


def test_a_grids_cells_have_the_images_proportions():
    cells = [torch.full((3, 16, 40), shade) for shade in (-1.0, 1.0)]
    picture = draw_grid([cells], ["a", "b"])
    black = (picture == 0).all(2)
    rows, columns = np.flatnonzero(black.any(1)), np.flatnonzero(black.any(0))
    assert len(rows) >= 64 and black[-68:-4].sum() == 64 * 160 and len(columns) == 160


@pytest.mark.parametrize(
    "size, expected", [((64, 96), (64, 96)), ((128, 512), (32, 128)), ((300, 150), (128, 64))]
)
def test_a_gifs_pictures_are_reduced_in_proportion(size, expected):
    assert small(torch.zeros(1, 3, *size)).shape[2:] == expected


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (32, 32)])
def test_a_classifier_sees_squares(size):
    assert to_bytes(torch.zeros(2, 3, *size)).shape == (2, 3, 32, 32)


# Whole runs


def check_page(run_folder: Path, words: str) -> None:
    assert words in (run_folder / "index.html").read_text().replace("\N{MULTIPLICATION SIGN}", "x")


def test_iiae_trains_resumes_and_tests_on_digits_that_stand_high(experiment, tmp_path, capsys):
    experiment["resolution"] = [64, 32]
    make = make_run(experiment, tmp_path)
    again = check_resumes(make, tmp_path, 2, 4)
    capsys.readouterr()
    check_tests(again, tmp_path / "again/results")
    assert "at 64 x 32;" in capsys.readouterr().out
    check_page(tmp_path / "again", "at 64 x 32")
    with Image.open(tmp_path / "again/results/content_x_style_y.png") as picture:
        assert picture.height > 9 * 128 and picture.width < 9 * 80  # cells of 128 x 64


@pytest.mark.parametrize("model", ["DRIT", "MDMM", "GMVAE-DRIT"])
def test_the_drit_family_trains_resumes_and_tests_on_wide_pictures(model, mixed_folder, tmp_path):
    network = {key: value for key, value in TINY.items() if model != "GMVAE-DRIT" or key != "attribute_dim"}
    values = {
        "id": "toy",
        "model": model,
        "dataset": "Folders",
        "path_to_data": str(mixed_folder),
        "resolution": [32, 48],
        "data": {"load_size": 36, "resize": "squash", "filter": "bicubic"},
        "device": "cpu",
        "threads": 1,
        "training": {"batch_size": 2, "isDcontent": 1, "d_iter": 2},
        "network": network,
        "test": {"batch_size": 4, "after_training": False},
    }
    again = check_resumes(make_run(values, tmp_path), tmp_path, 2, 4)
    check_tests(again, tmp_path / "again/results")
    check_page(tmp_path / "again", "at 32 x 48")
    if model == "GMVAE-DRIT":
        assert again.weights()["rec"] == pytest.approx(1 / (3 * 32 * 48))


def test_sizes_that_make_no_network_are_one_line(experiment, mixed_folder):
    config = validate({**experiment, "resolution": [32, 128], "network": {"stages": 5}}, "toy")
    with pytest.raises(RunError, match=r"resolution 32 x 128 and network of the config: .*1 to 4 stages"):
        solver_class(config)(config)
    for wrong in ({"resolution": [32, 48]}, {"dataset": "Folders", "data": {"resize": "stretch"}}):
        with pytest.raises(ConfigError):
            validate({**experiment, **wrong}, "toy")
