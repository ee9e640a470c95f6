"""Packing: the same bytes however many workers, little memory, bad pictures named, any picture read."""

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageCms

from dataloader.cdcb_pictures import picture_pair
from dataloader.packed import DataError, write_split
from dataloader.packing import Packed, list_images, npy_header, pack_images, read_picture, resized
from dataloader.preprocessing import check_target, run, whole


def picture(seed: int, size: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, 2 * size, 3), np.uint8)


def halves(seed: int) -> np.ndarray:
    return np.stack(np.split(picture(seed), 2, axis=1))


in_halves = partial(picture_pair, resolution=12)  # of the package, for workers must import it
SHAPE = (2, 12, 12, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of 24 x 12."""
    made = tmp_path_factory.mktemp("pictures")
    for index in range(40):
        Image.fromarray(picture(index)).save(made / f"{index:03}.png")
    return made


def npy(arrays: list[np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.stack(arrays))
    return file.getvalue()


# Packing


def test_the_file_is_what_numpy_would_save_with_one_worker_and_with_two(folder, tmp_path):
    expected = npy([halves(index) for index in range(40)])
    for workers in (1, 2):
        packed = pack_images(list_images(folder), tmp_path / "a.npy", in_halves, SHAPE, workers)
        assert packed == Packed(list(range(40)), [])
        assert (tmp_path / "a.npy").read_bytes() == expected


def test_the_header_is_as_long_for_every_number_of_pictures():
    assert {len(npy_header(count, (512, 512, 3))) for count in (0, 1, 10**6, 10**9)} == {128}


def test_the_first_bad_picture_is_named_and_stops_the_packing(folder, tmp_path):
    paths = list_images(folder)
    for index in (25, 38):
        paths[index] = tmp_path / f"bad{index}.png"
        paths[index].write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad25\.png: cannot be read as a picture .*--skip-bad"):
        pack_images(paths, tmp_path / "a.npy", in_halves, SHAPE, workers=2)


def test_skip_bad_leaves_bad_pictures_out_says_which_and_closes_the_gaps(folder, tmp_path):
    paths = list_images(folder)
    for index in (0, 7, 8, 39):
        paths[index] = tmp_path / f"bad{index}.png"
        paths[index].write_bytes(b"no picture")
    kept = [index for index in range(40) if index not in (0, 7, 8, 39)]
    packed = pack_images(paths, tmp_path / "a.npy", in_halves, SHAPE, 1, skip_bad=True)
    assert packed.kept == kept
    assert [line.split(":")[0] for line in packed.left_out] == [str(paths[i]) for i in (0, 7, 8, 39)]
    assert (tmp_path / "a.npy").read_bytes() == npy([halves(index) for index in kept])


def test_a_set_of_bad_pictures_only_is_refused_even_with_skip_bad(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of the 1 pictures"):
        pack_images([tmp_path / "bad.png"], tmp_path / "a.npy", in_halves, SHAPE, skip_bad=True)


def test_a_set_larger_than_the_disk_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(DataError, match=r"takes [\d,.]+ GB"):
        pack_images(list_images(folder), tmp_path / "a.npy", in_halves, (10**6, 10**6, 3))
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_set(tmp_path):
    Image.fromarray(picture(0, 360)).save(tmp_path / "a.jpg")
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=600
    )
    before, small, large = map(int, measured.stdout.split())
    assert (tmp_path / "a.npy").stat().st_size > 230e6
    assert large - before < 60_000  # KiB
    assert large - small < 8_000


MEASURE = """
import resource, sys
from functools import partial
from pathlib import Path
from dataloader.packing import pack_images
from dataloader.cdcb_pictures import picture_pair
folder = Path(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
for count in (30, 300):
    paths = [folder / "a.jpg"] * count
    pack_images(paths, folder / "a.npy", partial(picture_pair, resolution=360), (2, 360, 360, 3), 1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_workers_end_when_the_packing_process_is_killed(folder, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    running = subprocess.Popen([sys.executable, tmp_path / "slow.py", folder], env={"PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: len(list(tmp_path.glob("worker-*"))) == 2)
    finally:
        running.kill()
        running.wait()
    workers = [int(path.name.split("-")[1]) for path in tmp_path.glob("worker-*")]
    wait_until(lambda: not any(map(alive, workers)))


SLOW = """
import os, sys, time
from pathlib import Path
from dataloader.packing import list_images, pack_images
here = Path(__file__).parent

def convert(path):
    (here / f"worker-{os.getpid()}").touch()
    time.sleep(1000)

if __name__ == "__main__":
    pack_images(list_images(Path(sys.argv[1])), here / "a.npy", convert, (2, 12, 12, 3), 2)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


# Listing and reading


def test_pictures_are_listed_by_name_whatever_the_case_of_their_suffix(tmp_path):
    for name in ("b.PNG", "a.jpeg", "c.Tiff", "d.webp", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.Tiff", "d.webp"]
    with pytest.raises(DataError, match="no pictures"):
        list_images(tmp_path / "folder.png")
    with pytest.raises(DataError, match="no folder"):
        list_images(tmp_path / "nowhere")


def saved(image: Image.Image, path: Path, **options: object) -> np.ndarray:
    image.save(path, **options)
    return np.asarray(read_picture(path)).astype(int)


def test_a_grey_picture_has_three_equal_channels(tmp_path):
    grey = picture(1)[..., 0]
    assert (saved(Image.fromarray(grey), tmp_path / "a.png") == grey[..., None]).all()


def test_sixteen_bits_become_eight_from_black_to_white(tmp_path):
    values = np.array([[0, 128, 129], [257, 32768, 65535]], np.uint16)
    read = saved(Image.fromarray(values), tmp_path / "a.png")
    assert (read[..., 0] == np.round(values / 257)).all()


def test_transparency_lies_over_white(tmp_path):
    rgba = np.dstack([picture(2), np.random.default_rng(3).integers(0, 256, (12, 24, 1), np.uint8)])
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(saved(Image.fromarray(rgba), tmp_path / "a.png") - expected).max() <= 1
    grey = rgba[..., [0, 3]]
    expected = np.repeat(grey[..., :1] * alpha + 255 * (1 - alpha), 3, axis=2)
    assert np.abs(saved(Image.fromarray(grey, "LA"), tmp_path / "b.png") - expected).max() <= 1


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white(tmp_path):
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.putpixel((1, 0), 1)
    assert saved(indexed, tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert saved(indexed, tmp_path / "b.png", transparency=1).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_cmyk_becomes_rgb(tmp_path):
    ink = Image.new("CMYK", (2, 1), (0, 0, 0, 0))
    ink.putpixel((1, 0), (0, 255, 255, 0))
    assert saved(ink, tmp_path / "a.tif").tolist() == [[[255, 255, 255], [255, 0, 0]]]


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turned: right is up
    pixels = picture(4)[:, :7]
    read = saved(Image.fromarray(pixels), tmp_path / "a.png", exif=exif)
    assert (read == np.rot90(pixels, -1)).all()


def test_a_colour_profile_is_applied_and_a_broken_one_counts_as_none(tmp_path):
    pixels = picture(5)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (saved(Image.fromarray(pixels), tmp_path / "a.png", icc_profile=lab) == pixels).all()
    assert (saved(Image.fromarray(pixels), tmp_path / "b.png", icc_profile=b"broken") == pixels).all()
    swapped = saved(Image.fromarray(pixels), tmp_path / "c.png", icc_profile=swap_red_and_green(lab))
    assert np.abs(swapped - pixels[..., [1, 0, 2]]).max() <= 2


def swap_red_and_green(profile: bytes) -> bytes:
    """A profile whose red primary is sRGB's green and the other way round, under another name."""
    table = {
        profile[at : at + 4]: at
        for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12)
    }
    changed = bytearray(profile)
    red, green = table[b"rXYZ"], table[b"gXYZ"]
    changed[red + 4 : red + 12], changed[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    at, size = struct.unpack_from(">II", profile, table[b"desc"] + 4)
    text = profile[at : at + size]
    changed[at : at + size] = text.replace("sRGB".encode("utf-16-be"), "GRBs".encode("utf-16-be"))
    return bytes(changed)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    for side in (10_000, 60_000):
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(DataError, match=r"a\.png: .*decompression bomb"):
            read_picture(tmp_path / "a.png")


def test_a_program_in_the_dress_of_a_picture_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was run"))
    Image.fromarray(picture(1)).save(tmp_path / "a.eps")  # PostScript, which Pillow hands to Ghostscript
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: .*no known image format"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "tif"])
def test_a_damaged_picture_is_a_data_error_that_names_it_and_nothing_else(tmp_path, kind):
    Image.fromarray(picture(6, 30)).save(tmp_path / "whole", {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    whole_file = (tmp_path / "whole").read_bytes()
    random = np.random.default_rng(7)
    for length in random.integers(0, len(whole_file) * 3 // 4, 25):
        (tmp_path / "cut").write_bytes(whole_file[:length])
        with pytest.raises(DataError, match="cut: "):
            read_picture(tmp_path / "cut")
    for _ in range(60):
        garbled = np.frombuffer(whole_file, np.uint8).copy()
        garbled[random.integers(0, min(len(garbled), 400), 3)] = random.integers(0, 256, 3)
        (tmp_path / "garbled").write_bytes(garbled.tobytes())
        try:
            assert read_picture(tmp_path / "garbled").mode == "RGB"
        except DataError as error:
            assert str(error).startswith(str(tmp_path / "garbled"))


def test_resizing_averages_what_falls_into_one_pixel():
    fine = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    assert np.abs(resized(fine, 8, 8).astype(int) - 127.5).max() < 4
    assert (resized(fine, 64, 64) == np.asarray(fine)).all()


# Targets and command lines


def test_a_folder_with_something_else_in_it_is_never_replaced(tmp_path):
    check_target(tmp_path / "new", force=False)
    check_target(tmp_path, force=False)
    split = tmp_path / "train"
    write_split(split, {"digits": np.zeros((3, 2, 2), np.uint8)})
    with pytest.raises(DataError, match="--force replaces it"):
        check_target(tmp_path, force=False)
    check_target(tmp_path, force=True)
    (split / "digits.npy").unlink()  # damaged: made again without asking
    check_target(tmp_path, force=False)
    (tmp_path / "notes.txt").touch()
    for force in (False, True):
        with pytest.raises(DataError, match="holds something else"):
            check_target(tmp_path, force)


def raising(error: BaseException) -> Callable[[list[str]], None]:
    def main(arguments: list[str]) -> None:
        raise error

    return main


def test_what_a_person_can_mend_is_one_line_and_status_2(capsys):
    assert run(lambda arguments: None, []) == 0
    assert run(raising(DataError("two\nlines")), []) == 2
    assert run(raising(OSError(28, "No space left on device", "x.npy")), []) == 2
    assert run(raising(KeyboardInterrupt()), []) == 130
    lines = ["error: two lines", "error: x.npy: No space left on device", "error: interrupted"]
    assert capsys.readouterr().err.splitlines() == lines
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()), [])


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", ""])
def test_numbers_on_the_command_line_are_whole_and_positive(text):
    with pytest.raises(Exception, match="no whole number from 1 up"):
        whole(text)
