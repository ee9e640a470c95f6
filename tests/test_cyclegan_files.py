"""The files of CycleGAN's authors: made by a plain network in their layout, read, and compared."""

import json
from pathlib import Path

import pytest
import torch
from conftest import restored, same_tensors
from drit_toys import toy_batch
from test_cyclegan import make  # noqa: F401  (a fixture)
from torch import nn

from models.discriminators import Patches
from models.unet import UNet
from solvers.run.checkpoint import CheckpointError

WIDTH, BLOCKS = 3, 2
NETWORK = {"base_width": WIDTH, "residual_blocks": BLOCKS}
TESTED = {"metrics": ["reconstruction"]}


class Block(nn.Module):
    def __init__(self, channels: int, **norm):
        super().__init__()
        pad, conv = nn.ReflectionPad2d, nn.Conv2d
        self.conv_block = nn.Sequential(
            *(pad(1), conv(channels, channels, 3), nn.InstanceNorm2d(channels, **norm), nn.ReLU()),
            *(pad(1), conv(channels, channels, 3), nn.InstanceNorm2d(channels, **norm)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class Published(nn.Module):
    """The layout of the public resnet generators, layer after layer."""

    def __init__(self, **norm):
        super().__init__()
        w, double = WIDTH, {"stride": 2, "padding": 1, "output_padding": 1}
        self.model = nn.Sequential(
            *(nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), nn.InstanceNorm2d(w, **norm), nn.ReLU()),
            *(nn.Conv2d(w, 2 * w, 3, 2, 1), nn.InstanceNorm2d(2 * w, **norm), nn.ReLU()),
            *(nn.Conv2d(2 * w, 4 * w, 3, 2, 1), nn.InstanceNorm2d(4 * w, **norm), nn.ReLU()),
            *(Block(4 * w, **norm) for _ in range(BLOCKS)),
            *(nn.ConvTranspose2d(4 * w, 2 * w, 3, **double), nn.InstanceNorm2d(2 * w, **norm), nn.ReLU()),
            *(nn.ConvTranspose2d(2 * w, w, 3, **double), nn.InstanceNorm2d(w, **norm), nn.ReLU()),
            *(nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh()),
        )


def write_files(folder: Path, *names: str, prefix: str = "", **norm) -> dict[str, nn.Module]:
    """latest_NAME.pth of networks with weights of their own; the networks."""
    folder.mkdir(exist_ok=True)
    made = {}
    for number, name in enumerate(names):
        torch.manual_seed(number)
        network = Patches(32, width=4, norm="instance") if "_D" in name else Published(**norm)
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        state = {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}
        torch.save(state, folder / f"latest_{name}.pth", _use_new_zipfile_serialization=not prefix)
        made[name] = network
    return made


BOTH = ("net_G_A", "net_G_B")
ALL = (*BOTH, "net_D_A", "net_D_B")


def check_translates(solver, generators: dict[tuple[int, int], nn.Module]) -> None:
    assert solver.model.directions == tuple(generators)
    images = toy_batch(solver, 3).images
    for (source, target), network in generators.items():
        with torch.no_grad():
            made = solver.model.eval().translate(images[source], source, target)
            plain = network.model(images[source])
        assert plain.std() > 0.05 and (made - plain).abs().max() < 1e-6


@pytest.mark.parametrize(("named", "age"), [("folder", "new"), ("file", "old")])
def test_the_authors_files_make_the_images_of_a_plain_network(make, tmp_path, named, age):  # noqa: F811
    """Old files have DataParallel's prefix and running statistics of InstanceNorm, which nothing read."""
    old = {"prefix": "module.", "track_running_stats": True} if age == "old" else {}
    made = write_files(tmp_path / "theirs", *BOTH, **old)
    path = tmp_path / "theirs" / ("" if named == "folder" else "latest_net_G_B.pth")
    solver = make("tested", train=0, test=TESTED | {"test_path": str(path)}, network=NETWORK)
    solver.test()
    results = tmp_path / "tested/results"
    assert json.loads((results / "metrics.json").read_text())["iteration"] == 0
    assert sorted(picture.name for picture in results.glob("*.png")) == ["x_to_y.png", "y_to_x.png"]
    for network in made.values():
        network.train()  # in which InstanceNorm takes each image's own statistics
    check_translates(solver, {(0, 1): made["net_G_A"], (1, 0): made["net_G_B"]})


@pytest.mark.parametrize(
    ("name", "file", "way"),
    [
        ("net_G", "latest_net_G.pth", (0, 1)),
        ("net_G", "horse2zebra.pth", (0, 1)),
        ("net_G_A", "latest_net_G_A.pth", (0, 1)),
        ("net_G_B", "200_net_G_B.pth", (1, 0)),
    ],
)
def test_a_generator_alone_translates_one_way(make, tmp_path, name, file, way):  # noqa: F811
    made = write_files(tmp_path / "theirs", name)
    path = (tmp_path / f"theirs/latest_{name}.pth").rename(tmp_path / "theirs" / file)
    solver = make("tested", train=0, test=TESTED | {"test_path": str(path)}, network=NETWORK)
    solver.test()
    there = "x_to_y" if way == (0, 1) else "y_to_x"
    results = tmp_path / "tested/results"
    assert [picture.name for picture in results.glob("*.png")] == [f"{there}.png"]
    numbers = [
        n for n in json.loads((results / "metrics.json").read_text()) if n.startswith("translation/l1")
    ]
    assert numbers == [f"translation/l1/{there}"]
    check_translates(solver, {way: made[name]})
    with pytest.raises(ValueError, match=f"no generator that makes images of {'xy'[way[0]]}"):
        solver.model.translate(toy_batch(solver).images[way[1]], way[1], way[0])


@pytest.mark.parametrize("names", [ALL, BOTH, (*BOTH, "net_D_B")])
def test_training_goes_on_from_the_authors_files(make, tmp_path, capsys, names):  # noqa: F811
    """With what is there; the others, the pools and the optimisers begin anew."""
    made = write_files(tmp_path / "theirs", *names)
    source = {"resume_iters": "latest", "restored_model_path": str(tmp_path / "theirs")}
    solver = make("on", training=source, network=NETWORK)
    before = {name: {k: t.clone() for k, t in n.state_dict().items()} for name, n in solver.networks.items()}
    assert restored(solver) == 0
    for name, network in solver.networks.items():
        wanted = dict(made[name].state_dict()) if name in made else before[name]
        assert same_tensors(dict(network.state_dict()), wanted), name
    assert not any(optimizer.state_dict()["state"] for optimizer in solver.optimizers.values())
    said = capsys.readouterr().out
    assert [name for name in ALL if f"there is no {name} beside" in said] == [
        n for n in ALL if n not in names
    ]
    solver.train()
    assert (tmp_path / "on/models/000004-checkpoint.pt").exists()


def test_wrong_files_are_refused_in_one_line(make, tmp_path):  # noqa: F811
    folder = tmp_path / "theirs"

    def refused(match: str, train: int = 0, **network) -> None:
        source = {"resume_iters": "latest", "restored_model_path": str(folder)} if train else {}
        test = {"test_path": str(folder)}
        solver = make(train=train, training=source, test=test, network={**NETWORK, **network})
        with pytest.raises(CheckpointError, match=match):
            (solver.train if train else solver.test)()

    write_files(folder, "net_D_A", "net_D_B")
    refused("no checkpoint of this program")
    write_files(folder, "net_G_A")
    refused("training needs net_G_A and net_G_B", train=1)
    write_files(folder, *ALL)
    refused("does not fit the config's resolution and network", residual_blocks=3)
    refused("does not fit the config's resolution and network", train=1, dis_width=5)
    (folder / "latest_net_G_B.pth").write_bytes(b"nonsense")
    refused("truncated or damaged")
    for path in folder.iterdir():
        path.unlink()
    torch.save(UNet(32, 4).state_dict(), folder / "latest_net_G.pth")  # pix2pix's
    refused("does not fit the config's resolution and network")
