"""The pictures that a person gives: found, read in whatever kind they are, and brought to the size that a
model takes and back to their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as imageio
import numpy as np
from PIL import Image

from dataloader.cache import Shape, shaped
from dataloader.packed import DataError
from dataloader.packing import UNREADABLE, is_image, read_picture, to_rgb
from dataloader.sizes import Size, around, fit_within, middle_window

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
MILLISECONDS = 100  # of a GIF's frame that says none


class Input(NamedTuple):
    """A file, and its place below the output folder."""

    path: Path
    place: Path

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS

    @property
    def may_move(self) -> bool:
        return self.is_video or self.path.suffix.lower() == ".gif"


def find_inputs(given: Sequence[Path], output: Path) -> list[Input]:
    """Every picture, GIF and video that is given or lies in a given folder, at any depth, in the order of
    names; hidden files and what is in `output` are left out. Raises DataError."""
    found = []
    for path in given:
        if path.is_dir():
            root = path.resolve()
            above = root if len(given) == 1 else root.parent
            inside = [file for file in sorted(root.rglob("*")) if is_input(file, root, output.resolve())]
            if not inside:
                raise DataError(f"there are no pictures in {path}")
            found += [Input(path / file.relative_to(root), file.relative_to(above)) for file in inside]
        elif path.exists():
            found.append(Input(path, Path(path.name)))
        else:
            raise DataError(f"{path} does not exist")
    return found


def is_input(path: Path, root: Path, output: Path) -> bool:
    if any(part.startswith(".") for part in path.relative_to(root).parts) or path.is_relative_to(output):
        return False
    return is_image(path) or (Input(path, path).may_move and path.is_file())


def frames(one: Input) -> Iterator[Image.Image]:
    """Its pictures, one by one, as 8-bit sRGB; of a still picture one. Raises DataError."""
    if not one.may_move:
        yield read_picture(one.path)
        return
    import av

    options = {"plugin": "pyav"} if one.is_video else {"plugin": "pillow", "mode": "RGBA"}
    try:
        for frame in imageio.imiter(one.path, **options):
            yield to_rgb(Image.fromarray(frame))
    except (*UNREADABLE, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{one.path}: cannot be read ({reason})") from None


def frame_time(one: Input) -> float:
    """Milliseconds that a frame of a GIF or video is shown."""
    if one.is_video:
        return 1000 / float(imageio.immeta(one.path, plugin="pyav")["fps"])
    return float(imageio.immeta(one.path, plugin="pillow").get("duration") or MILLISECONDS)


def save_moving(pictures: Sequence[Path], path: Path, milliseconds: float) -> None:
    """The PNG files as a GIF that repeats for ever, or as a video (mp4), by the ending of `path`."""
    if path.suffix == ".gif":
        first, *others = (Image.open(picture) for picture in pictures)
        first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0)
        return
    with imageio.imopen(path, "w", plugin="pyav") as video:
        video.init_video_stream("libx264", fps=1000 / milliseconds)
        for picture in pictures:
            pixels = imageio.imread(picture)
            height, width = (side // 2 * 2 for side in pixels.shape[:2])  # what the format takes
            video.write_frame(pixels[:height, :width])


class Placed(NamedTuple):
    """A picture as a model sees it: uint8 [H, W, 3]; the part of that which shows the picture, as rows and
    columns; and the size that this part has in the picture itself."""

    pixels: np.ndarray
    rows: slice
    columns: slice
    own: Size

    def back(self, pixels: np.ndarray, largest: int | None = None) -> Image.Image:
        """What a model made, uint8 [H, W, 3], at the picture's own size, or reduced to the longer side
        `largest`."""
        part = Image.fromarray(np.ascontiguousarray(pixels[self.rows, self.columns]))
        height, width = self.own
        if largest is not None and max(self.own) > largest:
            height, width = (max(1, round(side * largest / max(self.own))) for side in self.own)
        fits = part.size == (width, height)
        return part if fits else part.resize((width, height), Image.Resampling.BICUBIC)


def untouched(picture: Image.Image) -> Placed:
    whole = slice(None)
    return Placed(np.asarray(picture), whole, whole, (picture.height, picture.width))


def placed(picture: Image.Image, size: Size, shape: Shape) -> Placed:
    """The picture brought to `shape`, and the middle of `size` taken from that, as data sets do."""
    whole = (picture.height, picture.width)
    pixels = shaped(picture, shape)
    inner = fit_within(whole, shape.size) if shape.resize == "fit" else shape.size
    shown = middle_window(whole, shape.size)[2:] if shape.resize == "crop" else whole
    parts = []
    ends = zip(around(size, shape.size), around(inner, shape.size), size, inner, shown)
    for (cut, _), (border, _), side, part, own in ends:
        first, last = max(cut, border), min(cut + side, border + part)
        parts.append((slice(first - cut, last - cut), max(1, round((last - first) * own / part))))
    (rows, height), (columns, width) = parts
    (top, _), (left, _) = around(size, shape.size)
    return Placed(pixels[top : top + size[0], left : left + size[1]], rows, columns, (height, width))
