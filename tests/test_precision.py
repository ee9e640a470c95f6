"""What `precision` means: by the processor's word, by a measurement, and by the checkpoint that goes on."""

import json
import re

import pytest
import torch
from conftest import write_config

import main
from solvers.run import precision
from solvers.run.folder import RunError
from solvers.run.precision import computes_in_bf16, instructions, name_of, pick_precision, trained_in

CPU = torch.device("cpu")
FLAGS = {  # a processor's words and whether it computes in bf16
    "flags\t\t: fpu avx2 avx512f avx512_bf16 vaes\n": True,
    "flags\t\t: fpu avx2 avx512f amx_tile amx_bf16\n": True,
    "flags\t\t: fpu avx avx2 fma avx512f avx512bw\n": False,
    "processor\t: 0\nFeatures\t: fp asimd sve bf16 i8mm\n": True,
    "Features\t: fp asimd evtstrm crc32\n": False,
}


@pytest.mark.parametrize("text", FLAGS)
def test_a_processor_is_asked_for_bf16(text, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    (tmp_path / "cpuinfo").write_text(text)
    told = instructions(tmp_path / "cpuinfo")
    monkeypatch.setattr(precision, "instructions", lambda: told)
    assert computes_in_bf16(CPU) is FLAGS[text]


@pytest.mark.parametrize("gain, want", [(0.1, False), (1.05, False), (3.0, True)])
def test_where_nobody_can_be_asked_it_is_measured(gain, want, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert instructions(tmp_path / "none") is None
    monkeypatch.setattr(precision, "instructions", lambda: None)
    monkeypatch.setattr(precision, "measured_gain", lambda: gain)
    assert computes_in_bf16(CPU) is want


def test_the_measurement_is_of_time():
    assert 0 < precision.measured_gain(64, 1) < 1000


def test_names_and_dtypes_belong_together(monkeypatch):
    for has, auto in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "computes_in_bf16", lambda device, has=has: has)
        assert pick_precision("auto", CPU) == auto and pick_precision(name_of(auto), CPU) == auto
    with pytest.raises(RunError, match="fp16 needs a GPU"):
        pick_precision("fp16", CPU)


def test_what_a_checkpoint_was_trained_in():
    gpu = torch.device("cuda")
    of = {name: {"config": {"precision": name}} for name in ("fp32", "bf16", "fp16", "auto")}
    assert trained_in(of["bf16"], CPU) == torch.bfloat16 and trained_in(of["fp32"], gpu) == torch.float32
    assert trained_in(of["auto"], CPU) == torch.float32 and trained_in(of["auto"], gpu) is None
    assert trained_in(of["fp16"], CPU) is None and trained_in(of["fp16"], gpu) == torch.float16
    assert trained_in({}, CPU) is None and trained_in({"config": [1]}, CPU) is None


def run_of(experiment, tmp_path, **keys):
    sections = {"training": {**experiment["training"], **keys.pop("training", {})}}
    config = write_config(
        {**experiment, "run_dir": str(tmp_path / "run"), **keys, **sections}, tmp_path / "c.json"
    )
    return main.main([str(config)])


def weights(folder, iteration):
    path = folder / f"models/{iteration:06d}-checkpoint.pt"
    return torch.load(path, weights_only=True)["networks"]


def test_a_run_keeps_its_precision_on_a_machine_that_would_choose_another(
    experiment, tmp_path, monkeypatch, capsys
):
    """Trained in bf16 to the end; and half of it, then the rest where auto means float32: bit for bit."""
    monkeypatch.setattr(precision, "computes_in_bf16", lambda device: True)
    assert run_of(experiment, tmp_path) == 0
    assert "bfloat16" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/config.json").read_text())["precision"] == "bf16"
    whole = weights(tmp_path / "run", 10)
    (tmp_path / "run").rename(tmp_path / "whole")
    assert run_of(experiment, tmp_path, training={"max_iters": 5}) == 0
    monkeypatch.setattr(precision, "computes_in_bf16", lambda device: False)
    assert run_of(experiment, tmp_path, training={"resume_iters": "latest"}) == 0
    assert re.search("trained in bf16, which is kept", capsys.readouterr().out)
    resumed = weights(tmp_path / "run", 10)
    assert all(
        torch.equal(tensor, resumed[name][key])
        for name, network in whole.items()
        for key, tensor in network.items()
    )
    assert json.loads((tmp_path / "run/config.json").read_text())["precision"] == "bf16"


def test_the_word_of_the_config_holds_against_the_checkpoint(experiment, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "computes_in_bf16", lambda device: True)
    assert run_of(experiment, tmp_path, training={"max_iters": 5}) == 0
    assert run_of(experiment, tmp_path, training={"resume_iters": "latest"}, precision="fp32") == 0
    assert "which is kept" not in capsys.readouterr().out
    assert json.loads((tmp_path / "run/config.json").read_text())["precision"] == "fp32"


def test_test_mode_says_that_it_runs_in_float32(experiment, tmp_path, capsys):
    assert run_of(experiment, tmp_path, precision="bf16", training={"max_iters": 2}) == 0
    capsys.readouterr()
    assert run_of(experiment, tmp_path, precision="bf16", train=0, test={"metrics": []}) == 0
    assert "testing" in (line := capsys.readouterr().out.splitlines()[0]) and "float32" in line
