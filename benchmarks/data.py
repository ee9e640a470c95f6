"""How fast the loader is, rendering and augmentation included, against one that reads as the references of
IIAE and DRIT do: picture after picture, decoded by PIL, resized, made a tensor and normalised by torchvision,
in the worker processes of PyTorch's DataLoader. Both take turns, on the same pictures.
"""

import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.figures import add_json, check_json, write_json
from configs.load import ConfigError, load_config
from dataloader import DataError, open_dataset
from dataloader.cdcb import digit_arrays
from dataloader.dataset import Dataset
from dataloader.idx import read_idx_digits
from dataloader.loader import TrainLoader
from dataloader.packed import write_split
from dataloader.packing import list_images, read_picture, resized
from dataloader.preprocessing import Parser, run, whole
from solvers import make_solver
from solvers.run.folder import RunError
from solvers.run.setup import keep_freed_memory
from solvers.run.torchvision_shim import import_torchvision

ROOT = Path(__file__).resolve().parents[1]
CROP = 216 / 256  # DRIT cuts 216 x 216 from 256 x 256
EPILOG = """\
Pictures are made in a temporary folder, from scikit-learn's digits and photographs where no others are given.

example:
  python benchmarks/data.py --json data.json
"""


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    check_json(options.json)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keep_freed_memory()  # as every run of main.py
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = [pairs_case(Path(folder), options), folders_case(Path(folder), options)]
        for case in cases:
            speeds = compare(case, device, options)
            speeds["step_share"] = step_share(case, options)
            figures |= {f"loader/{case.name}/{key}": value for key, value in speeds.items()}
    print(table(figures, [case.name for case in cases]))
    write_json(options.json, figures)


def parser() -> Parser:
    made = Parser("data.py", __doc__, EPILOG)
    add_json(made)
    made.add_argument("--mnist", metavar="DIR", type=Path, help="MNIST's IDX files")
    made.add_argument("--photos", metavar="DIR", type=Path, help="photographs, directly in this folder")
    for name, default, words in (
        ("resolution", 256, "of the pictures"),
        ("pictures", 256, "how many files of each kind the reference's way reads"),
        ("batch-size", 16, "items in a batch, each of two pictures"),
        ("batches", 20, "in a round, of either way"),
        ("rounds", 7, "whose medians are reported"),
        ("workers", 4, "processes of the reference's way"),
        ("steps", 5, "training steps whose share of waiting is measured"),
        ("step-batch-size", 16, "items in a batch of those"),
    ):
        help_ = f"{words} ({default})"
        made.add_argument(f"--{name}", metavar="N", type=whole, default=default, help=help_)
    made.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="of the step's config")
    return made


class Case(NamedTuple):
    """One data set: as ours, as the reference reads it, and the keys of a config that trains on it."""

    name: str
    dataset: Dataset
    reference: torch.utils.data.Dataset
    config: dict[str, Any]


# The reference's way


class PicturePairs(torch.utils.data.Dataset):
    """Item n: the two halves of file n, or file n of either domain, as float [3, R, R] in [-1, 1]."""

    def __init__(self, files: list[list[Path]], transform: Callable[[Image.Image], Tensor], items: int):
        self.files, self.transform, self.items = files, transform, items

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> list[Tensor]:
        index %= len(self.files[0])
        pictures = [self.decode(paths[index]) for paths in self.files]
        if len(pictures) == 1:
            width, height = pictures[0].size
            pictures = [pictures[0].crop((x, 0, x + width // 2, height)) for x in (0, width // 2)]
        return [self.transform(picture) for picture in pictures]

    @staticmethod
    def decode(path: Path) -> Image.Image:
        with Image.open(path) as picture:
            return picture.convert("RGB")


def transforms(size: int, crop: int | None = None) -> Callable[[Image.Image], Tensor]:
    """To `size`, then where DRIT's `crop` is given a random square of it, mirrored or not."""
    tv = import_torchvision("torchvision.transforms")
    steps = [tv.Resize((size, size))]
    if crop:
        steps += [tv.RandomCrop(crop), tv.RandomHorizontalFlip()]
    half = (0.5, 0.5, 0.5)
    return tv.Compose([*steps, tv.ToTensor(), tv.Normalize(half, half)])


# The data


def pairs_case(folder: Path, options: Any) -> Case:
    """MNIST-CDCB: digits and colours for us, for the reference PNGs of x beside y, as in its archive."""
    if options.mnist:
        digits, labels = read_idx_digits(options.mnist, "train")
    else:
        from sklearn.datasets import load_digits

        bundle = load_digits()
        digits, labels = np.round(bundle.images * (255 / 16)).astype(np.uint8), bundle.target
    for split in ("train", "test"):
        write_split(folder / "pairs" / split, digit_arrays(digits, labels, split), dataset="MNIST-CDCB")
    size = options.resolution
    ours = open_dataset("dataloader.cdcb:open_mnist", folder / "pairs", "train", size)
    files = folder / "pngs"
    files.mkdir()
    for index in range(min(options.pictures, len(ours))):
        beside = torch.cat(ours.at(np.array([index])).images, 3)[0]  # [3, R, 2 R]
        pixels = ((beside.movedim(0, 2) + 1) * 127.5).round().byte().numpy()
        Image.fromarray(pixels).save(files / f"{index:05}.png")
    reference = PicturePairs([list_images(files)], transforms(size), items(options))
    config = {"dataset": "MNIST-CDCB", "path_to_data": str(folder / "pairs")}
    return Case(f"mnist_cdcb_{size}", ours, reference, config)


def folders_case(folder: Path, options: Any) -> Case:
    """Two folders of JPEGs of the size of CycleGAN's; loaded at R, cropped and mirrored as DRIT does."""
    size, root = options.resolution, folder / "folders"
    photos = photographs(options.photos)
    draw = random.Random(0)
    for domain in ("trainA", "trainB", "testA", "testB"):
        (root / domain).mkdir(parents=True)
        for index in range(options.pictures if domain.startswith("train") else 16):
            photo = draw.choice(photos)
            side = draw.randint(min(photo.size) // 2, min(photo.size))
            left, top = draw.randint(0, photo.width - side), draw.randint(0, photo.height - side)
            square = photo.crop((left, top, left + side, top + side))
            Image.fromarray(resized(square, size, size)).save(root / domain / f"{index:05}.jpg", quality=90)
    crop = round(size * CROP)
    ours = open_dataset("dataloader.folders:open_folders", root, "train", crop, load_size=size)
    files = [list_images(root / domain) for domain in ("trainA", "trainB")]
    reference = PicturePairs(files, transforms(size, crop), items(options))
    return Case(f"folders_{size}", ours, reference, {"dataset": "Folders", "path_to_data": str(root)})


def photographs(folder: Path | None) -> list[Image.Image]:
    if folder:
        return [read_picture(path) for path in list_images(folder)[:50]]
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(photo) for photo in load_sample_images().images]


def items(options: Any) -> int:
    return (options.batches + options.workers * 2) * options.batch_size


# Measuring


class Speed(NamedTuple):
    """Pictures per second, of the clock and of the CPU time of one core. The latter is what remains of the
    former on a machine that others use at the same time."""

    clock: float
    cpu: float


def compare(case: Case, device: torch.device, options: Any) -> dict[str, float]:
    """Medians of both ways, which take turns, and how many times as fast as the reference's ours is."""
    ours, theirs = [], []
    loader = TrainLoader(case.dataset, options.batch_size, 0, device)
    for _ in range(options.rounds):
        theirs.append(Speed(clock_of_reference(case, options), cpu_of_reference(case, options)))
        ours.append(speed_of_ours(loader, options))
    fast, slow = (Speed(*map(statistics.median, zip(*speeds))) for speeds in (ours, theirs))
    return {
        "images_per_second": fast.clock,
        "baseline_images_per_second": slow.clock,
        "ratio": fast.clock / slow.clock,
        "images_per_cpu_second": fast.cpu,
        "baseline_images_per_cpu_second": slow.cpu,
        "cpu_ratio": fast.cpu / slow.cpu,
    }


def speed_of_ours(loader: TrainLoader, options: Any) -> Speed:
    """Reading ahead, moving to the device and rendering; the first batches are not counted."""
    batches, warm = loader.iterate(0, options.batches + 4), 4
    for _ in range(warm):
        loader.batch(next(batches)[1])
    finished(loader.device)
    clock, cpu = time.perf_counter(), time.process_time()
    for _, raw in batches:
        loader.batch(raw)
    finished(loader.device)
    count = 2 * options.batch_size * options.batches
    return Speed(count / (time.perf_counter() - clock), count / (time.process_time() - cpu))


def clock_of_reference(case: Case, options: Any) -> float:
    """With worker processes; what they have ready before the clock starts is waited for and not counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than cores, and older transforms
        loader = torch.utils.data.DataLoader(
            case.reference, options.batch_size, shuffle=True, num_workers=options.workers
        )
        batches = iter(loader)
        for _ in range(options.workers * 2):
            next(batches)
        start = time.perf_counter()
        for _ in range(options.batches):
            next(batches)
        return 2 * options.batch_size * options.batches / (time.perf_counter() - start)


def cpu_of_reference(case: Case, options: Any) -> float:
    """In this process, which spares the reference what workers cost."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    loader = torch.utils.data.DataLoader(case.reference, options.batch_size, shuffle=True)
    start = time.process_time()
    batches = iter(loader)
    most = max(1, options.batches // 4)
    for _ in range(most):
        next(batches)
    spent = time.process_time() - start
    torch.set_num_threads(threads)
    return 2 * options.batch_size * most / spent


def step_share(case: Case, options: Any) -> float:
    """The median share of an iteration of IIAE that waits for the loader and renders its batch."""
    keys = {
        **case.config,
        "resolution": options.resolution,
        "training.batch_size": options.step_batch_size,
        "workers": 1,
    }
    words = [f"{key}={value}" for key, value in keys.items()]
    try:
        solver = make_solver(load_config(ROOT / "configs" / "iiae_mnist.json", [*words, *options.set]))
    except (ConfigError, RunError) as error:
        raise DataError(str(error)) from None
    assert solver.train_set is not None
    loader = TrainLoader(solver.train_set, options.step_batch_size, 0, solver.device)
    shares, batches = [], loader.iterate(0, options.steps + 1)
    for iteration in range(1, options.steps + 2):
        start = time.perf_counter()
        batch = loader.batch(next(batches)[1])
        finished(solver.device)
        loaded = time.perf_counter()
        solver.set_time(iteration)
        solver.train_step(batch, iteration)
        finished(solver.device)
        shares.append((loaded - start) / (time.perf_counter() - start))
    return statistics.median(shares[1:])  # the first waits for memory and for the choice of algorithms


def finished(device: torch.device) -> None:
    """Wait for what a GPU has yet to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# Results


def table(figures: dict[str, float], names: list[str]) -> str:
    """Markdown: a row per data set."""
    rows = [
        "| data | ours, images/s | reference's way | ratio | ours per CPU second | reference's way | ratio "
        "| share of the step |",
        "|" + " --- |" * 8,
    ]
    for name in names:
        clock, slow, ratio, cpu, slow_cpu, cpu_ratio, share = (
            value for key, value in figures.items() if key.startswith(f"loader/{name}/")
        )
        rows.append(
            f"| {name} | {clock:,.0f} | {slow:,.0f} | {ratio:.1f} | {cpu:,.0f} | {slow_cpu:,.0f} "
            f"| {cpu_ratio:.1f} | {share:.2%} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(run(main))
