"""`main.py translate`: the pictures are those of the grids, whatever a picture is comes back as it came, and
nothing half-made is left."""

import errno
import json
import signal
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from conftest import noise
from PIL import Image
from torch import nn

import main
from configs.load import load_config
from dataloader.cache import Shape
from models.translator import Translator
from solvers import make_solver
from solvers.commands import inputs, job, translate
from solvers.commands.opened import Opened
from solvers.commands.tiles import shares, starts, translate_tiled
from solvers.run.signals import Interrupted
from solvers.visualization.grids import to_uint8
from solvers.visualization.interpolation import FRAMES

WAY = ("--from", "x", "--to", "y")


def call(capsys, *words) -> tuple[int, str, str]:
    status = main.main(["translate", *map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def test_split(finished_run, tmp_path_factory):
    """The images of x in the run's first grid, as PNG files, by row."""
    config = load_config(finished_run / "config.json", ["train=0"])
    solver = make_solver(config)
    folder = tmp_path_factory.mktemp("split") / "x"
    folder.mkdir()
    index = np.linspace(0, len(solver.test_set) - 1, 8).astype(int)
    for row, image in enumerate(solver.test_set.at(index).images[0]):
        Image.fromarray(to_uint8(image)).save(folder / f"{row}.png")
    return folder


def test_the_test_split_gives_the_pictures_of_the_grids(capsys, finished_run, test_split, tmp_path):
    status, *_ = call(capsys, finished_run, test_split, *WAY, "--random", 3, "--output", tmp_path / "made")
    assert status == 0
    grid = pixels(finished_run / "samples/000010/x_to_y.png")
    top = len(grid) - 8 * 68  # rows of 64, each pixel twice as large, and a gap
    for row in range(8):
        for style in range(3):  # the fourth column and on: input, reconstruction and own style stand before
            left = 4 + (3 + style) * 68
            cell = grid[top + 68 * row :, left:][:64:2, :64:2]
            made = pixels(tmp_path / f"made/{row}_{style + 1}.png")
            assert np.abs(cell - made).max() <= 1
            assert made.std() > 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]


def test_styles_are_the_seeds_and_the_same_for_every_picture(capsys, finished_run, test_split, tmp_path):
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("a.png", "b.png"):
        (copies / name).write_bytes((test_split / "0.png").read_bytes())
    for seed, batch in ((1, 1), (1, 2), (2, 2)):
        out = tmp_path / f"{seed}-{batch}"
        words = (*WAY, "--random", 2, "--seed", seed, "--batch", batch, "--output", out)
        assert call(capsys, finished_run, copies, *words)[0] == 0
        assert (pixels(out / "a_1.png") == pixels(out / "b_1.png")).all()
        assert (pixels(out / "a_1.png") != pixels(out / "a_2.png")).any()
    assert np.abs(pixels(tmp_path / "1-1/a_1.png") - pixels(tmp_path / "1-2/a_1.png")).max() <= 1
    assert np.abs(pixels(tmp_path / "1-2/a_1.png") - pixels(tmp_path / "2-2/a_1.png")).max() > 1


def odd_pictures(folder, count: int) -> dict[str, tuple[int, int]]:
    """Pictures of all modes and kinds of file, in folders and with odd names; (width, height) by place."""
    rng, sizes = np.random.default_rng(0), {}
    for number in range(count):
        width, height = (int(side) for side in rng.integers(20, 60, 2))
        picture = noise(number, width, height)
        mode = ("RGB", "L", "LA", "RGBA", "P", "CMYK", "I;16", "1", "turned")[number % 9]
        options, ending = {}, "png"
        if mode == "CMYK":
            picture, ending = picture.convert("CMYK"), "jpg"
        elif mode == "I;16":
            picture = Image.fromarray(rng.integers(0, 65536, (height, width)).astype(np.uint16))
        elif mode == "turned":
            exif = Image.Exif()
            exif[0x0112] = 6  # a quarter turn
            options, ending = {"exif": exif}, "jpg"
        elif mode == "P":
            picture, ending = picture.convert("P"), ("bmp", "webp", "tiff")[number // 9 % 3]
            options = {"lossless": True} if ending == "webp" else {}
        else:
            picture = picture.convert(mode)
        place = f"{'deep/er/' if number % 5 == 0 else ''}{number}.{ending}"
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / place, **options)
        sizes[place] = (height, width) if mode == "turned" else (width, height)
    return sizes


def test_five_hundred_pictures_of_mixed_kinds_come_back_as_they_lay(capsys, finished_run, tmp_path):
    sizes = odd_pictures(tmp_path / "in", 500)
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "in/notes.txt").write_text("no picture")
    (tmp_path / "in/.hidden.png").write_bytes(b"")
    out = tmp_path / "made"
    status, _, said = call(capsys, finished_run, tmp_path / "in", *WAY, "--fit", "squash", "--output", out)
    assert status == 1 and said.count("\n") == 1 and "broken.jpg" in said
    made = {str(p.relative_to(out)) for p in out.rglob("*.png")} - {"grid.png"}
    assert made == {str(Path(place).with_suffix(".png")) for place in sizes}
    for place, size in sizes.items():
        with Image.open(out / Path(place).with_suffix(".png")) as picture:
            assert picture.size == size and picture.mode == "RGB"
    report = json.loads((out / "translate.json").read_text())
    assert len(report["pictures"]) == 500 and len(report["left_out"]) == 1
    assert report["from"] == "x" and report["checkpoint"]["iteration"] == 10


def test_odd_and_equal_names_are_kept_apart(capsys, finished_run, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    names = [
        "<script>alert(1)</script>".replace("/", "_"),
        'a "b"\nc',
        "'; rm -rf ~;",
        "grid",
        "translate",
        " ",
    ]
    for number, name in enumerate(names):
        noise(number, 40, 40).save(source / f"{name}.png")
    noise(9, 40, 40).save(source / "grid.jpg")
    status, said, _ = call(capsys, finished_run, source, *WAY, "--output", tmp_path / "made")
    assert status == 0 and said.count("\n") == 1
    made = {path.name for path in (tmp_path / "made").iterdir()}
    plain = {f"{name}.png" for name in names if name != "grid"}
    assert made == plain | {"grid.png", "translate.json", "grid.png.png", "grid.jpg.png"}


def test_frames_come_back_as_frames(capsys, finished_run, tmp_path):
    shots = [noise(number, 44, 36) for number in range(5)]
    shots[0].save(tmp_path / "a.gif", save_all=True, append_images=shots[1:], duration=70, loop=0)
    imageio.imwrite(
        tmp_path / "b.mp4", np.stack([np.asarray(s) for s in shots]), plugin="pyav", codec="libx264", fps=5
    )
    (tmp_path / "c.gif").write_bytes((tmp_path / "a.gif").read_bytes()[:300])
    (tmp_path / "d.mp4").write_bytes(b"no video")
    files = [tmp_path / name for name in ("a.gif", "b.mp4", "c.gif", "d.mp4")]
    out = tmp_path / "made"
    status, _, said = call(capsys, finished_run, *files, *WAY, "--fit", "pad", "--batch", 2, "--output", out)
    assert status == 1 and "d.mp4" in said and "c.gif" in said and said.count("\n") == 2
    for name in ("a.gif", "b.mp4"):
        frames = sorted((out / name[0]).iterdir())
        assert len(frames) == 5
        assert len(list(imageio.imiter(out / name, plugin="pyav" if "mp4" in name else "pillow"))) == 5
        assert Image.open(frames[0]).size == (44, 36)
    assert Image.open(out / "a.gif").info["duration"] == 70
    assert not (out / "c").exists() and not (out / "d").exists()
    one = tmp_path / "frame.png"
    Image.open(tmp_path / "a.gif").convert("RGB").save(one)
    call(capsys, finished_run, one, *WAY, "--fit", "pad", "--output", tmp_path / "one")
    assert np.abs(pixels(tmp_path / "one/frame.png") - pixels(out / "a/000001.png")).max() <= 1


def test_styles_of_pictures_and_the_way_between_them(capsys, finished_run, test_split, tmp_path):
    a, b, picture = (test_split / f"{n}.png" for n in (1, 2, 0))
    assert call(capsys, finished_run, picture, *WAY, "--output", tmp_path / "s", "--style", a, b)[0] == 0
    assert (
        call(capsys, finished_run, picture, *WAY, "--output", tmp_path / "i", "--interpolate", a, b)[0] == 0
    )
    model = make_solver(load_config(finished_run / "config.json", ["train=0"]))
    model.load(finished_run, "latest", training=False)
    model = model.model.eval()
    tensors = [torch.from_numpy(pixels(p)).movedim(2, 0)[None] / 127.5 - 1 for p in (picture, a, b)]
    with torch.no_grad():
        for number, reference in enumerate(tensors[1:], 1):
            expected = to_uint8(
                model.translate(tensors[0], 0, 1, model.encode_style(reference, 1))[0]
            ).astype(int)
            assert np.abs(expected - pixels(tmp_path / f"s/0_{number}.png")).max() <= 1
    frames = list(imageio.imiter(tmp_path / "i/0.gif", plugin="pillow", mode="RGB"))
    assert len(frames) == 2 * FRAMES - 2
    for frame, number in ((frames[0], 1), (frames[FRAMES - 1], 2)):  # a GIF has 256 colours
        assert np.abs(frame.astype(int) - pixels(tmp_path / f"s/0_{number}.png")).mean() < 3


# --- Fit


@pytest.mark.parametrize(
    ("resize", "load", "own"),
    [
        ("squash", None, (90, 120)),
        ("fit", None, (90, 120)),
        ("crop", None, (90, 90)),  # the middle
        ("crop", 48, (60, 60)),  # 32 of 48 of the middle's 90
        ("squash", 48, (60, 80)),
        ("fit", 48, (80, 80)),  # 120 wide is 48 of the loaded, 32 are 80; high are 36 of which 32, 80 of 90
    ],
)
def test_a_picture_goes_to_the_models_size_and_back_to_its_own_place(resize, load, own):
    down, across = np.mgrid[0:90, 0:120]
    smooth = np.stack([down * 2, across * 2, (down + across)], axis=2).astype(np.uint8)
    size = (32, 32)
    shape = Shape((load, load) if load else size, resize)
    seen = inputs.placed(Image.fromarray(smooth), size, shape)
    assert seen.pixels.shape == (32, 32, 3) and seen.own == own
    back = np.asarray(seen.back(seen.pixels)).astype(int)
    top, left = ((whole - part) // 2 for whole, part in zip((90, 120), own))
    there = smooth[top : top + own[0], left : left + own[1]].astype(int)
    inner = (slice(4, -4), slice(4, -4))  # of a ramp, resizing bends only the ends
    assert np.abs(back[inner] - there[inner]).max() <= 4


# --- Tiles


class Plain(Translator):
    """Convolutions without statistics: a place is made of what is within 4 pixels of it."""

    domains = ("a", "b")
    has_style = has_style_prior = False
    content_is_image = fully_convolutional = True

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 3, 5, padding=2), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def encode_content(self, image, domain):
        return image

    def decode(self, content, style, domain):
        return self.layers(content)


@pytest.mark.parametrize("shape", [(150, 211), (64, 64), (64, 65), (300, 64)])
def test_tiles_of_a_model_without_statistics_give_the_whole_pictures_result(shape):
    picture, model = np.asarray(noise(1, shape[1], shape[0])), Plain()
    tiled = translate_tiled(picture, lambda x: model.translate(x, 0, 1), (64, 64), 3, torch.device("cpu"))
    whole = torch.from_numpy(picture.copy()).movedim(2, 0)[None] / 127.5 - 1
    with torch.no_grad():
        expected = to_uint8(model.translate(whole, 0, 1)[0]).astype(int)
    assert np.abs(tiled.astype(int) - expected).max() <= 1


def test_a_picture_smaller_than_a_window_keeps_its_size():
    made = translate_tiled(np.asarray(noise(1, 30, 70)), lambda x: -x, (64, 64), 2, torch.device("cpu"))
    assert np.abs(made.astype(int) + np.asarray(noise(1, 30, 70)) - 255).max() <= 1


@pytest.mark.parametrize(("length", "side"), [(64, 64), (65, 64), (200, 64), (4000, 256)])
def test_shares_of_windows_add_up_to_one(length, side):
    begin, lap = starts(length, side, side - side // 4), side // 4
    total = np.zeros(length)
    for start, share in zip(begin, shares(begin, side, lap // 4)):
        assert (share >= 0).all()
        total[start : start + side] += share.numpy()
    assert np.allclose(total, 1, atol=1e-5) and begin[-1] + side == max(length, side)


# --- Attributes


class Known(Plain):
    """Shows what it was told: on the left what the picture has, on the right what is wanted."""

    domains = ("faces",)
    directions = ((0, 0),)
    attributes = ("black", "blond", "young")
    has_style, missing = True, {}

    def edit(self, image, domain, have, want):
        made = image.clone()
        width = image.shape[3] // 2
        made[..., :width], made[..., width:] = have[:, :, None, None] * 2 - 1, want[:, :, None, None] * 2 - 1
        return made


@pytest.mark.parametrize(
    ("words", "have", "want"),
    [
        (["young=1"], (0, 0, 0), (0, 0, 1)),
        (["blond=1"], (0, 0, 0), (0, 1, 0)),
        (["blond=1", "--has", "black=1", "young=1"], (1, 0, 1), (0, 1, 1)),  # hair has one colour
        (["young=0", "--has", "black=1", "young=1"], (1, 0, 1), (1, 0, 0)),
    ],
)
def test_attributes_are_set_and_the_others_stay(
    capsys, finished_run, monkeypatch, tmp_path, words, have, want
):
    config = load_config(finished_run / "config.json")
    facts = {"exclusive_attributes": ((0, 1),)}
    known = Opened(finished_run, config, Known(), facts, 1, {}, torch.device("cpu"))
    monkeypatch.setattr(job, "open_run", lambda *_: known)
    noise(1, 32, 32).save(tmp_path / "me.png")
    out = tmp_path / "out"
    assert call(capsys, "run", tmp_path / "me.png", "--output", out, "--attribute", *words)[0] == 0
    made = pixels(out / "me.png") // 255
    assert tuple(made[5, 5]) == have and tuple(made[5, 25]) == want
    status, _, line = call(
        capsys, "run", tmp_path / "me.png", "--output", tmp_path / "b", "--attribute", "old=1"
    )
    assert status == 2 and "allowed: black, blond, young" in line
    status, _, line = call(capsys, "run", tmp_path / "me.png", "--output", tmp_path / "b")
    assert status == 2 and "--attribute NAME=1" in line


# --- What is refused


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "required"),
        (("{run}",), "required"),
        (("nowhere", "{picture}"), "nowhere does not exist"),
        (("{data}", "{picture}", *WAY), "has no config.json"),
        (("{run}", "nowhere.png", *WAY), "nowhere.png does not exist"),
        (("{run}", "{picture}"), "there are x to y, y to x"),
        (("{run}", "{picture}", "--from", "z"), "allowed: x, y"),
        (("{run}", "{picture}", "--from", "x", "--to", "x"), "does not translate so"),
        (("{run}", "{picture}", *WAY, "--random", "0"), "no whole number from 1"),
        (("{run}", "{picture}", *WAY, "--random", "1", "--style", "a.png"), "not allowed with"),
        (("{run}", "{picture}", *WAY, "--style", "nowhere.png"), "nowhere.png does not exist"),
        (("{run}", "{picture}", *WAY, "--attribute", "a=1"), "knows no attributes"),
        (("{run}", "{picture}", *WAY, "--fit", "tile"), "whole picture at once"),
        (("{run}", "{picture}", *WAY, "--iteration", "7"), "no checkpoint of iteration 7"),
        (("{run}", "{picture}", *WAY, "--iteration", "best"), "has no best checkpoint"),
        (("{run}", "{picture}", *WAY, "--device", "gpu"), "auto, cpu, cuda or cuda:N"),
        (("{run}", "{broken}", *WAY), "cannot be read"),
        (("{run}", "{empty}", *WAY), "there are no pictures"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(capsys, finished_run, tmp_path, words, part):
    places = {name: tmp_path / name for name in ("picture", "broken", "empty", "data")}
    noise(1, 40, 40).save(places["picture"], format="PNG")
    places["broken"].write_bytes(b"no picture")
    places["empty"].mkdir()
    places["data"].mkdir()
    before = sorted(tmp_path.rglob("*"))
    words = [word.format(run=finished_run, **places) for word in words]
    status, _, line = call(capsys, *words, "--output", tmp_path / "made")
    assert status == 2 and line.startswith("error: ") and line.count("\n") == 1 and part in line
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_is_there_is_replaced_only_when_told_and_ours(capsys, finished_run, tmp_path):
    picture, out = tmp_path / "a.png", tmp_path / "made"
    noise(1, 40, 40).save(picture)
    words = (finished_run, picture, *WAY, "--output", out)
    out.mkdir()
    (out / "mine.txt").write_text("dear")
    for force in ((), ("--force",)):
        assert call(capsys, *words, *force)[0] == 2
    assert (out / "mine.txt").read_text() == "dear"
    (out / "mine.txt").unlink()
    assert call(capsys, *words)[0] == 0  # an empty folder is no loss
    noise(2, 40, 40).save(picture)
    before = pixels(out / "a.png")
    assert call(capsys, *words)[0] == 2 and (pixels(out / "a.png") == before).all()
    assert call(capsys, *words, "--force")[0] == 0 and (pixels(out / "a.png") != before).any()
    status, _, line = call(capsys, finished_run, out / "a.png", *WAY, "--output", out, "--force")
    assert status == 2 and "would be replaced" in line and (out / "a.png").exists()


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Interrupted(signal.SIGINT), 130), (OSError(errno.ENOSPC, "No space left on device"), 1)],
)
def test_an_interruption_or_a_full_disk_leaves_nothing(
    capsys, finished_run, test_split, tmp_path, monkeypatch, fault, status
):
    calls, save = [], translate.save_png

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise fault
        save(*arguments)

    monkeypatch.setattr(translate, "save_png", failing)
    got, _, line = call(capsys, finished_run, test_split, *WAY, "--output", tmp_path / "made")
    assert got == status and line.count("error: ") == 1 and "Traceback" not in line
    assert len(calls) == 3 and not list(tmp_path.iterdir())
