"""What a person sees while a run goes on: a progress bar or plain lines, TensorBoard, metrics.jsonl and the
results."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import numpy as np
from torch import Tensor
from tqdm import tqdm

from solvers.run.folder import RunFolder


def printable(text: str, encoding: str | None) -> str:
    """The text with what this encoding has no character for written as its number."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def quiet_about_files(arguments: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread raises what it cannot write where it is next asked to write, too."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


class Reporter:
    """Speaks on rank 0 only; everything else in the program is silent."""

    def __init__(self, enabled: bool = True):
        self.enabled = enabled
        self.bar: tqdm | None = None
        self.writer = None
        self.run: RunFolder | None = None

    def say(self, line: str) -> None:
        """One line for the person, above the bar where there is one. Where nobody reads any more, or there is
        no room for what is said, the run goes on in silence."""
        if not self.enabled:
            return
        try:
            tqdm.write(printable(line, sys.stdout.encoding), file=sys.stdout)
            sys.stdout.flush()
        except OSError:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())

    @contextmanager
    def training(self, run: RunFolder, start: int, stop: int) -> Iterator[None]:
        """Open the bar and TensorBoard for iterations start + 1 .. stop."""
        if not self.enabled:
            yield
            return
        from torch.utils.tensorboard import SummaryWriter

        self.say(f"Run folder: {run.root}")
        self.run, self.stop = run, stop
        self.began, self.start = monotonic(), start
        self.done = start
        self.writer = SummaryWriter(str(run.logs), purge_step=start + 1 if start else None)
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=stop, initial=start, unit="it", dynamic_ncols=True, disable=not terminal, smoothing=0.05
        )
        hook, threading.excepthook = threading.excepthook, quiet_about_files
        try:
            yield
        finally:
            self.bar.close()
            self.bar = None
            self.writer.close()
            threading.excepthook = hook

    def tick(self) -> None:
        if self.bar is not None:
            self.done += 1
            self.bar.update()

    def losses(self, iteration: int, losses: dict[str, Tensor], rate: float) -> None:
        """One row of losses: the only place where they come to the host."""
        if not self.enabled:
            return
        assert self.bar is not None and self.writer is not None and self.run is not None
        values = {name: loss.item() for name, loss in losses.items()}
        speed = (self.done - self.start) / max(monotonic() - self.began, 1e-9)
        self.run.append_metrics(
            {"iteration": iteration, **values, "lr": rate, "iterations_per_second": round(speed, 3)}
        )
        for name, value in values.items():
            self.writer.add_scalar(f"loss/{name}", value, iteration)
        self.writer.add_scalar("lr", rate, iteration)
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self.bar.disable:
            left = tqdm.format_interval((self.stop - iteration) / speed)
            self.say(f"{iteration:>{len(str(self.stop))}}/{self.stop}  {speed:.1f} it/s  {left} left  {text}")
        else:
            self.bar.set_postfix_str(text, refresh=False)

    def validation(self, iteration: int, numbers: dict[str, float], best: str) -> None:
        """One row of numbers, named validation/..., and one line; `best` is what the line says of them."""
        assert self.writer is not None and self.run is not None
        self.run.append_metrics({"iteration": iteration, **numbers})
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, iteration)
        text = "  ".join(f"{name.partition('/')[2]} {value:.4g}" for name, value in numbers.items())
        self.say(f"{iteration:>{len(str(self.stop))}}/{self.stop}  validation: {text}  ({best})")

    def picture(self, name: str, picture: np.ndarray, iteration: int) -> None:
        """A grid, uint8 [H, W, 3], for TensorBoard."""
        if self.writer is not None:
            self.writer.add_image(name, picture, iteration, dataformats="HWC")

    def results(self, metrics: dict[str, float], run: RunFolder) -> None:
        """The numbers of test mode, aligned, and where the pictures are."""
        width = max(map(len, metrics), default=0)
        for name, value in metrics.items():
            self.say(f"  {name:<{width}}  {value:.6g}")
        self.say(f"Numbers:  {run.results / 'metrics.json'}")
        self.say(f"Pictures: {run.root / 'index.html'}")
