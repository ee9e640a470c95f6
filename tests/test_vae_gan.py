"""VAE/GAN against a plain rebuild, its attribute vectors against NumPy, its shapes against the published
tables, and a whole run."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import same_tensors
from drit_toys import check_resumes, hold_still
from sklearn.datasets import load_digits
from torch import nn

from configs.load import ConfigError, validate
from dataloader.dataset import Batch, Dataset
from models.vae_gan import VAEGAN, Decoder, Discriminator, Encoder
from solvers import solver_class
from solvers.run import checkpoint
from solvers.run.folder import RunError

ATTRIBUTES = ("red", "green", "blue", "round")
EXCLUSIVE = ((0, 1, 2),)
TINY = {"base_width": 4, "hidden": 8, "latent_dim": 5}


class Coloured(Dataset):
    """scikit-learn's digits in one of three colours; 0, 6, 8 and 9 are round."""

    domains = ("digits",)
    paired = False
    attributes = ATTRIBUTES
    exclusive_attributes = EXCLUSIVE

    def __init__(self, first: int, count: int, size: tuple[int, int]):
        bundle = load_digits()
        self.pictures = torch.tensor(bundle.images[first : first + count], dtype=torch.float32) / 8 - 1
        self.digits = torch.tensor(bundle.target[first : first + count])
        self.size, self.streams = size, (count,)

    def read(self, *indices):
        (index,) = (torch.from_numpy(i) for i in indices)
        return {"pictures": self.pictures[index], "digits": self.digits[index], "colours": index % 3}

    def render(self, raw, training=False):
        grey = F.interpolate(raw["pictures"][:, None], self.size)
        colour = F.one_hot(raw["colours"], 3)
        images = torch.where(colour[:, :, None, None] > 0, grey, -torch.ones(()))
        round_ = torch.isin(raw["digits"], torch.tensor([0, 6, 8, 9], device=grey.device)).long()
        labels = dict(zip(ATTRIBUTES, (*colour.unbind(1), round_)))
        return Batch((images,), (labels,))


@pytest.fixture
def make(experiment, tmp_path):
    """A solver whose run folder is tmp_path / name."""

    def made(name="run", network=(), world=1, size=32, **training):
        training = {"max_iters": 4, "batch_size": 4, "print_freq": 2, "sample_freq": 4, **training}
        config = {
            **{key: experiment[key] for key in ("id", "device", "threads", "output_dir")},
            "model": "VAEGAN",
            "dataset": "Folders",
            "resolution": size,
            "run_dir": str(tmp_path / name),
            "network": {**TINY, **dict(network)},
            "training": training,
            "test": {"after_training": False, "adaptation": {"enabled": 0}},
        }
        config = validate(config, "toy")

        class Toy(solver_class(type(config))):
            def open_split(self, split):
                return Coloured(*((0, 50) if split == "train" else (50, 8)), config.size)

        return Toy(config)

    return made


def model(**options):
    torch.manual_seed(0)
    shape = {"exclusive": EXCLUSIVE, "base_width": 2, "hidden": 8, "latent_dim": 5, **options}
    return VAEGAN(32, ("digits",), ATTRIBUTES, torch.eye(4), **shape).eval()


# Shapes


def weights(network: nn.Module) -> list[tuple[int, ...]]:
    """The shapes of a network's weights without those of BatchNorm."""
    return [tuple(p.shape) for p in network.parameters() if p.dim() > 1]


@pytest.mark.parametrize(
    ("size", "hidden", "rows", "columns"), [(64, 2048, 8, 8), ((256, 128), 1024, 32, 16)]
)
def test_layers_have_the_sizes_of_the_published_tables(size, hidden, rows, columns):
    flat = 256 * rows * columns
    with torch.device("meta"):
        encoder, decoder = Encoder(size, 64, hidden, 0.2, 128), Decoder(size, 64, 0.2, 128)
        dis = Discriminator(size, 64, 0.2)
        made = decoder(encoder(torch.empty(2, 3, 8 * rows, 8 * columns)).mean)
        logits, features = dis(made)
    five = (5, 5)
    encoding = [(64, 3, *five), (128, 64, *five), (256, 128, *five), (hidden, flat), (256, hidden)]
    decoding = [(flat, 128), (256, 256, *five), (256, 128, *five), (128, 32, *five), (3, 32, *five)]
    judging = [(32, 3, *five), (128, 32, *five), (256, 128, *five), (256, 256, *five), (512, flat), (1, 512)]
    assert (weights(encoder), weights(decoder), weights(dis)) == (encoding, decoding, judging)
    assert made.shape == (2, 3, 8 * rows, 8 * columns)
    assert logits.shape == (2,) and features.shape == (2, 256, rows, columns)
    slopes = {layer.negative_slope for layer in encoder.modules() if isinstance(layer, nn.LeakyReLU)}
    norms = [
        sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in x.modules())
        for x in (encoder, decoder, dis)
    ]
    assert slopes == {0.2} and norms == [4, 4, 4]


def test_reconstructions_are_compared_by_the_last_convolution_before_it_is_normalised():
    dis = Discriminator(32, 4, 0.1).eval()
    for norm in (m for m in dis.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.weight)
    image = torch.randn(2, 3, 32, 32)
    logits, features = dis(image)
    layers = [m for m in dis.modules() if not list(m.children())]
    x, convolved = image, []
    for layer in layers:
        x = layer(x.flatten(1) if isinstance(layer, nn.Linear) else x)
        if isinstance(layer, nn.Conv2d):
            convolved.append(x)
    assert len(convolved) == 4
    assert torch.equal(features, convolved[-1]) and torch.equal(logits, x[:, 0])


# Gradients


@pytest.mark.parametrize("decoder_loss", ["minimax", "non_saturating"])
def test_each_players_gradients_equal_a_plain_rebuild_with_passes_of_its_own(make, float64, decoder_loss):
    """By backward from each loss of algorithm 1 in turn, with probabilities and their logarithms in place of
    logits, and the KL by PyTorch's distributions."""
    solver = make(gamma=0.03, kl_weight=0.7, decoder_loss=decoder_loss, network={"slope": 0.1})
    hold_still(solver)
    batch = solver.train_set.at(np.arange(4))
    batch = batch._replace(images=tuple(image.double() for image in batch.images))
    start = copy.deepcopy((solver.model, solver.networks["dis"]))
    torch.manual_seed(7)
    losses = solver.train_step(batch, 1)

    def rebuilt():
        (vae, dis), x = copy.deepcopy(start), batch.images[0]
        torch.manual_seed(7)
        noise, prior = torch.randn(4, 5), torch.randn(4, 5)
        q = vae.encoder(x)
        sigma = q.logvar.exp().sqrt()
        logits, features = dis(torch.cat((x, vae.decoder(torch.cat((q.mean + sigma * noise, prior))))))
        p, features = torch.sigmoid(logits), features.flatten(1)
        logs = (p[:4].log(), (1 - p[4:8]).log(), (1 - p[8:]).log())
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(normal(q.mean, sigma), normal(0.0, 1.0)).sum() / 4
        like = ((features[:4] - features[4:8]) ** 2).sum() / 8
        values = {"like": like, "kl": kl}
        values |= {name: -log.mean() for name, log in zip(("gan_real", "gan_rec", "gan_prior"), logs)}
        fooled = -(p[4:8].log().mean() + p[8:].log().mean())
        caught = sum(values[name] for name in ("gan_real", "gan_rec", "gan_prior"))
        return vae, dis, values, {"minimax": -caught, "non_saturating": fooled}[decoder_loss]

    vae, _, values, _ = rebuilt()
    (values["like"] + 0.7 * values["kl"]).backward()
    expected = [p.grad for p in vae.encoder.parameters()]
    vae, _, values, adversarial = rebuilt()
    (0.03 * values["like"] + adversarial).backward()
    expected += [p.grad for p in vae.decoder.parameters()]
    _, dis, values, _ = rebuilt()
    sum(values[name] for name in ("gan_real", "gan_rec", "gan_prior")).backward()
    expected += [p.grad for p in dis.parameters()]

    assert losses.keys() == values.keys()
    for name, value in values.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-9), name
    players = (solver.model.encoder, solver.model.decoder, solver.networks["dis"])
    mine = [p.grad for player in players for p in player.parameters()]
    assert len(mine) == len(expected)
    for gradient, wanted in zip(mine, expected):
        assert wanted.abs().max() > 0
        assert torch.allclose(gradient, wanted, rtol=1e-7, atol=1e-10)


def test_each_network_sees_one_batch_a_step(make):
    solver, seen = make(), []
    for network in (solver.model.encoder, solver.model.decoder, solver.networks["dis"]):
        network.register_forward_hook(lambda network, inputs, output: seen.append(len(inputs[0])))
    solver.train_step(solver.train_set.at(np.arange(4)), 1)
    assert seen == [4, 8, 12]


@pytest.mark.parametrize(
    ("real", "fake", "learn"),
    [
        (0.68, 0.68, ["dec", "dis"]),
        (0.32, 0.68, ["dec"]),
        (0.68, 0.32, ["dec"]),
        (0.68, 1.04, ["dis"]),
        (1.04, 0.34, ["dis"]),
        (0.32, 1.04, ["dec", "dis"]),
    ],
)
def test_who_is_far_ahead_holds_still(real, fake, learn, make):
    """Within 0.35 of 0.68 both learn; below, the discriminator is ahead, above, the decoder."""
    losses = torch.tensor(real), torch.tensor(fake)
    assert make(margin=0.35).who_learns(*losses) == learn
    assert make().who_learns(*losses) == ["dec", "dis"]


def test_a_player_that_holds_still_keeps_its_weights_and_the_others_learn(make, monkeypatch):
    solver = make(margin=0.1)
    monkeypatch.setattr(solver, "who_learns", lambda real, fake: ["dec"])
    players = {"enc": solver.model.encoder, "dec": solver.model.decoder, "dis": solver.networks["dis"]}
    before = {name: [p.clone() for p in player.parameters()] for name, player in players.items()}
    solver.train_step(solver.train_set.at(np.arange(4)), 1)
    kept = {name: same_tensors([*p.parameters()], before[name]) for name, p in players.items()}
    assert kept == {"enc": False, "dec": False, "dis": True}


def test_optimizers_are_those_that_the_config_names(make):
    assert {type(o) for o in make().optimizers.values()} == {torch.optim.RMSprop}
    assert {type(o) for o in make(optimizer="adam").optimizers.values()} == {torch.optim.Adam}
    assert make(beta2=0.8).optimizers["dis"].param_groups[0]["alpha"] == 0.8


def test_losses_are_float32_whatever_the_networks_run_in(make):
    solver = make()
    solver.precision = torch.bfloat16
    losses = solver.train_step(solver.train_set.at(np.arange(4)), 1)
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())


def test_compile_reaches_all_three_players(make, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    solver = make()
    solver.config = solver.config.model_copy(update={"compile": True})
    solver.build()
    assert compiled == [solver.model.encoder, solver.model.decoder, solver.networks["dis"]]


# Attributes


def test_attribute_vectors_are_the_means_of_numpy(make):
    solver = make(attribute_images=20)
    solver.model.train()
    solver.learn_attributes(3)
    assert solver.model.training
    index = np.linspace(0, 49, 20).astype(int)
    batch = solver.train_set.at(index)
    solver.model.eval()
    with torch.no_grad():
        z = solver.model.encoder(batch.images[0]).mean.numpy().astype(float)
    for number, name in enumerate(ATTRIBUTES):
        has = batch.labels[0][name].numpy() == 1
        assert 0 < has.sum() < 20
        assert np.allclose(solver.model.with_mean[number], z[has].mean(axis=0), atol=1e-5)
        assert np.allclose(solver.model.without_mean[number], z[~has].mean(axis=0), atol=1e-5)


def test_what_all_images_have_or_none_has_the_vector_zero():
    ours = model(exclusive=())
    has = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1]])
    ours.learn_attributes(torch.randn(3, 5), has)
    vectors = ours.with_mean - ours.without_mean
    assert [bool((vector == 0).all()) for vector in vectors] == [True, True, False, False]


def close(a, b):
    """An untrained decoder's images hold small numbers."""
    return torch.allclose(a, b, rtol=1e-3, atol=1e-8)


def with_means(**options):
    ours = model(**options)
    ours.with_mean.copy_(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)))
    ours.without_mean.copy_(torch.randn(4, 5, generator=torch.Generator().manual_seed(2)))
    return ours


@pytest.mark.parametrize("arithmetic", ["yes_minus_no", "target_minus_given"])
def test_edits_add_what_is_wanted_and_subtract_what_is_had_by_either_arithmetic(arithmetic, monkeypatch):
    """One image becomes blue from red and loses its loop, one gets a loop, one stays."""
    ours = with_means(arithmetic=arithmetic)
    have = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]])
    want = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]])
    image, asked = torch.randn(3, 3, 32, 32), []
    z = ours.encoder(image).mean
    monkeypatch.setattr(ours.decoder, "forward", lambda latent: asked.append(latent))
    ours.edit(image, 0, have, want)
    red, _, blue, loop = (ours.with_mean - ours.without_mean).numpy()
    given = red if arithmetic == "target_minus_given" else 0
    expected = z.detach().numpy() + np.stack([blue - given - loop, loop, 0 * loop])
    assert np.allclose(asked[0].detach(), expected, atol=1e-5)


def test_styles_are_read_from_the_nearest_means():
    ours = with_means()
    latents = torch.randn(30, 5)
    read = ours.read(latents)
    for latent, row in zip(latents.numpy(), read.numpy()):
        to_yes = [np.linalg.norm(latent - mean) for mean in ours.with_mean.numpy()]
        to_no = [np.linalg.norm(latent - mean) for mean in ours.without_mean.numpy()]
        colour = int(np.argmin(to_yes[:3]))
        assert row.tolist() == [*(float(colour == n) for n in range(3)), float(to_yes[3] < to_no[3])]
    assert 0 < read[:, 3].mean() < 1 and (read[:, :3].mean(dim=0) > 0).all()


def test_own_styles_change_nothing_and_others_are_edits_of_what_was_read():
    ours, image = with_means(), torch.randn(3, 3, 32, 32)
    content, style = ours.encode_content(image, 0), ours.encode_style(image, 0)
    plain = ours.decoder(ours.encoder(image).mean)
    assert close(ours.decode(content, style, 0), plain)
    assert close(ours.reconstruct(image, 0), plain)
    other = style.roll(1, dims=0)
    other[:, 3] = 1 - style[:, 3]
    assert close(ours.decode(content, other, 0), ours.edit(image, 0, style, other))
    assert not close(ours.decode(content, other, 0), plain)


def test_label_means_noise_and_draws_of_the_prior_are_decoded():
    ours, image = with_means(), torch.randn(3, 3, 32, 32)
    assert torch.equal(ours.label_means(0), ours.decoder(ours.with_mean))
    noise = torch.randn(3, 5, generator=torch.Generator().manual_seed(4))
    assert torch.equal(ours.sample_image(3, 0, torch.Generator().manual_seed(4)), ours.decoder(noise))
    q = ours.encoder(image)
    expected = ours.decoder(
        torch.distributions.Normal(q.mean, q.logvar.exp().sqrt()).mean + q.logvar.exp().sqrt() * noise
    )
    made = ours.noisy_reconstruction(image, 0, torch.Generator().manual_seed(4))
    assert torch.allclose(made, expected, atol=1e-6) and not torch.allclose(made, ours.reconstruct(image, 0))


# Runs


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a_resumed_run_is_one_that_never_stopped(optimizer, make, tmp_path):
    again = check_resumes(
        lambda name, **training: make(name, optimizer=optimizer, margin=0.2, **training), tmp_path, 2, 4
    )
    state = checkpoint.load_checkpoint(tmp_path / "straight/models/000002-checkpoint.pt")
    means = state["networks"]["vae"]["with_mean"]
    assert means.abs().max() > 0 and not torch.equal(means, again.model.with_mean)
    assert (tmp_path / "again/samples/000004/digits_to_digits.png").exists()


def test_styles_are_drawn_from_those_of_training_images(make):
    solver = make()
    drawn = solver.model.sample_style(200, 0, torch.Generator().manual_seed(0))
    batch = solver.train_set.at(np.arange(50))
    known = {tuple(int(batch.labels[0][name][i]) for name in ATTRIBUTES) for i in range(50)}
    assert {tuple(row) for row in drawn.int().tolist()} == known


def test_images_need_not_be_square(make):
    solver = make(size=[64, 32])
    losses = solver.train_step(solver.train_set.at(np.arange(4)), 1)
    assert all(loss.isfinite() for loss in losses.values())
    assert solver.model.sample_image(2, 0).shape == (2, 3, 64, 32)


def test_what_it_cannot_learn_from_is_refused_in_a_line(experiment, make, monkeypatch):
    base = {**experiment, "model": "VAEGAN", "network": {}, "training": {}}
    for change, words in (
        ({"resolution": 36}, "multiple of 8"),
        ({"training": {"batch_size": 1}}, "at least 2"),
        ({"network": {"base_width": 3}}, "multiple of 2"),
        ({"network": {"arithmetic": "plus"}}, "yes_minus_no"),
    ):
        with pytest.raises(ConfigError, match=words):
            validate({**base, **change}, "toy")
    config = validate(base, "toy")
    with pytest.raises(RunError, match="one domain"):
        solver_class(type(config))(config)
    monkeypatch.setattr("solvers.run.distributed.world", lambda: 3)
    monkeypatch.setattr("solvers.run.distributed.start", lambda device: None)
    with pytest.raises(RunError, match="batch_size 3 does not divide by 3 processes, at least 2 each"):
        make(batch_size=3).train()
