"""`main.py compare`: what is equal is gathered, what differs is said, and what was measured otherwise is
marked."""

import csv
import json
import re
import shutil
import statistics
import subprocess
import sys

import pytest
from browser import in_a_browser, opened
from conftest import ROOT

import main
from configs.load import load_config
from solvers.commands.compare import differences, read_run
from solvers.visualization.published import FACTS, Published

PROTOCOL = {
    "split": "test",
    "images": {"x": 360, "y": 360},
    "checkpoint": {"iteration": 10, "chosen": "last"},
    "families": {"realism": {"images": 100}},
    "numbers": {"retrieval/": {"words": "r", "chance": 0.0028, "perfect": 1, "better": "higher"}},
}


@pytest.fixture
def runs(finished_run, tmp_path):
    """A run of two seeds, one of another width, and one measured otherwise; their recall."""

    def make(name: str, value: float, change: dict, **protocol):
        folder = shutil.copytree(finished_run, tmp_path / name)
        config = json.loads((folder / "config.json").read_text()) | change
        (folder / "config.json").write_text(json.dumps(config))
        metrics = {
            "iteration": 10,
            "retrieval/shared": value,
            "retrieval/shared/x_to_y": value,
            "protocol": {**PROTOCOL, **protocol},
        }
        (folder / "results/metrics.json").write_text(json.dumps(metrics))
        return folder

    wide = {"base_width": 8, "shared_dim": 16}
    return [
        make("one", 0.5, {}),
        make("two", 0.75, {"seed": 1}),
        make("wide", 0.7, {"network": wide, "id": "it's wide & big"}),
        make("odd", 0.99, {"training": {"max_iters": 20}}, families={"realism": {"images": 5}}),
    ]


def compare(capsys, *words) -> tuple[int, str]:
    status = main.main(["compare", *map(str, words)])
    return status, capsys.readouterr().err


def test_a_seed_by_which_numbers_were_drawn_is_no_difference_and_their_count_is(runs):
    for folder, kid in zip(runs, ({"subsets": 20, "seed": 0}, {"subsets": 20, "seed": 1}, {"subsets": 9})):
        path = folder / "results/metrics.json"
        metrics = json.loads(path.read_text())
        metrics["protocol"]["families"] = {"realism": {"kid": kid}}
        path.write_text(json.dumps(metrics))
    one, two, fewer = map(read_run, runs[:3])
    assert differences(one, two) == []
    assert differences(one, fewer) == ['realism, kid: {"subsets": 9}, not {"subsets": 20}']


def test_seeds_are_gathered_and_differences_said(capsys, runs, tmp_path, monkeypatch):
    out = tmp_path / "compared"
    of = load_config(runs[0] / "config.json")
    paper = {"retrieval/shared/x_to_y": Published(0.997, "a paper")}
    monkeypatch.setitem(FACTS, (of.model, of.dataset), paper)
    assert compare(capsys, *runs, "--output", out)[0] == 0
    with (out / "compare.csv").open() as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert rows["retrieval/shared/x_to_y"][:2] == ["0.0028", "0.997"]
    chance, published, first, wide, odd = rows["retrieval/shared"]
    assert published == ""
    spread = statistics.stdev([0.5, 0.75])
    assert (chance, first) == ("0.0028", f"0.625 ± {spread:.2g}")
    assert (wide, odd) == ("0.7", "0.99 †")
    assert rows["network.base_width"] == ["", "", "4", "8", "4"]
    assert "seed" not in rows and "training.lr" not in rows
    parameters = [int(cell.replace(",", "")) for cell in rows["parameters"][2:]]
    assert parameters[1] > parameters[0] == parameters[2]
    text = (out / "compare.md").read_text()
    assert "**0.7**" in text and "realism, images: 5, not 100" in text  # the best of those that compare


def test_what_one_run_could_not_measure_makes_its_other_numbers_no_different(capsys, runs, tmp_path):
    file = runs[1] / "results/metrics.json"
    metrics = json.loads(file.read_text())
    metrics["protocol"]["families"]["diversity"] = {"pairs": 7}
    file.write_text(json.dumps(metrics))
    compare(capsys, runs[0], runs[1], "--output", tmp_path / "compared")
    assert "diversity, pairs" not in (tmp_path / "compared/compare.md").read_text()


def test_the_page_needs_nothing_but_its_folder(capsys, runs, tmp_path):
    out = tmp_path / "compared"
    compare(capsys, *runs, "--output", out)
    page = (out / "index.html").read_text()
    links = re.findall(r'<img src="([^"]+)"', page)
    assert len(links) == 2 * 3 and all((out / link).is_file() for link in links)
    assert "://" not in page and page.count("<polyline") >= 4
    assert "it&#39;s wide &amp; big" in page and 'data-value="0.7"' in page


@in_a_browser
def test_a_click_on_a_number_puts_the_best_run_first(capsys, runs, tmp_path):
    out = tmp_path / "compared"
    compare(capsys, *runs, "--output", out)
    click = (
        "document.querySelectorAll('button').forEach(b => b.innerText === 'retrieval/shared' && b.click())"
    )
    page = (out / "index.html").read_text()
    (out / "index.html").write_text(page.replace("</body>", f"<script>{click}</script></body>"))
    made = opened(out / "index.html", tmp_path / "profile")
    (row,) = (row for row in re.findall(r"<tr>.*?</tr>", made, re.DOTALL) if ">retrieval/shared<" in row)
    assert [float(v) for v in re.findall(r'data-value="([^"]*)"', row)] == [0.99, 0.7, 0.625]
    assert re.findall(r"<td>(.*?)</td>", row) == ["0.0028", ""]


@pytest.mark.parametrize(("words", "part"), [((), "required"), (("nowhere",), "no run's folder")])
def test_a_mistake_is_one_line(capsys, tmp_path, monkeypatch, words, part):
    monkeypatch.chdir(tmp_path)
    status, line = compare(capsys, *words)
    assert status == 2 and part in line and line.count("\n") == 1 and not list(tmp_path.iterdir())


def test_an_output_is_not_written_over(capsys, runs, tmp_path):
    assert compare(capsys, runs[0], "--output", runs[1], "--force")[0] == 2
    assert (runs[1] / "config.json").exists()


@pytest.mark.parametrize("command", ["check", "translate", "compare", "export"])
def test_help_has_examples_and_loads_no_pytorch(command, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import main; "
        f"assert main.main([{command!r}, '--help']) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout and f"main.py {command}" in done.stdout
