"""Validation while a run trains: data that training never sees, and the best checkpoint, also of runs that
were killed."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from conftest import run_program, same_tensors, write_config
from fakes import digits_m, three_domains
from test_resume import start_and_stop

import main
from configs.load import validate
from dataloader import open_dataset
from dataloader.cars import Cars
from dataloader.cdcb import CDCB
from dataloader.colour_modes import open_colour_modes
from dataloader.folders import open_folders
from dataloader.held_out import Subset, hold_out, training_sets
from dataloader.packed import DataError
from solvers import make_solver
from solvers.evaluation import evaluate as evaluating
from solvers.evaluation import validation
from solvers.evaluation.evaluate import measure
from solvers.evaluation.validation import choose_by
from solvers.run.best import Best, read_best
from solvers.run.checkpoint import checkpoints_in, load_checkpoint
from solvers.run.folder import RunError, RunFolder

BY = "reconstruction/l1"  # it moves from the first iterations on


@pytest.fixture
def validated(experiment, tmp_path):
    """Twelve iterations that look at reconstructions of held-out digits every three."""
    training = {"max_iters": 12, "validation_freq": 3, "validate": ["reconstruction"], "model_save_freq": 5}
    return {
        **experiment,
        "run_dir": str(tmp_path / "run"),
        "training": experiment["training"] | training,
    }


def trained(config: dict, folder, **training) -> RunFolder:
    run = folder / "run"
    values = {**config, "run_dir": str(run), "training": config["training"] | training}
    make_solver(validate(values, "test")).train()
    return RunFolder(run)


def refused(config: dict, folder, capsys, *words: str) -> str:
    assert main.main([str(write_config(config, folder / "c.json")), *words]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "Traceback" not in line
    return line


def small_cars(cars: int = 10) -> Cars:
    car = np.repeat(np.arange(cars), 2)
    views = np.zeros((len(car), 24, 8, 8, 3), np.uint8)
    return Cars({"images": views, "car": car, "elevation": np.tile([0, 1], cars)}, 32)


# --- What is held out


def sources(dataset, stream: int = 0) -> set[bytes]:
    """The grey digits that a set's items show, told by their pixels."""
    name = {CDCB: "digits"}.get(type(dataset.whole), f"images_{stream}")
    index = [np.zeros(1, int)] * len(dataset.streams)
    index[stream] = np.arange(dataset.streams[stream])
    return {picture.numpy().tobytes() for picture in dataset.read(*index)[name]}


def test_a_digit_in_several_colours_is_on_one_side(digits_folder, tmp_path):
    digits = open_dataset("dataloader.cdcb:open_digits", digits_folder, "train", 32)
    rest, share = hold_out(digits, 0.1)
    assert not sources(rest) & sources(share)
    assert len(share) == len(sources(share)) == 143 and len(rest) > 0.89 * len(digits)
    modes = open_colour_modes(tmp_path / "modes", "train", 32)
    rest, share = hold_out(modes, 0.1)
    for stream in (0, 1):
        assert not sources(rest, stream) & sources(share, stream)
        assert share.streams[stream] == pytest.approx(0.1 * modes.streams[stream], abs=4)
    assert rest.streams[1] + share.streams[1] == modes.streams[1]


def test_a_car_is_on_one_side_and_a_digit_of_mnist_m_in_both_domains_too():
    cars = small_cars()
    rest, share = hold_out(cars, 0.25)
    seen, held = (set(cars.car[cars.rows[part.items[0]]].tolist()) for part in (rest, share))
    assert len(held) == 2 and held | seen == set(range(10)) and not held & seen
    rest, share = hold_out(digits_m(0, 100), 0.2)
    assert share.items[0].tolist() == share.items[1].tolist() and share.streams == (20, 20)


def test_the_choice_is_of_the_data_alone_and_has_at_most_two_thousand_items():
    first, again = (hold_out(three_domains(), 0.2)[1].items for _ in range(2))
    assert all(map(np.array_equal, first, again)) and list(map(len, first)) == [2, 2, 2]
    many = CDCB({"images": np.zeros((30_000, 2, 1, 1, 3), np.uint8)}, 32)
    rest, share = hold_out(many, 0.5)
    assert share.streams == (2000,) and rest.streams == (28_000,)
    with pytest.raises(DataError, match="so few training images"):
        hold_out(small_cars(1), 0.1)


def test_a_subset_gives_the_items_of_the_whole(digits_folder):
    whole = open_dataset("dataloader.cdcb:open_digits", digits_folder, "train", 32)
    part = Subset(whole, (np.array([7, 3, 11]),))
    one, other = part.at(np.array([2, 0])), whole.at(np.array([11, 7]))
    assert torch.equal(one.images[0], other.images[0])
    assert torch.equal(one.labels[1]["digit"], other.labels[1]["digit"])


# --- Training


def test_what_is_held_out_is_never_trained_on(validated, tmp_path, monkeypatch):
    validated["training"] |= {"max_iters": 84, "batch_size": 250, "validation_freq": 42, "sample_freq": 84}
    read, training = {True: set(), False: set()}, []
    items_of = CDCB.read

    def recorded(self, *indices):
        read[bool(training)] |= {(len(self), int(number)) for number in indices[0]}
        return items_of(self, *indices)

    solver = make_solver(validate(validated, "test"))
    monkeypatch.setattr(CDCB, "read", recorded)
    original = solver.train_set.read

    def marked(*indices):
        training.append(True)
        try:
            return original(*indices)
        finally:
            training.pop()

    solver.train_set.read = marked
    solver.config.workers = 0  # reads where it trains
    solver.train_step = lambda batch, iteration: {"total": torch.zeros(())}
    solver.train()
    whole = len(solver.train_set.whole)
    trained_on = {number for length, number in read[True] if length == whole}
    looked_at = {number for length, number in read[False] if length == whole}
    assert trained_on == set(solver.train_set.items[0].tolist())  # two epochs, so all the rest
    assert looked_at == set(solver.validation_set.items[0].tolist()) and not trained_on & looked_at
    assert len(solver.training_split()) == len(solver.train_set)
    tested = make_solver(validate({**validated, "train": 0}, "test"))
    assert np.array_equal(tested.training_split().items[0], solver.train_set.items[0])


def test_a_split_val_is_used_where_there_is_one_beside_the_test_split(validated, digits_folder, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(digits_folder, folder)
    shutil.copytree(folder / "test", folder / "val")
    solver = make_solver(validate({**validated, "path_to_data": str(folder)}, "test"))
    assert len(solver.train_set) == 1437 * 8 and len(solver.validation_set) == 360
    assert type(solver.train_set) is type(solver.validation_set) is CDCB


def test_folders_whose_val_is_their_test_split_hold_a_share_out(mixed_folder):
    def opened(split):
        return open_folders(mixed_folder, split, 32)

    for letter in "AB":
        (mixed_folder / f"test{letter}").rename(mixed_folder / f"val{letter}")
    rest, share = training_sets(opened, mixed_folder, 0.1)
    assert (rest.streams, share.streams) == ((2, 2), (2, 2)) and opened("test").streams == (4, 4)
    for letter in "AB":
        shutil.copytree(mixed_folder / f"val{letter}", mixed_folder / f"test{letter}")
    rest, share = training_sets(opened, mixed_folder, 0.1)
    assert rest.streams == share.streams == (4, 4)


def test_measuring_changes_nothing_else_in_training(validated, tmp_path):
    """Runs that validate often and at the end only: the same weights and losses."""
    often, once = (trained(validated, tmp_path / str(n), validation_freq=n) for n in (2, 12))
    states = [load_checkpoint(run.models / "000012-checkpoint.pt") for run in (often, once)]
    assert same_tensors(*[{key: s[key] for key in ("networks", "optimizers")} for s in states])
    losses = [[row["total"] for row in run.read_metrics() if "total" in row] for run in (often, once)]
    assert losses[0] == losses[1] and len(losses[0]) == 2


def checkpoint_tested(run: RunFolder) -> dict:
    return json.loads((run.results / "metrics.json").read_text())["protocol"]["checkpoint"]


def scripted(monkeypatch, values: list[float]) -> None:
    """Give validation these numbers, one after another, after those from before training."""
    left = iter([0.0, *values])

    def instead(view):
        numbers, protocol = measure(view)
        return dict.fromkeys(numbers, next(left)), protocol

    monkeypatch.setattr(validation, "measure", instead)


@pytest.mark.parametrize("keep, kept", [(0, [12, 10, 6, 5, 3]), (1, [12, 6])])
def test_the_first_best_is_saved_kept_and_tested(validated, tmp_path, monkeypatch, capsys, keep, kept):
    validated["training"] |= {"keep_checkpoints": keep}
    validated["test"] |= {"select": "best", "after_training": True, "metrics": ["reconstruction"]}
    solver = make_solver(validate(validated, "test"))
    scripted(monkeypatch, [0.5, 0.25, 0.25, float("nan")])
    monkeypatch.setattr(evaluating, "save_pictures", lambda *_: None)  # they take long
    solver.train()
    run = RunFolder(tmp_path / "run")
    assert [iteration for iteration, _ in checkpoints_in(run.models)] == kept
    assert read_best(run.root) == read_best(run.models) == Best(6, BY, 0.25)
    metrics = json.loads((run.results / "metrics.json").read_text())
    chosen = {"iteration": 6, "chosen": f"best by {BY} on validation", "value": 0.25}
    assert metrics["iteration"] == 6 and metrics["protocol"]["checkpoint"] == chosen
    assert same_tensors(
        solver.model.state_dict(), load_checkpoint(run.models / "000006-checkpoint.pt")["networks"]["iiae"]
    )
    assert "validation: reconstruction/l1/x 0.25" in capsys.readouterr().out
    page = (run.root / "index.html").read_text()
    assert "<h2>Validation</h2>" in page and f"best by {BY} on validation: 0.25" in page
    assert "that of iteration 6: 0.25" in page and page.index("<h2>Losses") < page.index("<h2>Validation")

    again = write_config(validated, tmp_path / "c.json")
    assert main.main([str(again), "train=0"]) == 0
    assert json.loads((run.results / "metrics.json").read_text()) == metrics
    for word, chosen in (("test.select=last", "last"), ("test.test_iters=12", "as the config says")):
        assert main.main([str(again), "train=0", word]) == 0
        assert checkpoint_tested(run) == {"iteration": 12, "chosen": chosen}
    (run.models / "000006-checkpoint.pt").write_bytes(b"broken")
    capsys.readouterr()
    assert main.main([str(again), "train=0"]) == 0
    assert "Warning: the best checkpoint cannot be tested, the latest is" in capsys.readouterr().out
    assert checkpoint_tested(run) == {"iteration": 12, "chosen": "last"}


# --- Runs that were killed


@pytest.fixture(scope="module")
def straight(digits_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    config = long_validated(digits_folder, folder / "run")
    assert run_program(write_config(config, folder / "c.json")).returncode == 0
    return RunFolder(folder / "run")


def long_validated(digits_folder, run_dir) -> dict:
    return {
        "id": "long",
        "model": "IIAE",
        "dataset": "Digits-CDCB",
        "path_to_data": str(digits_folder),
        "resolution": 32,
        "run_dir": str(run_dir),
        "device": "cpu",
        "threads": 1,
        "training": {
            "max_iters": 40,
            "batch_size": 60,
            "print_freq": 5,
            "sample_freq": 100,
            "model_save_freq": 10,
            "keep_checkpoints": 2,
            "validation_freq": 4,
            "lr": 2e-3,
            "validate": ["retrieval", "reconstruction"],
        },
        "test": {"after_training": False},
        "network": {"base_width": 4, "shared_dim": 16},
    }


def rows_of(run: RunFolder) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "iterations_per_second"} for row in run.read_metrics()]


def test_a_run_that_was_killed_and_resumed_chooses_the_same_best_checkpoint(
    straight, digits_folder, tmp_path
):
    run = RunFolder(tmp_path / "run")
    path = write_config(long_validated(digits_folder, run.root), tmp_path / "c.json")
    start_and_stop(path, run.root, signal.SIGKILL, after=20)
    assert not (run.models / "000040-checkpoint.pt").exists(), "it was over before the signal came"
    assert run_program(path, "training.resume_iters=latest").returncode == 0
    assert rows_of(run) == rows_of(straight)
    assert read_best(run.root) == read_best(straight.root)
    kept = [[number for number, _ in checkpoints_in(one.models)] for one in (run, straight)]
    assert kept[0] == kept[1] and read_best(run.root).iteration in kept[0]
    for number in kept[0]:
        a, b = (load_checkpoint(one.models / f"{number:06d}-checkpoint.pt") for one in (run, straight))
        assert same_tensors(*[{key: s[key] for key in ("networks", "optimizers", "iters")} for s in (a, b)])


def test_the_best_is_what_the_rows_say(straight):
    shared = "validation/retrieval/shared/{}_to_{}"
    rows = [row for row in straight.read_metrics() if shared.format("x", "y") in row]
    assert [row["iteration"] for row in rows] == list(range(4, 41, 4))
    means = [(row[shared.format("x", "y")] + row[shared.format("y", "x")]) / 2 for row in rows]
    best = read_best(straight.root)
    assert (best.value, best.iteration) == (max(means), 4 * (1 + int(np.argmax(means))))


def test_a_run_resumed_before_its_best_forgets_it(validated, tmp_path, monkeypatch):
    scripted(monkeypatch, [0.5, 0.3, 0.2, 0.4])
    run = trained(validated, tmp_path)
    assert read_best(run.root) == Best(9, BY, 0.2)
    scripted(monkeypatch, [0.6, 0.6, 0.6])
    trained(validated, tmp_path, resume_iters=5)
    assert read_best(run.root) == Best(3, BY, 0.5)


def test_training_on_what_is_held_out_now_is_warned_of(validated, tmp_path, capsys):
    trained(validated, tmp_path, validation_freq=0)
    for words, warns in (({}, True), ({"validation_freq": 0}, False)):
        where = {"resume_iters": 10, "restored_model_path": str(tmp_path / "run")}
        capsys.readouterr()
        trained(validated, tmp_path / str(warns), **where, **words)
        assert ("was trained on images that are now held out" in capsys.readouterr().out) is warns


# --- What is refused


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (['training.validate=["retrieva"]'], "training.validate: got 'retrieva'; allowed: retrieval, "),
        (["training.best_by=retrieval/shred"], 'training.best_by: got "retrieval/shred"; allowed: reconstr'),
        (["training.validate=[]"], "training.best_by: got null; allowed: none, since training.validate"),
        (["training.validation_freq=20"], "training.validation_freq: got 20; allowed: at most max_iters, 12"),
        (["training.validation_freq=0", "test.select=best"], 'test.select: got "best" without validation'),
        (["test.select=first"], 'test.select: got "first"; allowed: "last" or "best"'),
        (["training.validation_share=0"], "training.validation_share: got 0; allowed: above 0"),
        (["training.validat=[]"], "did you mean training.validate?"),
    ],
)
def test_wrong_keys_are_refused_before_training_in_one_line(validated, tmp_path, capsys, words, part):
    assert part in refused(validated, tmp_path, capsys, *words)
    assert not (tmp_path / "run").exists()


def test_the_best_of_a_run_that_never_validated_is_refused(validated, tmp_path, capsys):
    trained(validated, tmp_path, validation_freq=0)
    line = refused(validated, tmp_path, capsys, "train=0", "test.select=best")
    assert "it was trained without validation; use test.select=last" in line


def test_what_names_the_best_is_a_number_or_several_of_one_direction():
    names = ("retrieval/shared/a", "retrieval/shared/b", "retrieval/exclusive/a", "recall/l1", "count")
    better = {"retrieval/shared": "higher", "retrieval/exclusive": "lower", "recall": "lower", "count": ""}
    meanings = {name: {"better": way} for name, way in better.items()}
    numbers = dict.fromkeys(names, 0.0)
    assert choose_by(None, numbers, meanings) == ("retrieval/shared", list(names[:2]), True)
    assert choose_by("recall/l1", numbers, meanings) == ("recall/l1", ["recall/l1"], False)
    assert choose_by("retrieval/exclusive", numbers, meanings)[2] is False
    for wrong in ("retrieval", "count"):
        with pytest.raises(RunError, match="no one way"):
            choose_by(wrong, numbers, meanings)
