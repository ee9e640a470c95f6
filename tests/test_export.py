"""`main.py export`: the files do what the run does, without this program."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT, noise
from PIL import Image
from safetensors import safe_open

import main
from configs.load import load_config, validate
from models.translator import Translator
from solvers import make_solver
from solvers.commands import export, onnx_verbs
from solvers.commands.card import plain
from solvers.commands.onnx_verbs import OnnxError, Verb, export_verb, verbs_of
from solvers.commands.opened import bare_solver
from solvers.run.checkpoint import load_checkpoint

NETWORKS = {
    "MDMM": {"base_width": 2, "attribute_dim": 3, "residual_blocks": 1, "dis_width": 2},
    "GMVAE-DRIT": {"base_width": 2, "gaussian_size": 3, "residual_blocks": 1, "dis_width": 2},
    "pix2pix": {"base_width": 2, "dis_width": 2},
}


def call(capsys, *words) -> tuple[int, str, str]:
    status = main.main([*map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """The run's export, with the ONNX files of one direction."""
    folder = tmp_path_factory.mktemp("exported") / "made"
    ours = ("encode_content_x", "encode_style_y", "decode_y")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "verbs_of", lambda m: [v for v in verbs_of(m) if v.file[:-5] in ours])
        assert main.main(["export", str(finished_run), "--output", str(folder)]) == 0
    return folder


def test_the_weights_are_the_checkpoints(exported, finished_run):
    trained = load_checkpoint(finished_run / "models/000010-checkpoint.pt")["networks"]["iiae"]
    with safe_open(exported / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(trained)
        assert all(torch.equal(file.get_tensor(name), trained[name]) for name in trained)


def test_the_cards_python_works_without_the_program(exported, finished_run, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "elsewhere")
    noise(1, 32, 32).save(folder / "picture.png")
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    solver = make_solver(load_config(finished_run / "config.json", ["train=0"]))
    solver.load(finished_run, "latest", training=False)
    model = solver.model.eval()
    image = torch.from_numpy(np.array(Image.open(folder / "picture.png"))).movedim(2, 0)[None] / 127.5 - 1
    style = model.sample_style(64, 1, torch.Generator().manual_seed(0))[:1]
    with torch.no_grad():
        expected = ((model.translate(image, 0, 1, style)[0] + 1) * 127.5).movedim(0, 2).numpy()
    assert np.abs(np.asarray(Image.open(folder / "made.png")) - expected).max() <= 0.6


def test_readmes_python_is_the_cards(exported):
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown == code


def test_the_card_says_what_it_is(exported):
    card, about = (exported / "README.md").read_text(), json.loads((exported / "export.json").read_text())
    for part in (
        "IIAE",
        "Digits-CDCB for 10 iterations",
        "x to y, y to x",
        "the test split",
        "decode_y.onnx",
    ):
        assert part in card
    assert about["iteration"] == 10 and all(verb["difference"] < 1e-4 for verb in about["verbs"])
    assert "/" not in json.loads((exported / "config.json").read_text()).get("run_dir", "")
    for name in ("<script>", "a|b\nc", "`rm`", "[x](http://y)"):
        assert not re.search(r"(?<!\\)[<>|`\[\n]", plain(name))


def test_translate_takes_it_where_the_data_are_not(capsys, exported, finished_run, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "moved")
    run = shutil.copytree(finished_run, tmp_path / "run")
    for place in (folder, run):
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, "path_to_data": "nowhere"}))
    noise(1, 40, 50).save(tmp_path / "a.png")
    made = []
    for number, where in enumerate((finished_run, folder, run, run / "models/000010-checkpoint.pt")):
        words = ("--from", "x", "--random", 2, "--output", tmp_path / str(number))
        assert call(capsys, "translate", where, tmp_path / "a.png", *words)[0] == 0
        made.append((tmp_path / f"{number}/a_2.png").read_bytes())
    assert len(set(made)) == 1


def test_an_older_checkpoint_is_opened_with_the_data(capsys, finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    for path in (run / "models").iterdir():
        state = torch.load(path)
        del state["facts"]
        torch.save(state, path)
    noise(1, 40, 50).save(tmp_path / "a.png")
    words = ("translate", run, tmp_path / "a.png", "--from", "x", "--output", tmp_path / "made")
    assert call(capsys, *words)[0] == 0
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(
        json.dumps({**config, "dataset": "MNIST-CDCB", "path_to_data": "nowhere"})
    )
    status, _, line = call(capsys, *words, "--force")
    assert status == 2 and "nowhere" in line and line.count("\n") == 1


@pytest.mark.parametrize("harm", ["weights", "about", "network"])
def test_a_damaged_export_is_one_line(capsys, exported, tmp_path, harm):
    folder = shutil.copytree(exported, tmp_path / "harmed")
    if harm == "weights":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    elif harm == "about":
        (folder / "export.json").write_text("{}")
    else:
        config = json.loads((folder / "config.json").read_text())
        config["network"]["base_width"] = 8
        (folder / "config.json").write_text(json.dumps(config))
    noise(1, 40, 50).save(tmp_path / "a.png")
    status, _, line = call(
        capsys, "translate", folder, tmp_path / "a.png", "--from", "x", "--output", tmp_path / "made"
    )
    assert status == 2 and "export it again" in line and line.count("\n") == 1
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("{run}",), "--output"),
        (("nowhere", "--output", "made"), "nowhere does not exist"),
        (("{run}", "--output", "{run}"), "there already"),
        (("{run}", "--output", "{run}", "--force"), "holds no export.json"),
        (("{run}", "--output", "made", "--format", "h5"), "is none of safetensors, onnx"),
    ],
)
def test_a_mistake_is_one_line(capsys, finished_run, tmp_path, monkeypatch, words, part):
    monkeypatch.chdir(tmp_path)
    status, _, line = call(capsys, "export", *(word.format(run=finished_run) for word in words))
    assert status == 2 and part in line and line.count("\n") == 1 and not list(tmp_path.iterdir())


class Sly(Translator):
    """Does something else when it is exported."""

    domains, directions = ("a", "b"), ((0, 1),)
    has_style = has_style_prior = False

    def encode_content(self, image, domain):
        return image * (1.01 if torch.compiler.is_compiling() else 1)


def test_a_file_that_differs_from_pytorch_is_refused(tmp_path):
    images = [torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)]
    with pytest.raises(OnnxError, match="differs from PyTorch by"):
        export_verb(Sly(), Verb("encode_content", 0, ("image",), "a.onnx"), images, tmp_path)


def test_such_a_file_ends_the_command_with_nothing_written(capsys, finished_run, tmp_path, monkeypatch):
    def differs(*_):
        raise OnnxError("a.onnx: onnxruntime differs")

    monkeypatch.setattr(export, "export_verb", differs)
    status, _, line = call(capsys, "export", finished_run, "--output", tmp_path / "made")
    assert status == 1 and "differs" in line and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "verb"), [("MDMM", "decode"), ("GMVAE-DRIT", "encode_style"), ("pix2pix", "decode")]
)
def test_verbs_of_other_families_take_batches_of_any_size(tmp_path, model, verb):
    paired = model == "pix2pix"
    values = {"id": "a", "model": model, "dataset": "Pairs" if paired else "Folders", "resolution": 32}
    config = validate({**values, "device": "cpu", "network": NETWORKS[model]}, "test")
    net = bare_solver(config, {"domains": ("A", "B"), "paired": paired}, None).model.eval()
    images = [torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(d)) * 2 - 1 for d in (0, 1)]
    chosen = next(one for one in verbs_of(net) if one.name == verb and one.domain == 1)
    with torch.no_grad():
        made = export_verb(net, chosen, images, tmp_path)
        given = onnx_verbs.examples(net, chosen, [torch.cat((image, image[:1])) for image in images])
        expected = onnx_verbs.Called(net, chosen)(*given).numpy()
    assert made["difference"] < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / chosen.file)
    (three,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(chosen.takes, given)})
    assert np.abs(three - expected).max() < 1e-4
