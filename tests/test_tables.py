"""`benchmarks/tables.py`: a table goes on after a kill, its numbers are those of its runs, and its budget is
kept."""

import json
import multiprocessing
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, refusal, run, tiny_experiment, write_config
from PIL import Image

from benchmarks import tables, tables_budget, tables_runs
from benchmarks.tables_declared import TABLES, Column, Published, Row, Table
from configs.keys import MODELS
from configs.load import load_config
from dataloader.packed import DataError
from solvers.run.folder import RunFolder

VALUES = {"wide": (0.5, 0.75, 0.55), "narrow": (0.9, 0.9, 0.3), "again": (0.1, 0.2, 0.3)}  # by seed
COLUMNS = (Column("recall", ("retrieval/shared/x_to_y", "retrieval/shared/y_to_x"), 3, True),)
KID = Column("KID", ("kid/none | kid/x_to_y",))
PAPER = Published("Paper", {"recall": "0.997"}, "a paper", "256 x 256")


@pytest.fixture
def toy(digits_folder, tmp_path, monkeypatch):
    """The options of a table of two rows, whose config takes a second or two."""
    values = tiny_experiment(digits_folder, tmp_path)
    values["test"] |= {"after_training": True, "metrics": ["retrieval"]}
    file = write_config(values, tmp_path / "tiny.json")
    config = os.path.relpath(file.with_suffix(""), ROOT / "configs")
    rows = (
        Row("Wide | one", config, ("network.base_width=8",), "wide"),
        Row("Narrow", config, name="narrow"),
        Row("Absent", why_not="it cannot be"),
    )
    table = Table("Which is better?", rows, {"Retrieval": COLUMNS}, (PAPER,), ("Mind this.",))
    monkeypatch.setitem(TABLES, "toy", table)
    return ["toy", "--output", tmp_path / "out", "--pages", tmp_path / "pages"]


@pytest.fixture
def fake(monkeypatch):
    """In place of main.py: runs that are finished at once; the names of their folders as they come."""
    came: list[str] = []

    def main_py(words, log):
        config = load_config(ROOT / words[0], words[1:])
        folder = RunFolder(Path(config.run_dir))
        came.append(folder.root.name)
        main_py.words = words
        row, seed = folder.root.name.rsplit("_s", 1)
        if (row, seed) in main_py.failing:
            log.write(b"warming up\nerror: loss became NaN\nbye\n")
            return 1
        folder.create(config, {})
        value = VALUES[row][int(seed)]
        found = {"retrieval/shared/x_to_y": value, "retrieval/shared/y_to_x": value / 2, "kid/x_to_y": value}
        protocol = {
            "split": "test",
            "images": {"x": 10},
            "families": main_py.measured.get(row),
        }
        protocol |= {"checkpoint": {"chosen": "last" if config.train else "by its file"}}
        protocol["numbers"] = {"retrieval/": {"words": "r", "chance": 0.1, "better": "higher"}}
        protocol["numbers"]["kid/"] = {"words": "k", "better": "lower"}
        found |= {"iteration": config.training.max_iters, "protocol": protocol}
        (folder.results / "metrics.json").write_text(json.dumps(found))
        return 0

    main_py.failing, main_py.measured, main_py.came = set(), {}, came
    monkeypatch.setattr(tables_runs, "main_py", main_py)
    return main_py


def made(options, *more) -> str:
    """Run the table; the page."""
    assert run(tables.main, [str(word) for word in (*options, *more)]) == 0
    return (options[4] / "toy.md").read_text()


def cells(text: str, label: str) -> list[str]:
    """The cells beside the first row of this label."""
    (line, *_) = (line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.removeprefix(f"| {label} |").rstrip("|").split(" | ")]


# --- What the page says


def test_values_are_means_and_spreads_over_seeds(toy, fake):
    text = made(toy, "--seeds", "3")
    for label, row, bold in ((r"Wide \| one", "wide", ""), ("Narrow", "narrow", "**")):
        wanted = []
        for share in (1, 0.5):
            values = share * np.array(VALUES[row])
            wanted.append(f"{bold}{values.mean():.3f}{bold} ± {values.std(ddof=1):.3f}")
        assert cells(text, label) == [", ".join(wanted)]
    assert fake.came[:2] == ["wide_s0", "narrow_s0"]  # all rows' first seeds come first


def test_the_page_says_what_was_done_and_what_is_not_comparable(
    toy, fake, digits_folder, tmp_path, monkeypatch
):
    monkeypatch.setitem(TABLES["toy"].parts, "Retrieval", (*COLUMNS, KID))
    other = {"realism": {"styles": "none", "extractors": {"a": 1}}, "retrieval": {"pairs": 7}}
    fake.measured["narrow"] = other | {"probes": {}}  # the first has none, nor one style, nor extractor b
    fake.measured["wide"] = {"realism": {"styles": "random", "extractors": {"a": 1, "b": 2}}}
    fake.measured["wide"]["retrieval"] = {"pairs": 5}
    text = made(toy, "--seeds", "2", "--data", digits_folder, "--set", "threads=1")
    assert cells(text, "*published:* Paper") == ["0.997", ""]
    assert "Paper: a paper. Not comparable: 256 x 256." in text
    assert cells(text, "*chance*") == ["0.1", ""]
    assert "Absent: it cannot be." in text and "Mind this." in text
    assert "No equal budget" in text and "threads: 1; load average" in text
    assert re.search(r"\d{4}-\d\d-\d\d, .+ cores", text)
    recall, kid = cells(text, "Narrow")
    assert recall.count("†") == 2 and "- † Narrow: `retrieval, pairs: 7, not 5`" in text
    assert "**" not in recall + cells(text, r"Wide \| one")[0]  # there is nothing fair to be best of
    assert "†" not in kid and text.count("- † ") == 1 and cells(text, r"Wide \| one")[1].startswith("**")
    assert "python benchmarks/tables.py toy --seeds 2 --data DATA --set threads=1  # all" in text
    command, _ = (line.strip() for line in text.splitlines() if "python main.py" in line)
    assert command.endswith("tiny.json network.base_width=8 path_to_data=DATA threads=1 seed=$seed")
    assert "for seed in 0 1; do" in text and str(digits_folder) not in text
    with Image.open(tmp_path / "pages/toy.png") as picture:
        assert min(picture.size) > 100 and len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_a_number_of_pairs_read_the_other_way_round_stands_in_the_same_column(toy, fake, tmp_path):
    turned = json.loads((tmp_path / "tiny.json").read_text()) | {"dataset": "Edges"}
    turned["data"], turned["path_to_data"] = {"direction": "BtoA"}, str(tmp_path / "edges")
    write_config(turned, tmp_path / "tiny.json")
    assert cells(made(toy, "--seeds", "1"), "Narrow") == ["**0.450**, **0.900**"]


# --- What is run, and what is not


def test_what_is_finished_is_not_run_again_and_what_failed_is(toy, fake, capsys):
    fake.failing = {("narrow", "1")}
    words = [str(word) for word in (*toy, "--seeds", "2")]
    with pytest.raises(SystemExit) as ended:
        run(tables.main, words)
    assert ended.value.code == 1 and "1 of 4 runs failed: narrow_s1" in capsys.readouterr().err
    text = (toy[4] / "toy.md").read_text()
    assert "narrow_s1 failed: loss became NaN" in text
    assert cells(text, "Narrow (1 of 2 seeds)") == ["**0.900**, **0.450**"]
    fake.failing, fake.came[:] = set(), []
    assert "failed" not in made(toy, "--seeds", "2") and fake.came == ["narrow_s1"]
    made(toy, "--seeds", "3")
    assert fake.came == ["narrow_s1", "wide_s2", "narrow_s2"]
    fake.came.clear()
    made(toy, "--seeds", "3", "--gather")
    assert not fake.came


def test_a_run_of_another_config_is_refused_before_anything_runs(toy, fake, capsys, digits_folder):
    made(toy, "--seeds", "1")
    fake.came.clear()
    line = refusal(capsys, tables.main, *toy, "--seeds", "2", "--set", "training.lr=0.5")
    assert "wide_s0 was run with training.lr 0.0002, not 0.5" in line and not fake.came
    line = refusal(capsys, tables.main, *toy, "--seeds", "2", "--data", digits_folder.parent)
    assert "path_to_data" in line and not fake.came
    made(toy, "--seeds", "1", "--set", "threads=1")  # makes no other experiment
    assert not fake.came


def test_mistakes_are_one_line(toy, fake, capsys, tmp_path):
    assert "invalid choice: 'nothing'" in refusal(capsys, tables.main, "nothing", *toy[1:])
    assert "no number of minutes" in refusal(capsys, tables.main, *toy, "--budget", "-1")
    assert "training.nothing is no key" in refusal(capsys, tables.main, *toy, "--set", "training.nothing=1")
    line = refusal(capsys, tables.main, "separation", *toy[1:], "--data", tmp_path / "nowhere")
    assert f"no MNIST-CDCB at {tmp_path}/nowhere" in line and "download/mnist_cdcb.sh" in line
    assert "no table at" in refusal(capsys, tables.main, *toy, "--gather")
    with tables.RunLock(tmp_path / "out/toy"):
        assert "in use" in refusal(capsys, tables.main, *toy)
    assert not fake.came and not (tmp_path / "pages").exists()


def test_a_row_can_be_another_rows_runs_tested_otherwise(toy, fake, monkeypatch, tmp_path):
    wide, narrow, _ = TABLES["toy"].rows
    again = Row("Narrow, by two numbers", narrow.config, ('test.metrics=["probes"]',), "again", of="narrow")
    monkeypatch.setitem(TABLES, "toy", replace(TABLES["toy"], rows=(wide, narrow, again)))
    monkeypatch.setattr(tables_runs, "measure", lambda words, minutes: 0.6)
    text = made(toy, "--seeds", "1", "--budget", "1")
    assert fake.came == ["wide_s0", "narrow_s0", "again_s0"]
    assert cells(text, "Narrow, by two numbers") == ["0.100, 0.050"]
    wanted = tmp_path / "out/toy/narrow_s0/models/000100-checkpoint.pt"
    assert fake.words[-2:] == ["train=0", f"test.test_path={wanted}"]
    assert "seed=$seed train=0 test.test_path=RUN_OF_narrow_s$seed" in text


# --- Signals


def child(toy: list, *more: object) -> multiprocessing.Process:
    words = [str(word) for word in (*toy, *more)]
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(run(tables.main, words)))
    process.start()
    return process


def until(happens, seconds: float = 120) -> None:
    last = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < last
        time.sleep(0.02)


def test_a_killed_table_goes_on(toy, capfd, tmp_path, monkeypatch):
    """Killed by SIGKILL after the first checkpoint. Run again at once, it takes the run up from there."""
    monkeypatch.setitem(TABLES, "toy", replace(TABLES["toy"], rows=TABLES["toy"].rows[1:]))
    more = ["--seeds", "1", "--set", "training.max_iters=60", "--set", "training.sample_freq=1000"]
    folder = RunFolder(tmp_path / "out/toy/narrow_s0")
    process = child(toy, *more)
    try:
        until(lambda: any(folder.models.glob("*-checkpoint.pt")))
    finally:
        process.kill()
        process.join()
    assert not (folder.results / "metrics.json").exists() and not (tmp_path / "pages").exists()
    text = made(toy, *more)
    assert "narrow_s0: goes on" in capfd.readouterr().out
    assert re.fullmatch(r"[\d.]+, [\d.]+", cells(text, "Narrow")[0])
    rows = [row["iteration"] for row in folder.read_metrics()]
    assert rows == list(range(5, 61, 5))


STUB = """\
import signal, sys, time
from pathlib import Path

def stop(*_):
    Path("stopped").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)
Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_table_stops_its_run(tmp_path, monkeypatch, how):
    (tmp_path / "main.py").write_text(STUB)
    monkeypatch.setattr(tables_runs, "ROOT", tmp_path)

    def start(_: object) -> None:
        with (tmp_path / "log").open("ab") as log:
            tables_runs.main_py([], log)

    process = multiprocessing.get_context("fork").Process(target=lambda: run(start, []))
    process.start()
    until((tmp_path / "ready").exists)
    os.kill(process.pid, how)
    process.join()
    until((tmp_path / "stopped").exists, 10)
    assert process.exitcode == (143 if how == signal.SIGTERM else -how)


# --- The budget


def test_a_budget_becomes_iterations_and_schedules_follow():
    config = load_config(ROOT / "configs/iiae_mnist_32.json", ["training.inter_anneal_iters=0"])
    words = tables_budget.for_minutes(config, 2, 0.05)  # 8,000 iterations become 2,400
    changed = load_config(ROOT / "configs/iiae_mnist_32.json", words).training
    assert changed.max_iters == 2 * 60 / 0.05
    assert changed.inter_exact_iters == [300, 600] and changed.anneal_iters == 750
    assert changed.inter_anneal_iters == 0 and changed.validation_freq == 0
    assert (changed.print_freq, changed.sample_freq, changed.model_save_freq) == (48, 2400, 240)
    given = ["training.milestones=[0,1000,4001]", "training.max_iters=8000", "training.mixture_start=3"]
    config = load_config(ROOT / "configs/gmvae_drit_modes.json", given)
    words = dict(word.split("=") for word in tables_budget.for_minutes(config, 1, 0.03))  # a quarter
    assert words["training.milestones"] == "[0, 250, 1000]" and words["training.mixture_start"] == "1"
    assert float(words["training.decay_temp_rate"]) == pytest.approx(4 * 0.013862944, rel=1e-5)


def test_every_key_that_is_a_time_of_training_follows():
    """A new one must be thought of: it goes with the others, or here."""
    others = {"max_iters", "resume_iters", "lr_schedule", "ema", "d_iter", "decay_temp"}
    keys = {key for kind in MODELS.values() for key in kind.model_fields["training"].annotation.model_fields}
    times = {
        key for key in keys if re.search(r"iter|freq|start|milestone|epoch|decay_|anneal_|_steps|warm", key)
    }
    assert times - others == {*tables_budget.LENGTHS, *tables_budget.RATES, *tables_budget.COUNTS}


def test_an_iteration_is_timed_once_for_all_seeds_and_restarts(toy, fake, capsys, monkeypatch, tmp_path):
    asked = []

    def measure(words, minutes):
        asked.append(words)
        return 0.05 * len(asked)

    monkeypatch.setattr(tables_runs, "measure", measure)
    text = made(toy, "--seeds", "1", "--budget", "2")
    assert "each run trains for 2 minutes" in text
    text = made(toy, "--seeds", "2", "--budget", "2.0")
    assert len(asked) == 2 and fake.came == ["wide_s0", "narrow_s0", "wide_s1", "narrow_s1"]
    for row, total in (("wide", 2 * 60 / 0.05), ("narrow", 2 * 60 / 0.1)):
        for seed in (0, 1):
            config = load_config(tmp_path / f"out/toy/{row}_s{seed}/config.json")
            assert config.training.max_iters == total and config.seed == seed
    assert "training.max_iters=2400" in text and "training.max_iters=1200" in text
    line = refusal(capsys, tables.main, *toy, "--budget", "3")
    assert "was made with --budget 2, not with --budget 3" in line


def test_a_trial_times_this_very_config(toy, capsys, tmp_path, monkeypatch):
    """Larger batches take longer; in a process of its own it takes as long, and a mistake is one line."""
    config = os.path.relpath(tmp_path / "tiny.json", ROOT)
    monkeypatch.chdir(ROOT)

    def seconds(*words: str) -> float:
        assert run(tables_budget.main, ["0.1", config, *words]) == 0
        return float(capsys.readouterr().out)

    few, many = seconds("training.batch_size=2"), seconds("training.batch_size=64")
    assert 0 < few < many
    assert "training.nothing is no key" in refusal(
        capsys, tables_budget.main, "0.1", config, "training.nothing=1"
    )
    monkeypatch.setattr(tables_budget, "SHORTEST", 0.1)
    assert 0 < tables_budget.measure([config, "training.batch_size=2"], 0.01) < many
    with pytest.raises(DataError, match=r"^trial of nowhere.json: .*no such config file"):
        tables_budget.measure(["nowhere.json"], 0.01)


# --- The tables themselves


@pytest.mark.parametrize("name", [name for name in TABLES if name != "toy"])
def test_every_table_is_made_of_configs_that_can_be(name):
    table = TABLES[name]
    rows = [row for row in table.rows if row.config]
    assert len({row.folder for row in rows}) == len(rows)
    assert len({row.label for row in table.rows}) == len(table.rows)
    assert all(bool(row.config) != bool(row.why_not) for row in table.rows)
    for number, row in enumerate(rows):
        assert not row.of or row.of in [other.folder for other in rows[:number] if not other.of]
        path = ROOT / f"configs/{row.config}.json"
        config = load_config(path, row.keys)
        for minutes in (0.05, 5000):
            words = tables_budget.for_minutes(config, minutes, 0.2)
            assert load_config(path, [*row.keys, *words]).training.max_iters == minutes * 300
    headings = [column.heading for columns in table.parts.values() for column in columns]
    assert len(set(headings)) == len(headings)
    assert all({*one.cells} <= {*headings} for one in table.published)
    assert any(column.drawn for columns in table.parts.values() for column in columns)
