"""Toy cars: cars of our own, rendered into .mat files laid out as the Cars of Reed et al. (NIPS 2015).

    python dataloader/toy_cars.py data/Cars-toy-mat

A car's number and the seed decide its kind, proportions and colours. Every car is seen from 24 azimuths (15
degrees apart, 0 is the front) at 4 elevations.
"""

import colorsys
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

if not __package__:  # run as a file: imports start at the repository's root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from scipy.io import savemat
from tqdm import tqdm

from dataloader.packed import DataError, new_folder
from dataloader.preprocessing import Parser, run
from dataloader.toy_renderer import Builder, Colour, Mesh, circle, quad, render

AZIMUTHS = 24
ELEVATIONS = (8.0, 18.0, 28.0, 38.0)  # degrees above the ground, by index
RECORD = "toy_cars.json"
HEADER = b"MATLAB 5.0 MAT-file, toy cars"  # in place of SciPy's, which holds the time of writing

# In metres: length, width, height of bonnet and roof, clearance, wheel radius; as shares of the length:
# bonnet, boot; in metres: how far windscreen and rear window lean. A car's own differ by up to VARIATION.
KINDS = {
    "sedan": (3.50, 1.78, 0.92, 1.46, 0.22, 0.36, 0.26, 0.19, 0.55, 0.45),
    "hatch": (2.95, 1.70, 0.92, 1.56, 0.22, 0.34, 0.21, 0.01, 0.50, 0.30),
    "coupe": (3.45, 1.86, 0.78, 1.20, 0.17, 0.36, 0.35, 0.11, 0.70, 0.80),
    "suv": (3.35, 1.88, 1.10, 1.80, 0.34, 0.46, 0.25, 0.01, 0.42, 0.20),
    "van": (3.50, 1.84, 1.08, 2.10, 0.26, 0.36, 0.12, 0.00, 0.58, 0.06),
    "pickup": (3.60, 1.86, 1.04, 1.72, 0.34, 0.44, 0.25, 0.38, 0.42, 0.08),
    "truck": (3.60, 1.84, 1.02, 1.80, 0.31, 0.40, 0.10, 0.55, 0.34, 0.03),
}
VARIATION = 0.09
NOSE_DROP = {"van": 0.10, "truck": 0.05, "coupe": 0.16}
SIDE_WINDOWS = {"pickup": 1, "truck": 1, "coupe": 1, "van": 3}

GLASS, GLINT, TYRE, DARK = (0.16, 0.22, 0.30), (0.42, 0.52, 0.62), (0.13, 0.13, 0.15), (0.09, 0.09, 0.10)
LAMP, BRAKE, PLATE, TRIM = (1.0, 0.97, 0.80), (0.88, 0.06, 0.08), (0.96, 0.96, 0.92), (0.25, 0.25, 0.28)
CREAM, BLACK, STEEL, WOOD, TAXI = (
    (0.83, 0.82, 0.78),
    (0.12, 0.12, 0.14),
    (0.72,) * 3,
    (0.62, 0.40, 0.22),
    (1, 0.85, 0.15),
)
BOTH_SIDES = np.array([[1, 1, 1], [1, -1, 1]])  # as they are, and mirrored to the right
ACROSS = BOTH_SIDES[::-1]  # times a point on the left: the edge from right to left


@dataclass(frozen=True)
class Car:
    """One identity: lengths in metres, colours as RGB in 0 to 1."""

    kind: str
    length: float
    width: float
    belt: float
    roof: float
    clearance: float
    wheel: float
    bonnet: float
    boot: float
    front_lean: float
    rear_lean: float
    body: Colour
    top: Colour
    sills: Colour
    accent: Colour
    hub: Colour
    stripe: str
    round_lamps: bool
    extra: str


def draw_car(number: int, seed: int = 0) -> Car:
    """Car `number` (from 1) of the fleet `seed`. Neighbours in number differ in kind and much in hue."""
    random = np.random.RandomState([seed, number])  # the legacy generator: its stream never changes
    kind = list(KINDS)[(number + number // len(KINDS)) % len(KINDS)]
    sizes = np.array(KINDS[kind]) * random.uniform(1 - VARIATION, 1 + VARIATION, len(KINDS[kind]))
    sizes[6:8] *= sizes[0]
    hue = (seed * 0.37 + number * 0.6180339887) % 1  # the golden ratio spreads them evenly
    body = colorsys.hsv_to_rgb(
        hue, (0.85, 0.60, 0.95, 0.42)[number % 4], (0.92, 0.98, 0.62, 0.88)[number % 4]
    )
    other = colorsys.hsv_to_rgb((hue + random.choice([0.33, 0.5, 0.67])) % 1, 0.75, 0.95)
    seconds = (CREAM, BLACK, other)
    top = body if random.rand() < 0.55 else seconds[random.randint(3)]
    sills = body if random.rand() < 0.6 else seconds[random.randint(3)]
    hub = (STEEL, (0.92, 0.92, 0.90), (0.35, 0.35, 0.38), other)[random.randint(4)]
    stripe = ("", "", "one", "two", "side")[random.randint(5)]
    if kind == "coupe":
        extra = ("", "spoiler", "spoiler")[random.randint(3)]
    else:
        extra = ("", "", "rack", "sign")[random.randint(4)] if kind not in ("pickup", "truck") else ""
    accent, round_lamps = seconds[random.randint(3)], random.rand() < 0.5
    return Car(kind, *sizes, body, top, sills, accent, hub, stripe, round_lamps, extra)


def build_mesh(car: Car) -> Mesh:
    """The polygons of one car: its nose towards x, its wheels at z = 0, its middle over the origin."""
    build = Builder()
    add_shadow(build, car)
    add_body(build, car)
    add_cabin(build, car)
    add_extras(build, car)
    for x in (-0.31 * car.length, 0.315 * car.length):
        for side in (1, -1):
            add_wheel(build, car, x, side)
    return build.mesh()


def add_shadow(build: Builder, car: Car) -> None:
    build.centre = np.array([0, 0, -1])
    for margin, shade, z in ((0.22, 0.90, 0.0), (0.06, 0.80, 0.004)):
        x, y, cut = car.length / 2 + margin, car.width / 2 + margin, 0.35
        quarter = np.array([(x, y - cut, z), (x - cut, y, z)])
        left = np.concatenate([quarter, quarter[::-1] * [-1, 1, 1]])
        build.add(np.concatenate([left, left[::-1] * [1, -1, 1]]), (shade,) * 3, glow=True)


def body_rings(car: Car) -> np.ndarray:
    """Five cross-sections from tail to nose, [5, 3, 3]: in each the sill, the shoulder and the edge of the
    top, on the left, as (x, y, z)."""
    half, wide = car.length / 2, car.width / 2
    tail = 0.06 if car.kind in ("sedan", "hatch", "coupe") else 0.02
    nose = NOSE_DROP.get(car.kind, 0.12)
    rings = np.empty((5, 3, 3))
    stations = (
        (-half, 0.93, tail),
        (0.30 - half, 1, 0),
        (0, 1, 0),
        (half - car.bonnet, 1, 0),
        (half, 0.90, nose),
    )
    for ring, (x, share, drop) in zip(rings, stations):
        lean = 0.05 * np.sign(x) if abs(x) == half else 0.0  # nose and tail are widest at the bumper
        ring[:, 0] = x, x + lean, x - 2 * lean
        ring[:, 1] = np.array([0.95, 1, 0.90]) * wide * share
        ring[:, 2] = np.interp([0, 0.56, 1], [0, 1], [car.clearance, car.belt - drop])
    return rings


def add_body(build: Builder, car: Car) -> None:
    rings = body_rings(car)
    build.centre = np.array([0, 0, car.belt / 2])
    for rear, front in pairwise(rings):
        for side in BOTH_SIDES:
            build.add(quad(rear[:2] * side, front[:2] * side), car.sills)
            upper = quad(rear[1:] * side, front[1:] * side)
            build.add(upper, car.body)
            if car.stripe == "side":
                build.patch(upper, (0, 1), (0.05, 0.45), car.accent)
        top = quad(rear[2] * ACROSS, front[2] * ACROSS)
        build.add(top, car.body)
        add_stripes(build, car, top)
    if car.kind == "pickup":
        ends = [
            np.array([x - car.length / 2, 0.4 * car.width, car.belt + 0.015]) for x in (0.22, car.boot - 0.08)
        ]
        build.add(quad(ends[0] * ACROSS, ends[1] * ACROSS), TRIM)
    for end in (0, -1):
        ring = rings[end]
        lower, upper = (
            quad(ring[level : level + 2] * ACROSS[0], ring[level : level + 2]) for level in (0, 1)
        )
        build.add(lower, car.sills)
        build.add(upper, car.body)
        build.patch(lower, (0, 1), (0.30, 0.72), TRIM, lift=0.03)
        build.patch(lower, (0.38, 0.62), (0.36, 0.68), PLATE, glow=True, lift=0.045)
        add_lights(build, car, upper, front=end == -1)


def add_lights(build: Builder, car: Car, face: np.ndarray, front: bool) -> None:
    """Pale lamps and a dark grille in front, red lamps at the back."""
    if front:
        build.patch(face, (0.30, 0.70), (0.15, 0.80), DARK)
    for u in (0.15, 0.85) if front else (0.115, 0.885):
        if front and car.round_lamps:
            build.disc(face, u, 0.5, 0.17, LAMP)
        else:
            build.patch(face, (u - 0.1, u + 0.1), (0.15, 0.87), LAMP if front else BRAKE, glow=True)


def add_stripes(build: Builder, car: Car, top: np.ndarray) -> None:
    """Racing stripes along a face whose second edge runs across the car."""
    for v in {"one": [(0.38, 0.62)], "two": [(0.28, 0.42), (0.58, 0.72)]}.get(car.stripe, []):
        build.patch(top, (0, 1), v, car.accent)


def add_cabin(build: Builder, car: Car) -> None:
    rear, front = 0.10 - car.length / 2 + car.boot, 0.06 + car.length / 2 - car.bonnet
    base = car.belt - 0.02
    build.centre = np.array([(rear + front) / 2, 0, (base + car.roof) / 2])
    edges = []  # on the left, from rear to front: at the foot, at the eaves and around the roof, [2, 3] each
    for share, width, inset in ((0, 0.44, 0), (0.86, 0.38, 0), (1, 0.33, 0.05)):
        xs = (rear + share * car.rear_lean + inset, front - share * car.front_lean - inset)
        edges.append(np.array([(x, width * car.width, base + share * (car.roof - base)) for x in xs]))
    foot, eaves, roof = edges
    for low, high, colour in ((foot, eaves, car.body), (eaves, roof, car.top)):
        for side in BOTH_SIDES:
            build.add(quad(*(np.stack([low[end], high[end]]) * side for end in (0, 1))), colour)
        for end in (0, 1):
            build.add(quad(*(np.stack([low[end], high[end]]) * side for side in ACROSS)), colour)
    for side in BOTH_SIDES:
        face = quad(*(np.stack([foot[end], eaves[end]]) * side for end in (0, 1)))
        count = SIDE_WINDOWS.get(car.kind, 2)
        for start in np.linspace(0.06, 1, count, endpoint=False):
            stop = start + 0.94 / count - 0.06
            build.patch(face, (start, stop), (0.10, 0.95), GLASS)
            build.patch(face, (start + 0.05, start + 0.10), (0.18, 0.88), GLINT, lift=0.02, slant=0.05)
    for end in (0, 1) if car.kind != "truck" else (1,):
        face = quad(*(np.stack([foot[end], eaves[end]]) * side for side in ACROSS))
        build.patch(face, (0.07, 0.93), (0.10, 0.97), GLASS)
        build.patch(face, (0.16, 0.30), (0.16, 0.92), GLINT, lift=0.02, slant=0.12)
    top = quad(roof[0] * ACROSS, roof[1] * ACROSS)
    build.add(top, car.top)
    add_stripes(build, car, top)


def add_extras(build: Builder, car: Car) -> None:
    """Mirrors, a truck's box, a spoiler, a taxi's sign, a luggage rack."""
    wide, tail = car.width / 2, -car.length / 2
    rear, front = 0.10 + tail + car.boot, 0.06 + car.length / 2 - car.bonnet
    for y in (0.90 * wide, -0.90 * wide - 0.20):
        build.box((front - 0.45, y, car.belt + 0.04), (front - 0.30, y + 0.20, car.belt + 0.20), car.body)
    if car.kind == "truck":
        colour = car.top if car.top != car.body else car.accent
        low, high = (tail - 0.02, -0.98 * wide, car.belt - 0.05), (rear - 0.06, 0.98 * wide, car.roof + 0.45)
        back, _, right, left, _ = build.box(low, high, colour)
        for face in (right, left):
            build.patch(face, (0, 1), (0.35, 0.6), car.body)
        build.patch(back, (0.485, 0.515), (0.04, 0.96), TRIM)  # between the doors
    if car.extra == "spoiler":
        z = car.belt + 0.20
        build.box((tail + 0.02, -0.85 * wide, z), (tail + 0.30, 0.85 * wide, z + 0.06), car.accent)
        for y in (-0.6 * wide, 0.6 * wide - 0.06):
            build.box((tail + 0.10, y, car.belt - 0.05), (tail + 0.20, y + 0.06, z), TRIM)
    start, stop = rear + car.rear_lean, front - car.front_lean  # of the roof
    if car.extra == "sign":
        middle = (start + stop) / 2
        build.box((middle - 0.14, -0.32, car.roof), (middle + 0.14, 0.32, car.roof + 0.22), TAXI, shrink=0.75)
    if car.extra == "rack":
        for y in (-0.55 * wide, 0.55 * wide - 0.07):
            build.box((start + 0.12, y, car.roof), (stop - 0.12, y + 0.07, car.roof + 0.10), TRIM)
        build.box(
            (start + 0.32, -0.4, car.roof + 0.06), (stop - 0.27, 0.4, car.roof + 0.28), WOOD, shrink=0.92
        )


def add_wheel(build: Builder, car: Car, x: float, side: int) -> None:
    """Tyre, hub and the dark arch above, at `x` on the left (side 1) or right (-1)."""
    disc = np.insert(circle(14), 1, 0, axis=1)  # [14, 3], upright
    outer = np.array([x, side * (car.width / 2 + 0.035), car.wheel])
    inner = outer - [0, side * 0.24, 0]
    build.centre = (outer + inner) / 2
    rims = disc * car.wheel + inner, disc * car.wheel + outer
    for i in range(14):
        build.add(quad(rims[0][[i - 1, i]], rims[1][[i - 1, i]]), TYRE)
    for rim in rims:
        build.add(rim, TYRE)
    build.add(disc * car.wheel * 0.62 + outer + [0, side * 0.01, 0], car.hub)
    build.add(disc[::2] * car.wheel * 0.2 + outer + [0, side * 0.02, 0], TRIM)
    arch = disc * car.wheel * 1.22 + outer - [0, side * 0.025, 0]
    build.add(np.maximum(arch, [-np.inf, -np.inf, car.clearance]), DARK)


def render_car(number: int, size: int, seed: int = 0) -> np.ndarray:
    """All views of one car as the .mat files hold them, uint8 [row, column, channel, azimuth, elevation]."""
    mesh = build_mesh(draw_car(number, seed))
    views = np.empty((size, size, 3, AZIMUTHS, len(ELEVATIONS)), np.uint8)
    for index, elevation in enumerate(ELEVATIONS):
        for azimuth in range(AZIMUTHS):
            views[..., azimuth, index] = render(mesh, azimuth * (360 / AZIMUTHS), elevation, size)
    return views


def mat_bytes(views: np.ndarray) -> bytes:
    """A MATLAB 5 file that holds `views` as `im`; equal views give equal bytes."""
    file = io.BytesIO()
    savemat(file, {"im": views}, do_compression=True)
    return HEADER.ljust(116) + file.getvalue()[116:]


def write_car(number: int, folder: Path, size: int, seed: int) -> None:
    (folder / f"car_{number:03d}_mesh.mat").write_bytes(mat_bytes(render_car(number, size, seed)))


def write_fleet(
    target: Path, cars: int = 199, size: int = 64, seed: int = 0, workers: int = 1, bar: bool = False
) -> bool:
    """Render cars 1 to `cars` at `size` pixels into the folder `target`, all or nothing; False if they are
    there. Other toy cars there are replaced; anything else, or a wrong number, raises DataError."""
    for name, value, most in (("cars", cars, 999), ("size", size, 1024), ("workers", workers, 1024)):
        if not 1 <= value <= most:
            raise DataError(f"--{name} {value}: allowed: 1 to {most}")
    if not 0 <= seed < 2**32:
        raise DataError(f"--seed {seed}: allowed: 0 to {2**32 - 1}")
    record = json.dumps({"version": 1, "cars": cars, "size": size, "seed": seed}) + "\n"
    if (target / RECORD).is_file():
        if (target / RECORD).read_text() == record:
            return False
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} holds something else than toy cars; name a new folder")
    numbers = range(1, cars + 1)
    with new_folder(target) as work:
        write = partial(write_car, folder=work, size=size, seed=seed)
        with ProcessPoolExecutor(min(workers, cars), initializer=end_with_parent) as pool:
            try:
                for _ in tqdm(
                    pool.map(write, numbers), "toy cars", cars, unit="car", disable=None if bar else True
                ):
                    pass
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        (work / "list.txt").write_text("".join(f"car_{number:03d}_mesh\n" for number in numbers))
        (work / RECORD).write_text(record)
    return True


def end_with_parent() -> None:
    """In a worker: leave Ctrl-C to the program that started it, and stop when that is gone, even killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    made = write_fleet(**vars(options), bar=True)
    print(f"{options.cars} toy cars are {'ready' if made else 'already'} in {options.target}")


def parser() -> Parser:
    made = Parser(
        "toy_cars.py",
        "Render toy cars into .mat files laid out as the Cars of Reed et al.: car_001_mesh.mat, "
        "car_002_mesh.mat ..., each with im, uint8 [size, size, 3, 24 azimuths, 4 elevations].",
        "example: python dataloader/toy_cars.py data/Cars-toy-mat\n"
        "then:    python dataloader/preprocess_cars.py data/Cars-toy-mat data/Cars-toy",
    )
    made.add_argument("target", metavar="TARGET", type=Path, help="the folder to make")
    made.add_argument("--cars", metavar="N", type=int, default=199, help="numbered from 1; default: 199")
    made.add_argument("--size", metavar="N", type=int, default=64, help="in pixels; default: 64")
    made.add_argument(
        "--seed", metavar="N", type=int, default=0, help="another seed, another fleet; default: 0"
    )
    cores = os.cpu_count() or 1
    made.add_argument(
        "--workers", metavar="N", type=int, default=cores, help="processes; default: one per core"
    )
    return made


if __name__ == "__main__":
    sys.exit(run(main))
