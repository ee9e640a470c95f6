"""A whole short run of GMVAE-DRIT on toy pictures: training, resuming, samples, test mode."""

import json
from pathlib import Path

import pytest
from drit_toys import NARROW, check_resumes, check_tests, toy_solver

WAYS = ("A_to_B", "B_to_A")


@pytest.mark.parametrize(
    ("resolution", "batch", "tested", "more"),
    [
        (32, 1, 6, {"concat": 0}),
        (32, 3, 6, {"use_adain": 1}),
        (216, 1, 1, {"concat": 1, **NARROW}),
        (216, 2, 1, {"concat": 0, **NARROW}),
    ],
)
def test_it_trains_resumes_bit_for_bit_across_a_fall_of_the_temperature_and_tests(
    resolution, batch, tested, more, tmp_path: Path
):
    def solver(name: str, **training):
        shared = {"isDcontent": 1, "d_iter": 2, "batch_size": batch, "print_freq": 2, "sample_freq": 8}
        shared |= {"decay_temp_rate": 0.2, "plot_losses": batch > 1}
        return toy_solver(
            "GMVAE-DRIT",
            2,
            tested,
            resolution=resolution,
            run_dir=str(tmp_path / name),
            network={"attribute_dim": None, "gaussian_size": 4, "num_classes": 3, **more},
            training={**shared, **training},
        )

    again = check_resumes(solver, tmp_path, stopped=5, end=8)  # in the middle of a phase of two
    rows = [
        [json.loads(line) for line in (tmp_path / name / "logs/metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "again")
    ]
    ends = [{k: v for k, v in kind[-1].items() if k != "iterations_per_second"} for kind in rows]
    assert ends[0] == ends[1] and ends[0]["iteration"] == 8
    temperatures = [row["temperature"] for row in rows[0] if "temperature" in row]
    assert temperatures[-1] < temperatures[0]
    assert {"gauss", "categ", "rec", "component_0", "component_2"} <= ends[0].keys()
    metrics = check_tests(again, tmp_path / "again/results")
    assert metrics["diversity/l1/A_to_B"] > 0
    assert (tmp_path / "again/index.html").exists()
    samples = {path.name for path in (tmp_path / "again/samples/000008").glob("*.png")}
    curves = {"losses.png"} if batch > 1 else set()
    assert samples == curves | {f"{way}{kind}.png" for way in WAYS for kind in ("", "_by_component")}
    results = {path.name for path in (tmp_path / "again/results").glob("*.png")}
    assert {"style_space.png", *(f"{way}_by_component.png" for way in WAYS)} <= results
    assert "clustering/components/A" in metrics
