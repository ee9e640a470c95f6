"""The command line as a person meets it: one line for each mistake, and a run folder with all that it
needs."""

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

import pytest
import torch
from conftest import ROOT, command, run_program, write_config

import main
from configs.keys import DATASETS
from configs.load import validate
from solvers import NonFiniteLoss, make_solver
from solvers.run.checkpoint import save_checkpoint
from solvers.run.watch import LossWatch


def call(capsys, *arguments) -> tuple[int, str]:
    status = main.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.err


def refused(capsys, tmp_path, *arguments) -> str:
    """The one line that these arguments give; nothing may be left behind."""
    before = sorted(tmp_path.rglob("*"))
    status, line = call(capsys, *arguments)
    assert status == 2
    assert line.startswith("error: ") and line.endswith("\n") and line.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    return line


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"batchsize": 3}, "batchsize is no key"),
        ({"training": {"lr": "fast"}}, "training.lr"),
        ({"resolution": 100}, "resolution: got 100"),
        ({"network": {"stages": 5}}, "1 to 4 stages"),
        ({"device": "cuda:99"}, "GPU"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"path_to_data": "nowhere", "dataset": "MNIST-CDCB"}, "no MNIST-CDCB at nowhere"),
        ({"train": 0}, "no run of tiny"),
        ({"train": 0, "test": {"test_path": "nowhere"}}, "nowhere does not exist"),
        ({"training": {"resume_iters": 7}}, "no run of tiny has a checkpoint"),
        ({"training": {"resume_iters": 7, "restored_model_path": "nowhere"}}, "nowhere does not exist"),
        ({"output_dir": "/dev/null/x"}, "cannot write to"),
    ],
)
def test_a_mistake_gives_one_line_status_2_and_no_folder(capsys, experiment, tmp_path, change, part):
    path = write_config({**experiment, **change}, tmp_path / "c.json")
    assert part in refused(capsys, tmp_path, path)


@pytest.mark.parametrize("below", ["", "inner"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_data_that_is_a_file_is_one_line_and_nothing_is_made(capsys, experiment, tmp_path, dataset, below):
    file = tmp_path / "data.zip"
    file.write_bytes(b"no folder")
    values = {**experiment, "dataset": dataset, "path_to_data": str(file / below)}
    line = refused(capsys, tmp_path, write_config(values, tmp_path / "c.json"))
    assert line == f"error: {file} is a file, where a folder is needed; set path_to_data\n"
    assert file.read_bytes() == b"no folder"


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", "null"])
def test_a_file_that_is_no_config_gives_one_line(capsys, tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    assert "c.json" in refused(capsys, tmp_path, path)


def test_a_corrupt_checkpoint_gives_one_line(capsys, experiment, tmp_path):
    solver = make_solver(main.load_config(write_config(experiment, tmp_path / "c.json")))
    path = save_checkpoint(tmp_path, 5, solver.state())
    path.write_bytes(path.read_bytes()[:5000])
    word = f"training.restored_model_path={tmp_path}"
    assert "truncated" in refused(capsys, tmp_path, tmp_path / "c.json", word, "training.resume_iters=5")
    assert "truncated" in refused(capsys, tmp_path, tmp_path / "c.json", "train=0", f"test.test_path={path}")


def test_a_mistake_in_a_process_of_its_own_has_no_traceback(config_file):
    done = run_program(config_file, "resolution=100")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_no_arguments_give_the_usage_and_status_2(capsys):
    assert main.main([]) == 2
    assert "usage: python main.py" in capsys.readouterr().out


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, digits_folder):
    """A short run with test mode after it: its config, its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    config = {
        "id": "whole",
        "model": "IIAE",
        "dataset": "Digits-CDCB",
        "path_to_data": str(digits_folder),
        "resolution": 32,
        "run_dir": str(folder / "run"),
        "threads": 1,
        "device": "cpu",
        "training": {
            "max_iters": 20,
            "batch_size": 8,
            "print_freq": 5,
            "sample_freq": 10,
            "model_save_freq": 10,
        },
        "network": {"base_width": 4},
        "test": {"extractors": [], "classifier_iterations": 2},
    }
    path = write_config(config, folder / "c.json")
    done = run_program(path)
    assert done.returncode == 0, done.stderr
    return path, folder / "run", done.stdout


def test_a_run_leaves_the_folder_that_the_design_draws(whole_run):
    _, run, _ = whole_run
    files = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    events = {name for name in files if "tfevents" in name}
    assert len(events) == 1
    assert files - events == {
        "config.json",
        "index.html",
        "logs/metrics.jsonl",
        "models/000010-checkpoint.pt",
        "models/000020-checkpoint.pt",
        "samples/000010/x_to_y.png",
        "samples/000010/y_to_x.png",
        "samples/000020/x_to_y.png",
        "samples/000020/y_to_x.png",
        "results/metrics.json",
        "results/index.html",
        "results/x_to_y_random_styles.png",
        "results/y_to_x_random_styles.png",
        "results/content_x_style_y.png",
        "results/content_y_style_x.png",
        *(
            f"results/{way}_between_{ends}.{kind}"
            for way in ("x_to_y", "y_to_x")
            for ends in ("random_styles", "references")
            for kind in ("png", "gif")
        ),
    }


def test_plain_lines_stand_where_there_is_no_terminal(whole_run):
    _, run, output = whole_run
    lines = output.splitlines()
    assert sum("it/s" in line and "total" in line and "left" in line for line in lines) == 4
    assert f"Pictures: {run / 'index.html'}" in lines
    assert "\r" not in output


def test_the_saved_config_is_whole_says_the_versions_and_runs_again(whole_run, tmp_path):
    _, run, _ = whole_run
    saved = json.loads((run / "config.json").read_text())
    assert saved["training"]["rec_weight"] == 1020.0 and saved["versions"]["torch"] == torch.__version__
    again = main.load_config(run / "config.json", [f"run_dir={tmp_path / 'again'}"])
    assert again.training == main.load_config(whole_run[0]).training
    make_solver(again)


COLOURS = [f"{code}/{domain}_colour" for code in ("content", "style") for domain in "xy"]
WAYS = ("x_to_y", "y_to_x")


def test_metrics_have_the_flat_names_of_the_contract(whole_run):
    metrics = json.loads((whole_run[1] / "results/metrics.json").read_text())
    assert set(metrics) == {
        "iteration",
        "protocol",
        *(
            f"{name}/{kind}/{way}"
            for name in ("retrieval", "retrieval_at_5")
            for kind in ("shared", "exclusive")
            for way in WAYS
        ),
        *(f"reconstruction/{kind}/{domain}" for kind in ("l1", "psnr", "ssim") for domain in "xy"),
        *(f"translation/reference_{kind}/{way}" for kind in ("l1", "psnr", "ssim") for way in WAYS),
        *(f"translation/digit/{kind}/{way}" for kind in ("random", "reference") for way in WAYS),
        *(f"translation/colour_error/reference/{way}" for way in WAYS),
        *(f"translation/{kind}/real_{domain}" for kind in ("digit", "colour_error") for domain in "xy"),
        *(f"diversity/l1/{kind}" for kind in ("x_to_y", "y_to_x", "real_x", "real_y")),
        *(f"sharpness/{kind}_{domain}" for kind in ("real", "reconstruction") for domain in "xy"),
        *(f"sharpness/{way}" for way in WAYS),
        "probe/gap",
        *(
            f"{probe}/{kind}"
            for probe in ("probe", "probe_mlp")
            for kind in ("content/domain", "content/digit", "style/digit", *COLOURS)
        ),
    }


def test_test_mode_is_deterministic_and_finds_the_run_by_itself(whole_run):
    path, run, _ = whole_run
    before = {p.name: p.read_bytes() for p in (run / "results").iterdir()}
    assert main.main([str(path), "train=0"]) == 0
    assert {p.name: p.read_bytes() for p in (run / "results").iterdir()} == before


def test_a_run_folder_that_holds_a_run_is_not_trained_over(whole_run, capsys, tmp_path):
    assert "already holds a trained run" in refused(capsys, tmp_path, whole_run[0])


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(config_file, tmp_path, capsys):
    run = tmp_path / "nan"
    words = ["training.lr=1e30", "training.print_freq=1", "training.model_save_freq=1", f"run_dir={run}"]
    status, text = call(capsys, config_file, *words)
    assert status == 1
    line = text.strip().splitlines()[-1]
    assert "became NaN or infinite at iteration" in line and "the last good checkpoint is" in line
    iteration = int(line.split("at iteration ")[1].split(";")[0])
    saved = sorted(p.name for p in (run / "models").iterdir())
    assert saved == [f"{i:06d}-checkpoint.pt" for i in range(1, iteration)]


def test_weights_that_are_not_finite_are_never_saved(experiment, tmp_path):
    experiment["training"] |= {"max_iters": 2, "model_save_freq": 1}
    solver = make_solver(validate(experiment, "test"))
    step = solver.train_step

    def overflow(batch, iteration):
        losses = step(batch, iteration)  # a finite loss, whose step then ends at infinity
        next(solver.model.parameters()).data.fill_(float("inf"))
        return losses

    solver.train_step = overflow
    with pytest.raises(NonFiniteLoss, match="weights of network iiae became NaN or infinite at iteration 1"):
        solver.train()
    assert not list(tmp_path.rglob("*.pt"))


def test_a_loss_is_watched_in_every_iteration_not_only_when_it_is_printed():
    watch = LossWatch(torch.device("cpu"))
    for iteration in range(1, 8):
        bad = torch.tensor(float("nan") if iteration == 3 else 1.0)
        watch.see(iteration, {"a": torch.tensor(1.0), "b": bad})
    assert watch.fault() == (3, "b")


def test_a_terminal_gets_a_progress_bar(config_file):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 30, 200, 0, 0))
    process = subprocess.Popen(command(config_file), stdout=slave, stderr=slave, cwd=ROOT)
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
        while chunk := os.read(master, 4096):
            seen += chunk
    assert process.wait() == 0
    text = seen.decode()
    assert "10/10" in text and "it/s" in text and "rec_x" in text and "\r" in text
