"""The first losses of one tiny run per model, as in tests/golden/losses.txt, and a run that goes on from a
checkpoint that an earlier commit wrote. They change only where a commit means to change what is learned;
both are then written anew by `PYTHONPATH=.. python test_golden_losses.py NEW_FOLDER`, here."""

import platform
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.keys import MODELS
from configs.load import validate
from dataloader.attributed import Attributed
from dataloader.cdcb import pack_digits
from dataloader.loader import TrainLoader
from dataloader.unpaired import Unpaired
from solvers import solver_class
from solvers.run.checkpoint import save_checkpoint

GOLDEN = Path(__file__).parent / "golden"
LOSSES, CHECKPOINT, STEPS = GOLDEN / "losses.txt", GOLDEN / "pix2pix-000010-checkpoint.pt", 20
CLOSE = 8  # iterations in which another order of sums changes little
NARROW = {"base_width": 2, "dis_width": 2, "residual_blocks": 1}
SMALL = {"base_width": 2, "shared_dim": 4}
RUNS = {  # name: model, network, training
    "IIAE": ("IIAE", {**SMALL, "weight_init": "kaiming"}, {"inter_kl": "exact"}),
    "IIAE-map": ("IIAE", {**SMALL, "shared_code": "map"}, {"inter_kl": "exact", "kld_scale": "none"}),
    "DRIT": ("DRIT", NARROW, {"d_iter": 2, "ms_adversarial": "first"}),
    "DRIT-adain": ("DRIT", {**NARROW, "concat": 0, "dis_scale": 1}, {"no_ms": 1, "d_iter": 2}),
    "MDMM": ("MDMM", {**NARROW, "dis_border": 0}, {"isDcontent": 1, "d_iter": 2}),
    "GMVAE-DRIT": ("GMVAE-DRIT", {**NARROW, "gaussian_size": 4, "dis_border": 0}, {}),
    "pix2pix": ("pix2pix", {"base_width": 1, "dis_width": 1}, {}),
    "BicycleGAN": ("BicycleGAN", {"base_width": 2, "dis_width": 2}, {}),
    "PairedVAEGAN": ("PairedVAEGAN", {"variant": "skip"}, {}),
    "PairedVAEGAN-report": ("PairedVAEGAN", {"base_width": 4, "dis_width": 2, "variant": "report"}, {}),
    "CycleGAN": ("CycleGAN", NARROW, {"pool_size": 3}),
    "UNIT": ("UNIT", NARROW, {}),
    "StarGAN": ("StarGAN", NARROW, {"n_critic": 3}),
    "VAEGAN": ("VAEGAN", {"base_width": 2, "hidden": 8, "latent_dim": 4}, {}),
}
UNPAIRED, ATTRIBUTED = ("DRIT", "MDMM", "GMVAE-DRIT", "CycleGAN", "UNIT"), ("StarGAN", "VAEGAN")


def solver_of(name: str, folder: Path):
    """A solver on squares of one colour over another, which NumPy draws."""
    model, network, training = RUNS[name]
    side = 64 if name.endswith("report") else 32  # at which its encoder has all three blocks
    top = {"id": "golden", "model": model, "resolution": side, "device": "cpu", "threads": 1}
    paired = model not in (*UNPAIRED, *ATTRIBUTED)
    data = {"dataset": "Digits-CDCB", "path_to_data": str(folder)} if paired else {"dataset": "Folders"}
    sections = {"training": {"batch_size": 2, "max_iters": STEPS, **training}, "network": network}
    config = validate({**top, **data, **sections, "test": {"after_training": False}}, name)

    class Drawn(solver_class(MODELS[model])):
        def open_split(self, split: str) -> Unpaired | Attributed:
            rng = np.random.default_rng(0)
            squares = rng.integers(0, 256, (2, 6, 1, 1, 3), np.uint8) + np.zeros((1, 1, 32, 32, 1), np.uint8)
            squares[:, :, 8:20, 6:22] = 255 - squares[:, :, 8:20, 6:22]
            if model in ATTRIBUTED:  # the channels in which the border is light
                squares = squares.reshape(-1, 32, 32, 3)
                values = (squares[:, 0, 0] > 127).astype(np.uint8)
                return Attributed(squares, values, ("red", "green", "blue"), 32)
            return Unpaired(dict(zip("AB", squares)), 32)

    return solver_class(config)(config) if paired else Drawn(config)


def losses_of(solver, start: int = 0, until: int = STEPS):
    """A line for each iteration: its number, and its losses in nine digits, which tell every float32."""
    loader = TrainLoader(solver.train_set, 2, 0, solver.device, workers=0)
    for iteration, raw in loader.iterate(start, until):
        solver.set_time(iteration)
        losses = solver.train_step(loader.batch(raw), iteration)
        yield " ".join((str(iteration), *(f"{key}={loss.item():.9g}" for key, loss in losses.items())))


def machine() -> str:
    """What the last digits depend on: the release, the instructions, and the processor, by which the
    libraries choose among their kernels."""
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"# torch {torch.__version__.partition('+')[0]}, {instructions}, {processor()}"


def processor() -> str:
    """The name of the CPU's model and its number, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    keys = ("model name", "cpu family", "model", "stepping")
    found = (re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) for key in keys)
    return " ".join(match[1] for match in found if match) or platform.machine()


def read_golden() -> tuple[str, dict[str, list[str]]]:
    head, *lines = LOSSES.read_text().splitlines()
    runs: dict[str, list[str]] = {}
    for line in lines:
        name, _, rest = line.partition(" ")
        runs.setdefault(name, []).append(rest)
    return head, runs


def check(made: list[str], wanted: list[str], where: str) -> None:
    """Equal in every digit on the kind of machine that wrote them, and nearly on others, whose sums have
    another order: by 2 % for as long as that has not grown (measured with the kernels of the plainest CPU:
    0.6 %), then by half."""
    if where == machine():
        assert made == wanted
        return
    for step, lines in enumerate(zip(made, wanted, strict=True)):
        ours, theirs = ([part.split("=") for part in line.split()] for line in lines)
        assert [part[0] for part in ours] == [part[0] for part in theirs]
        values = [[float(part[1]) for part in line[1:]] for line in (ours, theirs)]
        near = 0.02 if step < CLOSE else 0.5
        assert values[0] == pytest.approx(values[1], rel=near, abs=near / 5)


@pytest.mark.parametrize("name", RUNS)
def test_the_first_losses_are_the_golden_ones(name, digits_folder):
    torch.set_num_threads(1)
    where, golden = read_golden()
    check(list(losses_of(solver_of(name, digits_folder))), golden[name], where)


def test_a_checkpoint_of_an_earlier_commit_goes_on_with_the_golden_losses(digits_folder):
    where, golden = read_golden()
    solver = solver_of("pix2pix", digits_folder)
    assert solver.load(CHECKPOINT, "latest") == 10
    check(list(losses_of(solver, 10)), golden["pix2pix"][10:], where)


def test_every_digit_counts_on_the_machine_that_wrote_them_and_most_on_another():
    near, far = ["1 total=2.0001"], ["1 total=2.2"]
    check(["1 total=2"], ["1 total=2"], machine())
    check(["1 total=2"], near, f"{machine()} of another kind")
    for wanted, where in ((near, machine()), (far, f"{machine()} of another kind")):
        with pytest.raises(AssertionError):
            check(["1 total=2"], wanted, where)


def write(folder: Path) -> None:
    torch.set_num_threads(1)
    lines = [machine()]
    for name in RUNS:
        solver = solver_of(name, folder)
        lines += [f"{name} {line}" for line in losses_of(solver, 0, 10)]
        if name == "pix2pix":
            save_checkpoint(GOLDEN, 10, solver.state()).replace(CHECKPOINT)
        lines += [f"{name} {line}" for line in losses_of(solver, 10)]
    LOSSES.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    pack_digits(Path(sys.argv[1]))
    write(Path(sys.argv[1]))
