"""A whole short run of GMVAE-DRIT on toy pictures: training, resuming, samples, test mode."""

import json
from pathlib import Path

import pytest
from conftest import same_tensors
from drit_toys import toy_solver

from solvers.checkpoint import load_checkpoint

WAYS = ("A_to_B", "B_to_A")


@pytest.mark.parametrize(("batch", "more"), [(1, {"concat": 0}), (3, {"use_adain": 1})])
def test_it_trains_resumes_bit_for_bit_across_a_fall_of_the_temperature_and_tests(
    batch, more, tmp_path: Path
):
    def solver(name: str, **training):
        shared = {"isDcontent": 1, "d_iter": 2, "batch_size": batch, "max_iters": 8, "model_save_freq": 4}
        shared |= {"print_freq": 2, "sample_freq": 8, "decay_temp_rate": 0.2, "plot_losses": batch > 1}
        network = {"attribute_dim": None, "gaussian_size": 4, "num_classes": 3, **more}
        return toy_solver(
            "GMVAE-DRIT", 2, run_dir=str(tmp_path / name), network=network, training={**shared, **training}
        )

    straight = solver("straight")
    straight.train()
    again = solver("again", resume_iters=4, restored_model_path=str(tmp_path / "straight"))
    again.train()
    states = [
        load_checkpoint(tmp_path / name / "models/000008-checkpoint.pt") for name in ("straight", "again")
    ]
    for key in ("networks", "optimizers", "scaler"):
        assert same_tensors(states[0][key], states[1][key]), key
    rows = [
        [json.loads(line) for line in (tmp_path / name / "logs/metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "again")
    ]
    ends = [{k: v for k, v in kind[-1].items() if k != "iterations_per_second"} for kind in rows]
    assert ends[0] == ends[1] and ends[0]["iteration"] == 8
    temperatures = [row["temperature"] for row in rows[0] if "temperature" in row]
    assert temperatures[-1] < temperatures[0]
    assert {"gauss", "categ", "rec", "component_0", "component_2"} <= ends[0].keys()
    again.test()
    metrics = json.loads((tmp_path / "again/results/metrics.json").read_text())
    assert metrics["diversity/l1/A_to_B"] > 0 and metrics["reconstruction/l1/A"] > 0
    assert (tmp_path / "again/index.html").exists()
    samples = {path.name for path in (tmp_path / "again/samples/000008").glob("*.png")}
    curves = {"losses.png"} if batch > 1 else set()
    assert samples == curves | {f"{way}{kind}.png" for way in WAYS for kind in ("", "_by_component")}
    results = {path.name for path in (tmp_path / "again/results").glob("*.png")}
    assert {"style_space.png", *(f"{way}_by_component.png" for way in WAYS)} <= results
    assert "clustering/components/A" in metrics
