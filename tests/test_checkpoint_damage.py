"""Any file at all in the place of a checkpoint is refused in one line, and `latest` goes back past it."""

import copy
import io
import os
import pickle
import random
import zipfile

import pytest
import torch
from conftest import FUZZ, ROOT, restored, same_tensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_checkpoint import fresh

from configs.load import validate
from solvers import make_solver
from solvers.run.checkpoint import CheckpointError, Misfit, load_checkpoint, save_checkpoint


@pytest.fixture
def solver(experiment):
    """A solver with Adam's moments, of a run that has checkpoints at 5 and 10."""
    solver = make_solver(validate(experiment, "test"))
    solver.train()
    return solver


def a_folder(path):
    path.mkdir()


def a_pipe(path):
    os.mkfifo(path)


def a_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))


def forged(content):
    return lambda path: path.write_bytes(pickle.dumps(content))


class Deep:
    """Pickles that ask for anything."""

    def __init__(self, *wanted):
        self.wanted = wanted

    def __reduce__(self):
        return self.wanted


FILES = {
    "a text": lambda path: path.write_bytes((ROOT / "README.md").read_bytes()),
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(20_000)),
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a bomb": a_bomb,
    "nothing": lambda path: path.symlink_to("missing"),
    "a loop": lambda path: path.symlink_to(path.name),
    "a call": forged(Deep(os.system, ("echo ran",))),
    "a class": forged({"iters": Deep(os.system, ("echo ran",))}),
    "half a pickle": lambda path: path.write_bytes(pickle.dumps({"iters": 3})[:-2]),
    "a list": lambda path: torch.save([1, 2], path),
    "an iteration below zero": lambda path: torch.save({"iters": -1}, path),
    "an iteration that is none": lambda path: torch.save({"iters": True}, path),
    "an iteration of text": lambda path: torch.save({"iters": "10"}, path),
    "a format of tensors": lambda path: torch.save({"iters": 1, "format": torch.ones(3)}, path),
}


@pytest.mark.parametrize("kind", FILES)
def test_any_file_is_refused_in_one_line(tmp_path, kind, capfd):
    path = tmp_path / "000010-checkpoint.pt"
    FILES[kind](path)
    with pytest.raises(CheckpointError, match=r"000010-checkpoint\.pt") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert "ran" not in capfd.readouterr().out


def test_bytes_changed_anywhere_give_a_checkpoint_or_one_error(tmp_path):
    path = save_checkpoint(tmp_path, 10, {"networks": {"a": {"w": torch.arange(50.0)}}, "optimizers": {}})
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(150 * FUZZ):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 3, 30))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
        try:
            state = load_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
        else:  # a byte of padding
            assert state["iters"] == 10 and same_tensors(state["networks"]["a"]["w"], torch.arange(50.0))


def places(value, here=()):
    """Where in a nested state something stands."""
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*here, key))


def put(state, place, value):
    for key in place[:-1]:
        state = state[key]
    state[place[-1]] = value


WRONG = (
    None,
    -1,
    "text",
    [],
    {},
    [None],
    {"a": None},
    {1: 2},
    torch.ones(0),
    torch.ones(7),
    torch.full((), torch.nan),
)


def test_wrong_kinds_anywhere_inside_are_one_error_and_latest_goes_back(solver, experiment, capsys):
    good = load_checkpoint(solver.run.models / "000010-checkpoint.pt")
    again = fresh(experiment, resume_iters="latest", restored_model_path=str(solver.run.root))
    draw = random.Random(1)
    where = [place for place in places(good) if place and place[0] in ("iters", "networks", "optimizers")]
    refused = 0
    for place in [*[p for p in where if len(p) < 3], *draw.sample(where, 16)]:
        state = copy.deepcopy(good)
        put(state, place, draw.choice(WRONG))
        torch.save(state, solver.run.models / "000010-checkpoint.pt")
        capsys.readouterr()
        try:
            iteration = restored(again)
        except Misfit as error:  # of another model, as far as one can see
            assert "\n" not in str(error)
        else:
            warned = "trying the one before" in capsys.readouterr().out
            assert (iteration == 5) == warned
            refused += warned
    assert refused > 8


def repacked(whole: bytes, name: str, change) -> bytes:
    """The archive with one file of another content, and sums that are right for it."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, change(content) if entry.endswith(name) else content)
    return made.getvalue()


@st.composite
def damages(draw, whole: bytes) -> tuple[bytes, bool]:
    """The bytes of a damaged checkpoint, and whether its own sums show it."""

    def flipped(content: bytes) -> bytes:
        made = bytearray(content)
        for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
            made[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(made)

    kind = draw(st.sampled_from(("bits", "cut", "hole", "pickle", "kinds")))
    if kind == "bits":
        return flipped(whole), True
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole) - 1))], True
    if kind == "hole":
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(whole) - 1)] * 2)))
        return whole[:first] + whole[last + 1 :], True
    if kind == "pickle":
        return repacked(whole, "data.pkl", flipped), False
    state, made = torch.load(io.BytesIO(whole), weights_only=True), io.BytesIO()
    place = draw(st.sampled_from([place for place in places(state) if place]))
    put(state, place, draw(st.sampled_from(WRONG)))
    torch.save(state, made)
    return made.getvalue(), False


def test_a_checkpoint_damaged_in_any_way_is_right_or_one_error(solver, tmp_path):
    """Into a whole solver. What its sums cannot show may load, where no part is what it cannot be."""
    whole = (solver.run.models / "000010-checkpoint.pt").read_bytes()
    path, wanted, outcomes = tmp_path / "000010-checkpoint.pt", copy.deepcopy(solver.state()), []

    @settings(
        max_examples=30 * FUZZ, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(damages(whole))
    def storm(damaged):
        content, shown = damaged
        path.write_bytes(content)
        try:
            assert solver.load(path, 10) == 10
            assert not shown or same_tensors(solver.state(), wanted)
            outcomes.append("right")
        except CheckpointError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            outcomes.append("refused")

    storm()
    assert outcomes.count("refused") > 10


@pytest.mark.parametrize("section", ["networks", "optimizers"])
def test_weights_and_moments_that_are_nan_are_refused(solver, experiment, section, capsys):
    path = solver.run.models / "000010-checkpoint.pt"
    state = load_checkpoint(path)
    if section == "networks":
        next(iter(state["networks"]["iiae"].values())).view(-1)[0] = torch.nan
    else:
        state["optimizers"]["dec"]["state"][0]["exp_avg"].view(-1)[0] = torch.inf
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"000010-checkpoint.pt: .* NaN or infinite"):
        restored(fresh(experiment, resume_iters=10, restored_model_path=str(solver.run.root)))
    latest = fresh(experiment, resume_iters="latest", restored_model_path=str(solver.run.root))
    assert restored(latest) == 5 and "NaN or infinite; trying the one before" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["a step of three", "a lost moment", "no table", "a tensor"])
def test_moments_that_would_fail_in_the_next_step_are_refused_before(solver, tmp_path, change, recwarn):
    path = solver.run.models / "000010-checkpoint.pt"
    state = torch.load(path, weights_only=True)
    name, saved = next(iter(state["optimizers"].items()))
    first = next(iter(saved["state"].values()))
    if change == "a step of three":
        first["step"] = torch.ones(3)
    elif change == "a lost moment":
        del first["exp_avg_sq"]
    elif change == "no table":
        saved["state"] = torch.ones(7)
    else:
        state["optimizers"][name] = torch.ones(7)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="optimiser"):
        solver.load(path, 10)
    assert not list(recwarn)


def test_a_checkpoint_of_quite_another_network_is_refused_in_a_short_line(solver):
    path = solver.run.models / "000010-checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["networks"] = {name: {} for name in state["networks"]}
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="Missing key") as error:
        solver.load(path, 10)
    assert len(str(error.value)) < 400
