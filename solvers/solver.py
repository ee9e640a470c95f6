"""The Solver: one experiment's training loop and everything around it. A model's own solver adds `build`
and `train_step`."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from configs.keys.common import Config, Test
from dataloader import open_dataset
from dataloader.dataset import Batch, Dataset, facts_of
from dataloader.held_out import Subset, training_sets
from dataloader.loader import TrainLoader
from dataloader.sizes import spelled
from models.translator import Translator
from solvers.evaluation.classifier import cache_folder
from solvers.evaluation.codes import View
from solvers.evaluation.evaluate import evaluate
from solvers.evaluation.family import check_test
from solvers.evaluation.prior import check_prior
from solvers.evaluation.validation import (
    Validation,
    check_validation,
    load_tested,
    trained_on_it,
)
from solvers.run import distributed
from solvers.run.average import averaged
from solvers.run.best import write_best
from solvers.run.checkpoint import (
    CheckpointError,
    choose_run,
    last_good,
    load_first,
    remove_leftovers,
    remove_older,
    restore,
    save_checkpoint,
    untrusted,
)
from solvers.run.folder import RunError, RunFolder, find_run, new_run
from solvers.run.lock import RunLock, held
from solvers.run.lost import watched
from solvers.run.memory import peak, say_estimate
from solvers.run.precision import pick_precision
from solvers.run.recompute import recompute_stages
from solvers.run.reporter import Reporter
from solvers.run.setup import about_threads, pick_device, prepare_backends, versions
from solvers.run.shortage import told
from solvers.run.signals import StopSignals
from solvers.run.stepping import Stepping
from solvers.run.watch import LossWatch, NonFiniteLoss, first_bad
from solvers.schedules import learning_rate, seed_iteration
from solvers.visualization.page import write_pages
from solvers.visualization.pictures import fixed_batch, save_samples


class Solver(Stepping):
    """Trains and tests one experiment.

    A subclass sets `model` (the Translator), `networks` (all that a checkpoint holds, by name) and
    `optimizers` (by name) in `build`, and returns the losses of one iteration from `train_step`. Whatever
    changes during training is computed from (seed, rank, iteration), so that a resumed run equals one that
    never stopped.
    """

    model: Translator
    least_share = 1  # images that each process needs in an iteration
    only_for_training: tuple[str, ...] = ()  # networks that test mode loads not

    def __init__(self, config: Config):
        """Open the data and build the networks; nothing is written. Raises DataError, RunError,
        ValueError."""
        self.config, self.training = config, config.training
        self.rank, self.world = distributed.rank(), distributed.world()
        self.device = pick_device(config.device, distributed.local_rank())
        self.precision = pick_precision(config.precision, self.device)
        self.fewer_threads = prepare_backends(config)
        distributed.start(self.device)
        self.precision = distributed.from_first(self.precision)
        sets = training_sets(self.open_split, config.data_folder, self.held_out) if config.train else ()
        self.train_set, self.validation_set = sets or (None, None)
        self.test_set = self.open_split("test")
        check_test(config.test, self.test_set)
        check_validation(config, self.validation_set)
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        seed_iteration(config.seed, 0, 0)
        try:
            self.build()
        except ValueError as error:  # sizes that make no network; models know no configs
            raise RunError(f"resolution {spelled(config.size)} and network of the config: {error}") from None
        check_prior(config.test, self.model, self.train_set)
        self.average = averaged(self.model) if config.training.ema else None
        if config.train and config.training.activation_checkpointing:
            self.recompute()
        self.run: RunFolder | None = None
        self.reporter = Reporter(enabled=self.rank == 0)
        for warning in filter(None, (distributed.lonely(), about_threads(self.fewer_threads))):
            self.reporter.say(warning)
        self.validation: Validation | None = None
        self.stop = StopSignals()
        self.doing = "at the start"

    # --- What a model's solver writes

    def build(self) -> None:
        """Set `model`, `networks` (each through `place`) and `optimizers` (through `adam`)."""
        raise NotImplementedError

    def import_checkpoint(self, state: dict[str, Any]) -> dict[str, Any]:
        """A public checkpoint of this model in our form; the default knows none. Raises CheckpointError."""
        raise CheckpointError("it is no checkpoint of this program")

    # --- Training

    def train(self) -> None:
        """Train from the start or from a checkpoint to max_iters, then test. Raises CheckpointError,
        RunError, NonFiniteLoss, Shortage."""
        with told(self.where), watched(self.where):
            self.train_in_run()

    def train_in_run(self) -> None:
        """Train in the folder that the config means, with it locked."""
        t = self.training
        self.check_batch()
        where = self.choose_run()
        assert self.run is not None
        with held(self.run) if self.rank == 0 else nullcontext():
            start = 0 if where is None else self.load(where, t.resume_iters)
            if start > t.max_iters or (start == t.max_iters and t.resume_iters != "latest"):
                raise RunError(
                    f"the checkpoint is of iteration {start}: raise training.max_iters above {t.max_iters}"
                )
            self.train_from(start)

    def check_batch(self) -> None:
        """Whether each process and each part has its share. Raises RunError."""
        t = self.training
        share, left = divmod(t.batch_size, self.world * t.accumulate)
        if left or share < self.least_share:
            among = f"{self.world} processes" + (f" of {t.accumulate} parts" if t.accumulate > 1 else "")
            what = f"{among}, at least {self.least_share} each"
            raise RunError(f"training.batch_size {t.batch_size} does not divide by {what}")

    def recompute(self) -> None:
        """Let the networks' stages be computed again in backward passes. Raises RunError."""
        if not recompute_stages(tuple(self.networks.values())):
            what = f"{self.config.model} has no residual stages without BatchNorm to compute again"
            raise RunError(f"training.activation_checkpointing: {what}")

    def train_from(self, start: int) -> None:
        """Train the networks as they are to max_iters, then test; only test where `start` is that."""
        t, run = self.training, self.run
        assert run is not None and self.train_set is not None
        if self.rank == 0 and self.validation_set is not None:
            self.validation = Validation(self.view(self.validation_set), t)
        if self.rank == 0:
            remove_leftovers(run.models)
            run.create(self.settled, versions())
            run.forget_after(start)
        self.announce("training", self.train_set, start)
        if self.validation is not None:
            self.validation.recall(run)
            self.reporter.say(self.validation.plan)
        ranks = {"rank": self.rank, "world": self.world, "workers": self.config.workers}
        loader = TrainLoader(self.train_set, t.batch_size, self.config.seed, self.device, **ranks)
        say_estimate(self, loader, start + 1)
        fixed = fixed_batch(self.test_set, self.device)
        watch = LossWatch(self.device)
        iteration = start
        newest: dict[str, Tensor] = {}
        with self.stop, self.reporter.training(run, start, t.max_iters):
            for iteration, raw in loader.iterate(start, t.max_iters):
                self.doing = f"in iteration {iteration}"
                self.set_time(iteration)
                losses = self.one_iteration(loader.batch(raw), iteration)
                run.begun = True
                watch.see(iteration, losses)
                newest.update(losses)
                self.reporter.tick()
                stopping = self.stop.agree(lambda number: distributed.largest(number, self.device))
                saving = stopping or iteration == t.max_iters or iteration % t.model_save_freq == 0
                validating = t.validation_freq > 0 and iteration % t.validation_freq == 0
                sampling = iteration % t.sample_freq == 0
                if saving or validating or sampling or iteration % t.print_freq == 0:
                    self.check_finite(watch)
                if iteration % t.print_freq == 0:
                    self.reporter.losses(iteration, newest, learning_rate(t, iteration))
                if self.rank == 0 and sampling:
                    self.save_samples(fixed, iteration)
                if self.rank == 0 and (saving or validating):
                    self.save(run, iteration, saving, validating)
                if stopping:
                    break
        if self.rank == 0:
            write_pages(run, self.config)
        distributed.barrier()
        self.finish(run, iteration)

    def finish(self, run: RunFolder, iteration: int) -> None:
        """After the last iteration: test mode, or the word on how to go on after a signal."""
        self.reporter.say(f"Memory: {peak(self.device)}")
        if self.stop.number is not None:
            what = f"Stopped by {self.stop.name} at iteration {iteration}, which is saved."
            self.reporter.say(f"{what} Go on with: training.resume_iters=latest {run.word}")
        elif self.config.test.after_training:
            choice, best = None, self.validation and self.validation.best
            if distributed.from_first(self.config.test.select == "best" and best is not None):
                latest = self.config.test.model_copy(update={"test_iters": "latest"})
                iteration, choice = load_tested(self.load, run.root, latest, self.reporter.say)
            self.evaluate(run, iteration, choice)
        else:
            self.reporter.say(f"Trained to iteration {iteration}. Pictures: {run.root / 'index.html'}")

    def save(self, run: RunFolder, iteration: int, saving: bool, validating: bool) -> None:
        """Validate where that is due, then write a checkpoint where one is, or this is the new best. So what
        was measured stands in metrics.jsonl before the checkpoint that a resumed run begins at. Only finite
        weights are saved: a finite loss may still have stepped them to infinity."""
        self.doing = f"saving iteration {iteration}"
        if (name := first_bad(self.kept)) is not None:
            self.give_up(iteration, f"weights of network {name}")
        new_best = validating and self.validation.look(iteration, self.reporter)
        if saving or new_best:
            save_checkpoint(run.models, iteration, self.state())
            if new_best:
                write_best(run, self.validation.best)
            best = self.validation.best if self.validation is not None else None
            remove_older(run.models, self.training.keep_checkpoints, best.iteration if best else None)

    def save_samples(self, fixed: Batch, iteration: int) -> None:
        """The grids of this iteration and a page that shows them; training goes on unchanged."""
        self.doing = f"drawing the grids of iteration {iteration}"
        folder, seed = self.run.sample_folder(iteration), self.config.seed
        save_samples(self.tested_model, fixed, folder, seed, self.reporter, iteration, self.test_set)
        write_pages(self.run, self.config)

    def set_time(self, iteration: int) -> None:
        """Make this iteration's learning rates and random draws a function of (seed, rank, iteration)."""
        seed_iteration(self.config.seed, self.rank, iteration)
        rate = learning_rate(self.training, iteration)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group["lr_scale"]
        self.model.train()

    def check_finite(self, watch: LossWatch) -> None:
        if (fault := watch.fault()) is not None:
            self.give_up(fault[0], f"loss {fault[1]}")

    def where(self) -> str:
        """Where a run ended, in words."""
        return self.doing + ("" if self.run is None else f"; {last_good(self.run.models)}")

    def give_up(self, iteration: int, what: str) -> NoReturn:
        assert self.run is not None
        last = last_good(self.run.models, iteration)
        raise NonFiniteLoss(f"{what} became NaN or infinite at iteration {iteration}; {last}")

    # --- Checkpoints

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs beside the iteration, and what of the data builds the networks."""
        return {
            "facts": facts_of(self.test_set),
            "networks": {name: network.state_dict() for name, network in self.kept.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": self.scaler.state_dict(),
            "config": self.settled.model_dump(mode="json"),
        }

    def choose_run(self) -> Path | None:
        """Choose the run folder; the place of the checkpoint that the config asks for, None for none."""
        self.run, where = choose_run(self.config)
        return where

    def load(self, where: Path, which: int | str, training: bool = True) -> int:
        """Load a checkpoint into the networks and, for training, the optimisers; its iteration. With
        "latest", a broken one is passed over with a warning for the one before. Raises CheckpointError."""

        def accept(state: dict[str, Any]) -> dict[str, Any]:
            if "networks" not in state:
                with untrusted():
                    state = self.import_checkpoint(state)
            with untrusted():
                there = state["networks"].keys()
                self.keep_threads(state)
                self.keep_precision(state if training else {})
            needed = {
                name: network
                for name, network in self.kept.items()
                if (training or name not in self.only_for_training) and (name != "ema" or name in there)
            }
            restore(state, needed, self.optimizers if training else {}, self.scaler)
            return state

        path, state = load_first(where, which, accept, self.reporter.say)
        if self.average is not None and "ema" not in state["networks"]:
            self.average.load_state_dict(self.model.state_dict())
            self.reporter.say(f"{path} has no averaged weights; they begin as its own")
        if training and isinstance(self.validation_set, Subset) and trained_on_it(state, self.training):
            self.reporter.say(f"Warning: {path} was trained on images that are now held out")
        return state["iters"]

    # --- Testing

    def test(self) -> None:
        """Test the checkpoint that `test.test_path` and `test.test_iters` name. Raises CheckpointError,
        RunError, Shortage."""
        with told(self.where), watched(self.where):
            self.test_in_run(self.config.test)

    def test_in_run(self, test: Test) -> None:
        """Test what this section of the config names."""
        found = RunFolder(Path(test.test_path)) if test.test_path else find_run(self.config)
        if found is None:
            raise CheckpointError(
                f"no run of {self.config.id} in {self.config.output_dir}; "
                "set test.test_path to a run folder or a .pt file"
            )
        iteration, choice = load_tested(self.load, found.root, test, self.reporter.say)
        if self.rank:
            return self.evaluate(found, iteration, choice)
        if not found.config.exists():  # a bare checkpoint or a foreign run: a folder of our own
            found = new_run(self.config)
        with RunLock(found.root):
            found.check_results() if found.config.exists() else found.create(self.config, versions())
            self.announce("testing", self.test_set, iteration)
            self.evaluate(found, iteration, choice)

    def evaluate(self, run: RunFolder, iteration: int, choice: dict[str, Any] | None = None) -> None:
        self.doing = "in test mode"
        distributed.make_same(self.kept.values())
        view = replace(self.view(self.test_set), share=(self.rank, self.world))
        metrics = evaluate(view, run, iteration, choice)
        if self.rank == 0:
            write_pages(run, self.config)
            self.reporter.results(metrics, run)

    def view(self, dataset: Dataset) -> View:
        """What test mode looks at."""
        config = self.config
        return View(
            self.tested_model,
            dataset,
            config.test,
            config.seed,
            self.device,
            self.training_split,
            self.reporter.say,
            cache_folder(Path(config.data_folder)),
        )

    # --- Small things

    @property
    def tested_model(self) -> Translator:
        """The model that samples and tests are of: of averaged weights where training.ema asks for them."""
        return self.model if self.average is None else self.average

    @property
    def kept(self) -> dict[str, nn.Module]:
        """The networks of a checkpoint."""
        return self.networks | ({} if self.average is None else {"ema": self.average})

    def open_split(self, split: str) -> Dataset:
        """One split of the config's data; rank 0 opens it first, since a set may make itself on first use."""
        for turn in range(min(2, self.world)):
            if (self.rank == 0) == (turn == 0):
                opened = self.open_alone(split)
            distributed.barrier()
        return opened

    def open_alone(self, split: str) -> Dataset:
        """One split, without waiting for other processes."""
        config, data = self.config, self.config.data
        return open_dataset(data.opener, config.data_folder, split, config.size, **data.options)

    def training_split(self) -> Dataset:
        """The images that training sees, for test mode. Raises DataError."""
        if self.train_set is not None:
            return self.train_set
        return training_sets(self.open_alone, self.config.data_folder, self.held_out)[0]

    @property
    def held_out(self) -> float:
        """The share of the training split that validation would take."""
        return self.training.validation_share if self.training.validation_freq else 0.0

    def announce(self, verb: str, data: Dataset, iteration: int) -> None:
        count = sum(p.numel() for network in self.networks.values() for p in network.parameters())
        size = f"{len(data):,} {'pairs' if data.paired else 'images'} at {spelled(self.config.size)}"
        dtype = self.precision if verb == "training" else torch.float32
        how = f"{self.device}, {str(dtype).removeprefix('torch.')}, {count:,} parameters"
        since = f", from iteration {iteration}" if iteration else ""
        self.reporter.say(f"{self.config.model} {verb} on {self.config.dataset}: {size}; {how}{since}")
