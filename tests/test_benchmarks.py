"""The benchmarks run at a small size and write what they say they do; nothing here is timed."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from conftest import noise
from drit_toys import toy_solver
from PIL import Image

from benchmarks import content_probe, data, packing_memory, train_step
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
        assert f"| {name} | {fast:,.0f} |" in said


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
