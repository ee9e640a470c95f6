"""Before hours of training: what the data holds, some iterations and a test on eight images, and what the
whole run will take."""

import shutil
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from configs.load import load_config
from dataloader.dataset import Dataset
from dataloader.held_out import Subset
from dataloader.loader import TrainLoader
from dataloader.packed import DataError
from dataloader.packing import default_workers, is_image, read_picture
from dataloader.sizes import spelled
from solvers import make_solver
from solvers.evaluation.codes import View
from solvers.evaluation.evaluate import measure
from solvers.evaluation.family import chosen
from solvers.run.checkpoint import save_checkpoint
from solvers.run.folder import RunFolder
from solvers.run.memory import peak, spelled_bytes
from solvers.run.setup import versions
from solvers.run.watch import NonFiniteLoss
from solvers.solver import Solver
from solvers.visualization.grids import draw_grid, save_png
from solvers.visualization.pictures import fixed_batch

MOST_FILES = 20_000  # looked at, spread over each folder
MOST_NAMED = 5  # of files with a fault
BLOCK = 256  # stored items compared at once
TESTED = 8
SECONDS = 3.0  # that iterations are timed for, where they are short
MOST_ITERATIONS = 50
LEARNERS = ("probes", "translation", "adaptation", "realism", "modes")  # they train, or need more than eight


@dataclass
class Findings:
    """What was said, and what a person should look at."""

    faults: list[str] = field(default_factory=list)

    def say(self, name: str, text: str) -> None:
        print(f"{name:<12}{text}", flush=True)

    def fault(self, text: str) -> None:
        self.faults.append(text)
        self.say("LOOK", text)


def run(options: Namespace) -> int:
    """Exit status: 1 where something should be looked at first. Raises the errors of a config or data set
    that cannot be trained on."""
    picture = options.picture
    if picture is not None and picture.exists() and not options.force:
        raise DataError(f"{picture} is there already; --force overwrites it")
    config = load_config(options.config, [*options.overrides, "train=1"])
    found = Findings()
    root = Path(config.data_folder)
    hashes = look_at_files(root, found) if root.is_dir() else {}
    solver = make_solver(config)
    found.say("data", f"{config.dataset} at {root}, images of {spelled(config.size)}")
    for split, data in (
        ("train", solver.train_set),
        ("held out", solver.validation_set),
        ("test", solver.test_set),
    ):
        if data is not None:
            found.say(split, counted(data))
    if not hashes:
        compare_splits(solver.train_set, solver.test_set, found)
    if picture is not None:
        save_batch(solver, picture)
        found.say("batch", f"as training sees it: {picture}")
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        try_out(solver, RunFolder(Path(folder)), found)
    if found.faults:
        print(f"\n{len(found.faults)} to look at before training; see the lines that begin with LOOK.")
        return 1
    print("\nNothing stands against training.")
    return 0


def counted(data: Dataset) -> str:
    if data.paired:
        return f"{len(data):,} pairs of {' and '.join(data.domains)}"
    return ", ".join(f"{count:,} of {name}" for name, count in zip(data.domains, data.streams))


# --- The files


def look_at_files(root: Path, found: Findings) -> dict[str, dict[bytes, Path]]:
    """Say of the pictures below each folder of `root` how many, how large and of which modes, and which
    cannot be read or stand in both training and test folders; gives their hashes by folder."""
    seen: dict[str, dict[bytes, Path]] = {}
    for name, files in sorted(folders_of_pictures(root).items()):
        chosen = files[:: -(-len(files) // MOST_FILES)]
        with ThreadPoolExecutor(default_workers(BLOCK * 16)) as pool:
            looks = list(tqdm(pool.map(look_at, chosen), name, len(chosen), leave=False, disable=None))
        sizes = Counter(size for _, size, _, _ in looks if size)
        modes = Counter(mode for _, _, mode, _ in looks if mode)
        some = "" if len(chosen) == len(files) else f", of which {len(chosen):,} were looked at"
        found.say(name, f"{len(files):,} pictures{some}; {of_sizes(sizes)}; {listed(modes)}")
        bad = [text for *_, text in looks if isinstance(text, str)]
        for text in bad[:MOST_NAMED]:
            found.fault(text)
        if len(bad) > MOST_NAMED:
            found.fault(f"{name}: {len(bad) - MOST_NAMED} more pictures cannot be read")
        seen[name] = {sum_: path for path, _, _, sum_ in looks if isinstance(sum_, bytes)}
        if (again := len(looks) - len(bad) - len(seen[name])) > 0:
            found.say(name, f"{again:,} of them are there more than once")
    train = {
        key: path for name, part in seen.items() if name.startswith("train") for key, path in part.items()
    }
    for name, part in seen.items():
        if name.startswith(("test", "val")) and (both := part.keys() & train.keys()):
            one = min(both)
            what = f"{part[one]} is {train[one]}"
            found.fault(f"{name} and training share {len(both):,} equal pictures: {what}")
    return seen


def folders_of_pictures(root: Path) -> dict[str, list[Path]]:
    """By the folder's name below `root`; pictures of deeper folders count to the first."""
    files: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root).parts
        if not any(part.startswith(".") for part in below) and is_image(path):
            files.setdefault(below[0] if len(below) > 1 else ".", []).append(path)
    return files


def look_at(path: Path) -> tuple[Path, tuple[int, int] | None, str, bytes | str]:
    """The file's size, its mode and a hash of its pixels, or in place of that what is wrong with it."""
    try:
        picture = read_picture(path)
        with Image.open(path) as stored:
            mode = stored.mode
    except DataError as error:
        return path, None, "", str(error)
    key = blake2b(picture.tobytes(), digest_size=16, person=b"%dx%d" % picture.size)
    return path, (picture.height, picture.width), mode, key.digest()


def of_sizes(sizes: Mapping[tuple[int, int], int]) -> str:
    if not sizes:
        return "none can be read"
    if len(sizes) == 1:
        return f"all {spelled(next(iter(sizes)))} (height x width)"
    small, large = min(sizes, key=np.prod), max(sizes, key=np.prod)
    return f"{len(sizes):,} sizes from {spelled(small)} to {spelled(large)} (height x width)"


def listed(modes: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {mode}" for mode, count in Counter(modes).most_common())


# --- The stored arrays


def compare_splits(train: Dataset, test: Dataset, found: Findings) -> None:
    """Say where images that are stored for the test split are stored for training, too."""
    known = image_sums(train)
    for name, sums in image_sums(test).items():
        if shared := len(sums & known.get(name, set())):
            found.fault(f"test and training share {shared:,} equal {name.replace('_', ' of domain ')}")


def image_sums(data: Dataset) -> dict[str, set[bytes]]:
    """By stored array the hashes of its images."""
    sums: dict[str, set[bytes]] = {}
    for first in tqdm(range(0, max(data.streams), BLOCK), "comparing", leave=False, disable=None):
        index = [np.arange(first, first + BLOCK) for _ in data.streams]
        stored = data.read(
            *(
                mine[mine < count] if first < count else np.zeros(1, int)
                for mine, count in zip(index, data.streams)
            )
        )
        for name, images in stored.items():
            if images.ndim > 2:
                known = sums.setdefault(name, set())
                known.update(blake2b(one.tobytes(), digest_size=16).digest() for one in images.numpy())
    return sums


def save_batch(solver: Solver, path: Path) -> None:
    """The first training batch, augmented, a row for each domain. PNG, whole or not at all."""
    solver.set_time(1)
    count = min(8, solver.training.batch_size)
    loader = TrainLoader(solver.train_set, count, solver.config.seed, solver.device, workers=0)
    images = loader.batch(loader.raw(1)).images
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(draw_grid([list(row) for row in images], [""] * count, "", list(solver.train_set.domains)), path)


# --- Two iterations, a test, and what they say of the whole run


def try_out(solver: Solver, run: RunFolder, found: Findings) -> None:
    config, training, device = solver.config, solver.training, solver.device
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in solver.networks.items()}
    each = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    found.say("parameters", f"{sum(counts.values()):,} ({each})")
    solver.check_batch()
    run.create(config, versions())
    seconds, count = iterations(solver)
    found.say("iteration", f"{seconds:.3g} s, of {count} after the first, on {device}")
    saved = timed(lambda: save_checkpoint(run.models, 1, solver.state()))
    size = sum(file.stat().st_size for file in run.models.iterdir())
    fixed = fixed_batch(solver.test_set, device)
    solver.run = run
    sampled = timed(lambda: solver.save_samples(fixed, 1))
    pictures = sum(file.stat().st_size for file in run.samples.rglob("*") if file.is_file())
    tested = timed(lambda: test(solver))
    found.say("test", f"of {TESTED} images: {tested:.1f} s")
    found.say("memory", peak(device))
    saves = -(-training.max_iters // training.model_save_freq)  # the last iteration is always saved
    samples = training.max_iters // training.sample_freq
    whole = seconds * training.max_iters + saved * saves + sampled * samples
    found.say("whole run", f"{training.max_iters:,} iterations: {span(whole)}, and the test")
    disk = size * min(saves, training.keep_checkpoints or saves) + pictures * samples
    found.say("disk", f"{spelled_bytes(disk)} ({spelled_bytes(size)} for each checkpoint)")
    place = existing(Path(config.run_dir or config.output_dir))
    free = shutil.disk_usage(place).free
    if disk > free:
        found.fault(
            f"the disk of {place} has {spelled_bytes(free)} free; training.keep_checkpoints keeps fewer"
        )


def existing(path: Path) -> Path:
    """The path or the nearest folder above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def iterations(solver: Solver) -> tuple[float, int]:
    """Seconds an iteration takes, and of how many after the first that is the mean. Raises NonFiniteLoss."""
    ranks = {"workers": solver.config.workers}
    loader = TrainLoader(
        solver.train_set, solver.training.batch_size, solver.config.seed, solver.device, **ranks
    )
    done, began = 0, 0.0
    for iteration, raw in loader.iterate(0, MOST_ITERATIONS):
        solver.set_time(iteration)
        losses = solver.one_iteration(loader.batch(raw), iteration)
        for name, loss in losses.items():
            if not torch.isfinite(loss):  # on a GPU this waits for it, too
                raise NonFiniteLoss(f"loss {name} became NaN or infinite at iteration {iteration}")
        if iteration == 1:
            began = monotonic()
            continue
        done = iteration - 1
        if monotonic() - began > SECONDS:
            break
    return (monotonic() - began) / done, done


def timed(action: Callable[[], object]) -> float:
    """The seconds it takes."""
    began = monotonic()
    action()
    return monotonic() - began


def test(solver: Solver) -> None:
    """The numbers of the families that eight images are enough for; nothing is cached."""
    few = Subset(solver.test_set, tuple(np.arange(min(TESTED, n)) for n in solver.test_set.streams))
    names = [family.name for family in chosen(solver.config.test) if family.name not in LEARNERS]
    settings = solver.config.test.model_copy(update={"metrics": names})
    view = View(solver.tested_model, few, settings, solver.config.seed, solver.device, solver.training_split)
    solver.tested_model.eval()
    measure(view)


def span(seconds: float) -> str:
    """A time as people say it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
