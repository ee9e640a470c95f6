import numpy as np
import torch
from PIL import Image

from dataloader import open_dataset
from dataloader.dataset import Batch
from models.iiae import IIAE
from models.translator import Translator
from solvers.visualization.grids import GAP, draw_grid, save_png, to_uint8, transfer_grid, translation_grid
from solvers.visualization.pictures import fixed_batch, save_pictures


def solid(*rgb: float) -> torch.Tensor:
    return torch.tensor(rgb).view(3, 1, 1).expand(3, 32, 32)


def test_every_image_stands_in_its_row_and_column():
    shades = [[solid(-1 + 0.1 * (3 * r + c), 0, 1) for c in range(3)] for r in range(2)]
    shades[1][2] = None
    picture = draw_grid(shades, ["a", "b", "c"])
    top = picture.shape[0] - 2 * (64 + GAP)
    for r in range(2):
        for c in range(3):
            centre = picture[top + r * (64 + GAP) + 32, GAP + c * (64 + GAP) + 32]
            want = [255, 255, 255] if shades[r][c] is None else to_uint8(shades[r][c])[0, 0].tolist()
            assert centre.tolist() == want


def test_titles_are_drawn_and_long_ones_are_broken_into_lines():
    rows = [[solid(0, 0, 0)]]
    short, long = draw_grid(rows, [""]), draw_grid(rows, ["a title that needs a few lines"])
    assert long.shape[0] > short.shape[0] and long.shape[1] == short.shape[1]
    assert (long[: long.shape[0] - 70] < 128).any() and not (short[: short.shape[0] - 70] < 128).any()


def test_pixels_are_kept_when_a_small_image_is_enlarged():
    image = torch.rand(3, 32, 32) * 2 - 1
    picture = draw_grid([[image]], [""])
    shown = picture[-(64 + GAP) : -GAP, GAP : GAP + 64]
    assert np.array_equal(shown[::2, ::2], to_uint8(image)) and np.array_equal(
        shown[1::2, 1::2], to_uint8(image)
    )


def test_to_uint8_maps_minus_one_to_0_and_one_to_255():
    assert to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 5).expand(3, 1, 5))[
        0, :, 0
    ].tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_the_columns_of_a_translation_grid_are_what_the_verbs_make(digits_folder):
    torch.manual_seed(0)
    model = IIAE(32, base_width=4).eval()
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    batch = fixed_batch(data, torch.device("cpu"), 3)
    picture = translation_grid(model, batch, 0, 1, seed=5, randoms=2, paired=True)
    x, y = batch.images
    style = model.sample_style(2, 1, torch.Generator().manual_seed(5))
    with torch.no_grad():
        content = model.encode_content(x, 0)
        columns = [
            x,
            model.decode(content, model.encode_style(x, 0), 0),
            model.decode(content, model.encode_style(y, 1), 1),
            *(model.decode(content, s.expand(3, 8), 1) for s in style),
            y,
        ]
    top = picture.shape[0] - 3 * (64 + GAP)
    for c, images in enumerate(columns):
        for r, image in enumerate(images):
            place = picture[top + r * (64 + GAP) :, GAP + c * (64 + GAP) :][:64, :64]
            assert np.abs(place[::2, ::2].astype(int) - to_uint8(image)).max() <= 1


def test_a_transfer_grid_has_contents_down_and_styles_across(digits_folder):
    torch.manual_seed(0)
    model = IIAE(32, base_width=4).eval()
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    batch = fixed_batch(data, torch.device("cpu"), 6)
    picture = transfer_grid(model, batch, 1, 0, side=3)
    top = picture.shape[0] - 4 * (64 + GAP)
    with torch.no_grad():
        made = model.decode(
            model.encode_content(batch.images[1][2:3], 1), model.encode_style(batch.images[0][4:5], 0), 0
        )
    place = picture[top + 3 * (64 + GAP) :, GAP + 2 * (64 + GAP) :][:64, :64]
    assert np.abs(place[::2, ::2].astype(int) - to_uint8(made[0])).max() <= 1


class Negative(Translator):
    """Shows an image of x as its negative, which is no style's matter."""

    domains, directions = ("x", "y"), ((0, 1),)
    has_style = has_style_prior = False
    content_is_image = True

    def encode_content(self, image, domain):
        return image

    def decode(self, content, style, domain):
        assert style is None and domain == 1
        return -content


def test_a_model_without_styles_gets_a_grid_of_input_translation_and_truth():
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    batch = Batch((images, images), ({}, {}))
    picture = translation_grid(Negative(), batch, 0, 1, seed=0, randoms=3, paired=True)
    assert picture.shape[1] == GAP + 3 * (64 + GAP)
    top = picture.shape[0] - 2 * (64 + GAP)
    made = picture[top:, GAP + 64 + GAP :][:64, :64]
    assert np.abs(made[::2, ::2].astype(int) - to_uint8(-images[0])).max() <= 1


def test_a_model_of_one_direction_and_no_styles_gets_one_picture(tmp_path, digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    save_pictures(Negative(), data, 0, tmp_path, torch.device("cpu"))
    assert [path.name for path in tmp_path.iterdir()] == ["x_to_y.png"]


def test_a_picture_is_written_whole(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    save_png(picture, tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
