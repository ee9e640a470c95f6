"""The benchmarks run at a small size and write what they say they do; nothing here is timed."""

import copy
import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import noise
from drit_toys import toy_solver
from PIL import Image

from benchmarks import content_probe, data, limits, packing_memory, plain, scaling, storm, train_step, waiting
from benchmarks.noise import CASES, make_solver, noise_batch
from dataloader.preprocessing import run
from solvers.run.torchvision_shim import import_torchvision

needs_torchvision = pytest.mark.skipif(
    find_spec("torchvision") is None, reason="torchvision is not installed"
)
TINY = """--resolution 32 --pictures 6 --batch-size 4 --batches 2 --rounds 1 --workers 1 --steps 1
--step-batch-size 2 --set network.base_width=4 --set device=cpu --set threads=1"""
KEYS = {
    f"loader/{name}/{key}"
    for name in ("mnist_cdcb_32", "folders_32")
    for key in (
        "images_per_second",
        "baseline_images_per_second",
        "ratio",
        "images_per_cpu_second",
        "baseline_images_per_cpu_second",
        "cpu_ratio",
        "step_share",
    )
}


@needs_torchvision
def test_the_loader_benchmark_writes_its_figures_under_flat_keys(tmp_path, capsys):
    assert run(data.main, [*TINY.split(), "--json", str(tmp_path / "data.json")]) == 0
    figures = json.loads((tmp_path / "data.json").read_text())
    assert figures.keys() == KEYS and all(value > 0 for value in figures.values())
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]
    said = capsys.readouterr().out
    for name in ("mnist_cdcb_32", "folders_32"):
        fast, slow, ratio, share = (
            figures[f"loader/{name}/{key}"]
            for key in ("images_per_second", "baseline_images_per_second", "ratio", "step_share")
        )
        assert ratio == pytest.approx(fast / slow, rel=0.01) and share < 1
        told = next(line for line in said.splitlines() if line.startswith(f"| {name} |")).split("|")[2]
        assert float(told.replace(",", "")) == pytest.approx(fast, abs=1)  # rounded once more in the JSON


@needs_torchvision
def test_the_reference_reads_the_same_pictures_as_the_loader(tmp_path):
    """Halves of a file side by side; otherwise the same file of each domain. Floats from -1 to 1."""
    pixels = noise(0, 64, 32)
    pixels.save(tmp_path / "a.png")
    x, y = data.PicturePairs([[tmp_path / "a.png"]], data.transforms(32), 1)[0]
    for half, box in ((x, (0, 0, 32, 32)), (y, (32, 0, 64, 32))):
        wanted = torch.tensor(list(pixels.crop(box).tobytes())).view(32, 32, 3).movedim(2, 0) / 127.5 - 1
        torch.testing.assert_close(half, wanted, atol=1e-5, rtol=0)


@needs_torchvision
def test_torchvision_is_there_whole_even_beside_a_pytorch_without_its_operators(tmp_path):
    transforms = import_torchvision("torchvision.transforms")
    assert import_torchvision() is sys.modules["torchvision"]
    assert transforms.CenterCrop(2)(Image.new("RGB", (4, 4))).size == (2, 2)


def test_a_wrong_call_of_a_benchmark_is_one_line_and_status_2(tmp_path, capsys):
    for main, words in (
        (data.main, ["--rounds", "0"]),
        (data.main, ["--json", str(tmp_path / "nowhere" / "a.json")]),
        (packing_memory.main, ["--pictures", "few"]),
        (content_probe.main, [str(tmp_path / "nowhere")]),
        (content_probe.main, [str(tmp_path), "--json", str(tmp_path / "nowhere" / "a.json")]),
        (train_step.main, ["--json", str(tmp_path / "nowhere" / "a.json")]),
        (train_step.main, ["--models", "iiae,nothing"]),
        (train_step.main, ["--steps", "fp8"]),
        (scaling.main, ["--plot", str(tmp_path / "nowhere" / "a.png")]),
        (packing_memory.main, ["--json", str(tmp_path / "nowhere" / "a.json")]),
    ):
        assert run(main, words) == 2
        text = capsys.readouterr().err
        assert text.startswith("error: ") and text.count("\n") == 1


def test_the_memory_benchmark_writes_its_figures_under_flat_keys(tmp_path):
    words = "--pictures 20 --times 2 --resolution 32 --stored 16 --workers 2"
    assert run(packing_memory.main, [*words.split(), "--json", str(tmp_path / "memory.json")]) == 0
    figures = json.loads((tmp_path / "memory.json").read_text())
    assert figures.keys() == {
        f"packing/{count}_pictures/{key}" for count in (20, 40) for key in ("peak_mib", "seconds")
    }
    assert all(value > 0 for value in figures.values())


def test_the_content_probe_finds_a_domain_only_where_the_content_shows_it():
    rng = np.random.default_rng(0)
    contents = rng.normal(size=(2, 200, 3, 4, 4))
    blind = content_probe.probes(contents)
    assert all(0.35 < value < 0.65 for value in blind.values()), blind
    contents[1, :, 2, 2, 2] += 20  # the middle gives domain 1 away, in one channel
    assert content_probe.probes(contents)["place"] == pytest.approx(1)
    contents[1, :, 2, 2, 2] -= 20
    contents[1, :, :, 0, 0] += 20  # a corner does
    corner = content_probe.probes(contents)
    assert corner["whole"] == pytest.approx(1)
    assert corner["few"] > 0.85  # 3 telling numbers among 45 of noise, and 20 images to learn that from
    assert corner["place"] == blind["place"]


def test_the_content_probe_reads_run_folders(tmp_path):
    solver = toy_solver(run_dir=str(tmp_path / "toy"), training={"max_iters": 1, "isDcontent": 0})
    solver.train()
    maps = content_probe.content_maps(solver)
    images = solver.test_set.at(np.arange(6), np.arange(6)).images
    with torch.no_grad():
        expected = torch.stack([solver.model.eval().encode_content(x, d) for d, x in enumerate(images)])
    assert np.allclose(maps, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name != "drit"])  # whose gradients test_drit has
def test_a_plain_iteration_has_the_losses_of_ours(name, monkeypatch):
    """Where networks hold still and nothing is drawn inside an iteration but with the same numbers."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(F, "gumbel_softmax", lambda logits, tau, hard: (logits / tau).softmax(1))
    case = CASES[name]._replace(resolution=32, batch_size=2)
    network = {"dropout": 0.0} if name in ("iiae", "bicyclegan", "paired_vae_gan") else {}
    if name == "gmvae_drit":
        network["gaussian_size"] = 3
    if name in ("gmvae_drit", "mdmm"):
        case = case._replace(training={**case.training, "isDcontent": 1})
    found = []
    for run_step in ("ours", "plain"):
        options = {"device": "cpu", "precision": "fp32", "threads": 1}
        solver = make_solver(case, 4, {"lr": 1e-12}, network, **options)
        batch = noise_batch(solver, 2)
        solver.set_time(1)
        if run_step == "plain":
            plain.make_plain(solver)
            found.append(plain.step_of(case.model)(solver, batch))
        else:
            found.append(solver.train_step(batch, 1))
    ours, theirs = found
    unweighted = {key for key in ours if key.startswith(("component", "temperature"))}
    assert ours.keys() - unweighted == theirs.keys()
    for key, value in theirs.items():
        assert value.item() == pytest.approx(ours[key].item(), rel=2e-4, abs=1e-6), key


def test_the_step_benchmark_writes_its_figures_and_goes_on_after_a_failure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(limits, "SIDES", {"cpu": (64,)})
    monkeypatch.setattr(limits, "MAPS", {"cpu": (1, 8, 8)})
    monkeypatch.setattr(limits, "SECONDS", 0.0)
    monkeypatch.setattr(plain, "MODULES", {**plain.MODULES, "IIAE": "drit"})  # takes other networks
    words = "--models iiae,pix2pix --steps fp32,bf16 --resolution 32 --batch-size 2 --width 4 --rounds 1"
    with pytest.raises(SystemExit) as ended:
        train_step.main([*words.split(), "--json", str(tmp_path / "step.json")])
    assert ended.value.code == 1
    figures, said = json.loads((tmp_path / "step.json").read_text()), capsys.readouterr().out
    names = {"plain", "fp32", "bf16", "ours", "ratio", "share_of_limit", "gflop"}
    wanted = {f"step/pix2pix_32/{name}" for name in names}
    wanted |= {f"step/iiae_32/{name}" for name in names - {"plain", "ratio"}}
    assert figures.keys() == wanted | {"machine/limit_fp32", "machine/limit_bf16"}
    assert all(value > 0 for value in figures.values())
    step = {name: figures[f"step/pix2pix_32/{name}"] for name in names}
    assert step["ratio"] == pytest.approx(step["plain"] / step["ours"], rel=1e-3)
    limit = figures["machine/limit_fp32" if "| fp32 |" in said else "machine/limit_bf16"]
    assert step["share_of_limit"] == pytest.approx(step["gflop"] / step["ours"] / limit, rel=1e-3)
    assert said.count("iiae_32: plain failed: ") == 1 and "| pix2pix_32 |" in said


def test_operations_are_those_of_products_and_convolutions_forward_and_backward():
    x, w = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 3, 3, requires_grad=True)
    with limits.Operations() as counter:
        made = F.conv2d(x, w, padding=1)
        (gradient,) = torch.autograd.grad(made.sum(), x, create_graph=True)
        gradient.square().sum().backward()
    once = 2 * 2 * 5 * 64 * 27  # multiplications and additions of a convolution that makes [2, 5, 8, 8]
    assert counter.total >= 3 * once and counter.total % once == 0
    with limits.Operations() as counter:
        torch.randn(4, 6) @ torch.randn(6, 7)
    assert counter.total == 2 * 4 * 6 * 7


def test_the_scaling_benchmark_measures_marks_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(limits, "SIDES", {"cpu": (64,)})
    monkeypatch.setattr(limits, "MAPS", {"cpu": (1, 8, 8)})
    monkeypatch.setattr(limits, "SECONDS", 0.0)

    def launched(line, batches, options):
        """The first batch here; the second ends the process; the third is out of memory."""
        if len(batches) == 3:
            scaling.work(line, batches[:1], options)
            return [text for text in capsys.readouterr().out.splitlines() if text.startswith("{")]
        if batches[0] == 4:
            return []
        return [json.dumps({"batch": 8, "failed": "out of memory"})]

    monkeypatch.setattr(scaling, "launched", launched)
    paths = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]
    words = "--models pix2pix --resolutions 32 --batches 2,4,8 --processes 1 --width 4 --rounds 1 --threads 1"
    assert run(scaling.main, [*words.split(), *paths]) == 0
    figures, key = json.loads((tmp_path / "a.json").read_text()), "scaling/pix2pix_32/batch_{}/processes_1/{}"
    assert figures[key.format(2, "images_per_second")] > 0 and figures[key.format(2, "memory_mib")] > 50
    assert figures[key.format(4, "failed")] == figures[key.format(8, "failed")] == 1
    assert Image.open(tmp_path / "a.png").size[0] == 640


def test_the_waiting_benchmark_compares_ways_alone_and_beside_others(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "WAYS", {"spin 100": {"GOMP_SPINCOUNT": "100"}})
    words = ["--seconds", "0.01", "--rounds", "1", "--threads", "1", "--set", "network.base_width=4"]
    assert run(waiting.main, [*words, "--json", str(tmp_path / "w.json")]) == 0
    figures = json.loads((tmp_path / "w.json").read_text())
    kinds = ("alone", "busy", "share_alone", "slowdown")
    assert set(figures) == {f"waiting/spin_100/{kind}" for kind in kinds}
    alone, busy = figures["waiting/spin_100/alone"], figures["waiting/spin_100/busy"]
    assert figures["waiting/spin_100/slowdown"] == pytest.approx(alone / busy, rel=1e-4)
    assert figures["waiting/spin_100/share_alone"] == 1 and "| spin 100 |" in capsys.readouterr().out


def test_the_waiting_benchmark_leaves_no_busy_process_behind_where_a_measurement_fails(tmp_path, monkeypatch):
    begun = []

    class Watched(waiting.subprocess.Popen):
        def __init__(self, *more, **named):
            super().__init__(*more, **named)
            begun.append(self)

    monkeypatch.setattr(waiting.subprocess, "Popen", Watched)
    monkeypatch.setattr(waiting, "WAYS", {"passive": {}})
    monkeypatch.setattr(waiting, "rate", lambda *asked: 1 / 0 if len(begun) else 1.0)
    with pytest.raises(ZeroDivisionError):
        waiting.main(["--seconds", "1", "--rounds", "1", "--threads", "2"])
    assert len(begun) == 2 and all(process.poll() is not None for process in begun)


def test_the_storm_tells_runs_that_differ(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(storm, "LAST", 4)
    monkeypatch.setattr(storm, "CONFIGS", {"iiae_digits": ["network.base_width=4", "training.max_iters=4"]})
    words = ["--kills", "1", "--configs", "iiae_digits", "--json", str(tmp_path / "s.json")]
    assert run(storm.main, words) == 0
    figures = json.loads((tmp_path / "s.json").read_text())
    ends = figures.pop("storm/iiae_digits/ends")
    assert figures == {"storm/iiae_digits/kills": 1, "storm/iiae_digits/unequal": 0} and ends >= 1
    assert "1 kills" in capsys.readouterr().out
    a = {"checkpoint": {"w": [torch.zeros(2), 1]}, "x.png": b"1", "numbers": {"n": 0.5}}
    assert storm.differences(a, copy.deepcopy(a)) == []
    others = {"checkpoint": {"w": [torch.tensor([0.0, 1e-30]), 1]}, "x.png": b"2", "y.png": b""}
    assert storm.differences(a, others) == ["checkpoint", "numbers", "x.png", "y.png"]
    monkeypatch.setattr(storm.Storm, "blow", lambda self, kills: {"storm/iiae_digits/unequal": 1.0})
    with pytest.raises(SystemExit) as end:
        storm.main(words)
    assert end.value.code == 1
