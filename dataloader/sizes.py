"""Heights and widths. No PyTorch here: the workers that pack pictures do without it."""

from collections.abc import Sequence

Size = tuple[int, int]  # height, width


def both_sides(size: int | Sequence[int]) -> Size:
    """Height and width; a number is a square's side."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)


def spelled(size: int | Sequence[int]) -> str:
    """As people read it: "64 x 96" of height and width; a number as it is."""
    return str(size) if isinstance(size, int) else " x ".join(map(str, size))


def load_sides(load_size: int | Sequence[int] | None, size: Size) -> Size:
    """The size that pictures are resized to before `size` is cut from them. A number is the shorter side of a
    picture shaped like `size`; None: `size` itself. Raises ValueError where it is below `size`."""
    if load_size is None:
        return size
    if isinstance(load_size, int):
        sides = tuple(round(load_size * side / min(size)) for side in size)
    else:
        sides = both_sides(load_size)
    if any(loaded < side for loaded, side in zip(sides, size)):
        whole = size[0] if size[0] == size[1] else size
        raise ValueError(
            f"load_size {spelled(load_size)} is below the resolution, {spelled(whole)}, that is cut from it"
        )
    return sides[0], sides[1]


def jitter_sides(size: Size) -> Size:
    """The size that pix2pix resizes pictures to, of which `size` is cut: 286 for 256."""
    height, width = size
    return round(height * 286 / 256), round(width * 286 / 256)


def fit_within(shape: Size, room: Size) -> Size:
    """The largest size with the proportions of `shape` that fits into `room`."""
    (height, width), (high, wide) = shape, room
    if height * wide >= width * high:  # the height is what fills the room
        return high, max(1, round(width * high / height))
    return max(1, round(height * wide / width)), wide


def middle_window(shape: Size, size: Size) -> tuple[int, int, int, int]:
    """Top, left, height and width of the middle part of a picture of `shape`: the largest that has the
    proportions of `size`."""
    height, width = fit_within(size, shape)
    return (shape[0] - height) // 2, (shape[1] - width) // 2, height, width


def around(inner: Size, outer: Size) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is left (above, below) and (left, right) of a size in the middle of another."""
    above, left = ((whole - part) // 2 for part, whole in zip(inner, outer))
    return (above, outer[0] - inner[0] - above), (left, outer[1] - inner[1] - left)
