"""Runs of StarGAN, by attributes and by domains, and its authors' files."""

import json

import numpy as np
import pytest
import torch
from attribute_toys import attribute_solver, domain_solver, three_kinds
from conftest import restored, same_tensors
from drit_toys import check_resumes, toy_batch
from fakes import digits_m
from looking import numbers
from test_golden_losses import machine, read_golden
from test_stargan import plain_generator

from dataloader.domains import attribute_vectors
from models.stargan import Discriminator, Generator
from solvers.run.checkpoint import CheckpointError
from solvers.run.folder import RunError
from solvers.stargan import KNOWN


@pytest.mark.parametrize("kind", ["attributes", "domains"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_goes_on_between_two_steps_of_the_generator_as_if_it_had_never_stopped(kind, precision, tmp_path):
    def make(name: str, **training):
        options = {"run_dir": str(tmp_path / name), "precision": precision, "training": training}
        if kind == "domains":
            return domain_solver(three_kinds, **options)
        return attribute_solver("StarGAN", **options)

    again = check_resumes(make, tmp_path, stopped=7, end=10)
    if kind == "attributes":
        assert torch.equal(again.model.known, make("third").model.known)


def test_a_checkpoint_holds_the_known_attributes_of_training(tmp_path):
    solver = attribute_solver("StarGAN", run_dir=str(tmp_path / "run"))
    known = {tuple(row) for row in solver.model.known.tolist()}
    labels = solver.train_set.at(np.arange(12)).labels[0]
    assert known == {tuple(row) for row in attribute_vectors(labels, solver.model.attributes).tolist()}
    assert len(solver.model.known) == KNOWN
    solver.train()
    tested = attribute_solver("StarGAN", train=0, run_dir=str(tmp_path / "run"))
    assert not torch.equal(tested.model.known, solver.model.known)  # of the test images, until it is loaded
    tested.load(tmp_path / "run", "latest", training=False)
    assert torch.equal(tested.model.known, solver.model.known)


def test_it_learns_to_change_the_background(tmp_path):
    """On any machine as far as so short a training gets: where the other background is asked for, pictures
    asked to be light are lighter than those asked to be dark. Copies would be darker by more than 1. On the
    kind of processor where its rounding is known every picture has what was asked."""
    training = {"max_iters": 240, "n_critic": 2, "lr": 3e-3, "batch_size": 6}
    solver = attribute_solver("StarGAN", run_dir=str(tmp_path), training=training, network={"base_width": 8})
    solver.train()
    model, batch = solver.model.eval(), toy_batch(solver, 10)
    x, have = batch.images[0], attribute_vectors(batch.labels[0], model.attributes)
    want = torch.cat((have[:, :3].roll(1, 1), 1 - have[:, 3:]), 1)
    with torch.no_grad():
        made = model.edit(x, 0, have, want)
        behind = made[:, :, 0].mean((1, 2))
    light, behind_x = want[:, 3] > 0, x[:, :, 0].mean((1, 2))
    assert behind_x[light].mean() - behind_x[~light].mean() < -1
    assert behind[light].mean() - behind[~light].mean() > 0.1
    if read_golden()[0] == machine():
        assert ((behind > -0.2) == light).all()


def test_several_domains_are_trained_and_measured_as_those_of_any_model(tmp_path):
    parts = {"train": (0, 60), "test": (60, 100)}
    cuts = {"extractors": ["classifier"], "adaptation": {"iterations": 2, "images": 20}}
    training = {"sample_freq": 4}
    solver = domain_solver(
        lambda split: digits_m(*parts[split]),
        tmp_path,
        training=training,
        test={"after_training": True, **cuts},
    )
    solver.train()
    found = json.loads((tmp_path / "results/metrics.json").read_text())
    ways = {f"{a}_to_{b}" for a in ("mnist", "mnist_m") for b in ("mnist", "mnist_m")}
    for start in ("translation/digit", "kid/classifier"):
        assert {f"{start}/{way}" for way in ways} <= found.keys()
    assert {"reconstruction/l1/mnist", "adaptation/x1"} <= found.keys()
    for folder in ("results", "samples/000004"):
        assert {path.stem for path in (tmp_path / folder).glob("*.png")} == ways


def test_data_without_attributes_and_without_domains_are_refused(monkeypatch):
    monkeypatch.setattr("attribute_toys.Inks.attributes", ())
    with pytest.raises(RunError, match="one domain without attributes") as error:
        attribute_solver("StarGAN")
    assert "\n" not in str(error.value)


# The authors' files


def write_files(folder, attributes: int = 4, age: str = "200000", judge: bool = True) -> dict[str, dict]:
    """G and D as the authors' code saves them: a bare state_dict each, G's with the running statistics of
    its norms, which are far from any image's."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    networks = {"G": Generator(attributes, 4, 1), "D": Discriminator(32, attributes, 4)}
    states = {}
    for name, network in networks.items():
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        states[name] = network.state_dict()
    saved = dict(states["G"])
    for name, module in networks["G"].named_modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            saved[f"{name}.running_mean"] = torch.full((module.num_features,), 30.0)
            saved[f"{name}.running_var"] = torch.full((module.num_features,), 9.0)
            saved[f"{name}.num_batches_tracked"] = torch.tensor(200_000)
    torch.save(saved, folder / f"{age}-G.pth")
    if judge:
        torch.save(states["D"], folder / f"{age}-D.pth")
    return states


@pytest.mark.parametrize("named", ["folder", "file", "other name"])
def test_the_authors_generator_makes_the_images_of_a_plain_one(tmp_path, named):
    states = write_files(tmp_path / "theirs", judge=named != "other name")
    path = tmp_path / "theirs"
    if named != "folder":
        path = path / "200000-G.pth"
    if named == "other name":
        path = path.rename(tmp_path / "faces.pth")
    solver = attribute_solver("StarGAN", train=0)
    assert solver.load(path, "latest", training=False) == 0
    x, want = toy_batch(solver, 3).images[0], torch.tensor([[0.0, 1, 0, 1]] * 3)
    weights = {name: tensor.double() for name, tensor in states["G"].items()}
    plain = plain_generator(weights, x.double(), want.double(), 1)
    with torch.no_grad():
        made = solver.model.eval().edit(x, 0, want, want)
    assert plain.std() > 0.05 and (made - plain).abs().max() < 1e-4
    assert solver.model.has_style == (named != "other name")


def test_of_the_generator_alone_no_styles_are_read(tmp_path):
    write_files(tmp_path / "theirs", judge=False)
    solver = attribute_solver("StarGAN", train=0, run_dir=str(tmp_path / "run"))
    solver.load(tmp_path / "theirs", "latest", training=False)
    model = solver.model
    assert not model.has_style and model.has_style_prior and "no D beside G" in model.missing["has_style"]
    assert not model.rebuilds(0)
    assert not any("reconstruction" in name for name in numbers(model, solver.test_set, "diversity"))


def test_training_goes_on_from_the_authors_files_with_new_optimisers(tmp_path, capsys):
    states = write_files(tmp_path / "theirs", age="9")
    states = write_files(tmp_path / "theirs", age="10")
    broken = {name: tensor + 1 for name, tensor in states["G"].items()}
    torch.save(broken, tmp_path / "theirs/9-G.pth")  # an older one, which is not taken
    source = {"resume_iters": "latest", "restored_model_path": str(tmp_path / "theirs")}
    solver = attribute_solver("StarGAN", training=source, run_dir=str(tmp_path / "on"))
    known = solver.model.known.clone()
    assert restored(solver) == 0
    for name in "GD":
        assert same_tensors(dict(getattr(solver.model, name).state_dict()), dict(states[name]))
        assert not solver.optimizers[name].state_dict()["state"]
    assert torch.equal(solver.model.known, known)
    solver.train()
    assert (tmp_path / "on/models/000004-checkpoint.pt").exists()
    (tmp_path / "theirs/10-D.pth").unlink()
    restored(attribute_solver("StarGAN", training=source, run_dir=str(tmp_path / "alone")))
    assert "no D beside G" in capsys.readouterr().out


def test_wrong_files_are_refused_in_one_line(tmp_path):
    write_files(tmp_path / "five", attributes=5)
    with pytest.raises(CheckpointError, match="does not fit the config's resolution and network"):
        attribute_solver("StarGAN", train=0).load(tmp_path / "five", "latest", training=False)
    (tmp_path / "five/200000-G.pth").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint of this program"):
        attribute_solver("StarGAN", train=0).load(tmp_path / "five", "latest", training=False)
