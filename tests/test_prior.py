"""test.prior: random styles of a mixture that is fitted to the styles of training images."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import write_config
from fakes import Shades, three_domains
from looking import left_out, view_of
from PIL import Image
from processes import in_processes
from scipy.stats import multivariate_normal
from test_colour_modes import Painter
from test_golden_losses import solver_of

import main
from configs.load import load_config, validate
from dataloader.colour_modes import open_colour_modes
from solvers import make_solver
from solvers.evaluation import prior
from solvers.evaluation.density import Mixture, fit_mixture
from solvers.evaluation.evaluate import evaluate
from solvers.evaluation.prior import check_prior, fit_or_read, read_prior, with_mixtures, with_prior
from solvers.run import distributed
from solvers.run.folder import RunError, RunFolder
from solvers.visualization.grids import to_uint8

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[5.0, -3.0], [-4.0, 6.0], [0.5, 0.0]])
COVARIANCES = np.array([[[1.0, 0.9], [0.9, 1.0]], [[0.2, 0.0], [0.0, 3.0]], [[0.5, -0.3], [-0.3, 0.4]]])


def drawn(count, seed):
    """Of that mixture, by NumPy."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, count, p=WEIGHTS)
    return np.stack([rng.multivariate_normal(MEANS[kind], COVARIANCES[kind]) for kind in kinds])


def likelihood(codes, weights, means, covariances):
    """The mean log density, by SciPy."""
    parts = [w * multivariate_normal(m, c).pdf(codes) for w, m, c in zip(weights, means, covariances)]
    return np.log(np.sum(parts, axis=0)).mean()


def covariances_of(mixture):
    return mixture.factors @ mixture.factors.swapaxes(1, 2)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_mixture_that_is_known_is_found_with_its_number_of_components(scale):
    found = fit_mixture(scale * drawn(1500, 0), (2, 1, 1), None, 0)
    order = [int(np.linalg.norm(found.means / scale - mean, axis=1).argmin()) for mean in MEANS]
    assert sorted(order) == [0, 1, 2] and found.shape == (2, 1, 1)
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[order] == pytest.approx(WEIGHTS, abs=0.03)
    assert found.means[order] / scale == pytest.approx(MEANS, abs=0.15)
    assert covariances_of(found)[order] / scale**2 == pytest.approx(COVARIANCES, abs=0.25)
    fresh = drawn(2000, 1)
    best = likelihood(fresh, WEIGHTS, MEANS, COVARIANCES)
    mine = likelihood(fresh, found.weights, found.means / scale, covariances_of(found) / scale**2)
    assert best - mine == pytest.approx(0, abs=0.02)
    codes = drawn(1500, 0)
    criteria = {}  # of the fits by another number of components, as Schwarz has it
    for number in (1, 2, 3, 4, 5):
        fit = fit_mixture(codes, (2,), number, 0)
        free = number - 1 + 2 * number + 3 * number
        densities = likelihood(codes, fit.weights, fit.means, covariances_of(fit))
        criteria[number] = free * np.log(1500) - 2 * 1500 * densities
    assert min(criteria, key=criteria.get) == len(found.weights)
    one = fit_mixture(scale * drawn(1500, 0), (2,), 1, 0)
    assert covariances_of(one)[0] == pytest.approx(np.cov((scale * drawn(1500, 0)).T), rel=1e-2)


def test_draws_have_the_moments_of_the_mixture_and_are_the_generators():
    mixture = Mixture(WEIGHTS, MEANS, np.linalg.cholesky(COVARIANCES), (2, 1, 1))
    styles = mixture.sample(20_000, torch.Generator().manual_seed(0))
    assert styles.shape == (20_000, 2, 1, 1) and styles.dtype == torch.float32
    mean = WEIGHTS @ MEANS
    apart = MEANS - mean
    covariance = np.einsum("k,kij->ij", WEIGHTS, COVARIANCES + apart[:, :, None] * apart[:, None])
    codes = styles.flatten(1).double().numpy()
    assert codes.mean(axis=0) == pytest.approx(mean, abs=0.1)
    assert np.cov(codes.T) == pytest.approx(covariance, abs=0.5)
    truth = likelihood(drawn(20_000, 2), WEIGHTS, MEANS, COVARIANCES)
    assert likelihood(codes, WEIGHTS, MEANS, COVARIANCES) == pytest.approx(truth, abs=0.03)
    torch.rand(3)
    again = mixture.sample(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(styles, again)
    assert not torch.equal(styles, mixture.sample(20_000, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("count", [2, 5, 200])
def test_codes_that_are_all_alike_or_few_give_finite_styles_near_them(count):
    alike = fit_mixture(np.full((count, 3), 7.0), (3,), None, 0)
    assert len(alike.weights) == 1
    assert alike.sample(50).numpy() == pytest.approx(7, abs=0.02)
    flat = np.random.default_rng(0).normal(size=(count, 1)) * [0.0, 4.0]  # the first value never changes
    styles = fit_mixture(flat, (2,), None, 0).sample(100, torch.Generator().manual_seed(0)).numpy()
    assert np.isfinite(styles).all() and np.abs(styles[:, 0]).max() < 0.05 and styles[:, 1].std() > 0.1
    wide = np.random.default_rng(1).normal(
        size=(60, 59)
    )  # halves of which lie in planes, as likely as can be
    assert len(fit_mixture(wide, (59,), None, 0).weights) == 1
    several = fit_mixture(np.repeat([[0.0], [9.0]], count, axis=0), (1,), None, 0)
    styles = several.sample(100, torch.Generator().manual_seed(0)).numpy()
    assert np.minimum(np.abs(styles), np.abs(styles - 9)).max() < 0.1


class Dull(Painter):
    """Paints in the colours of real images where it is told them, [B, 3, 1, 1], and by itself in grey."""

    def __init__(self, dataset):
        super().__init__(dataset, [1.0])

    def encode_style(self, image, domain):
        return ((image + 1) / 2).amax(dim=(2, 3), keepdim=True)

    def sample_style(self, count, domain, generator=None, component=None):
        assert component is None or 0 <= component < 3
        return torch.rand(count, 1, 1, 1, generator=generator).expand(-1, 3, 1, 1)

    def decode(self, content, style, domain):
        return (content + 1) * style.float() - 1


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """The splits train and test."""
    folder = tmp_path_factory.mktemp("modes") / "Colour-Modes"
    return tuple(open_colour_modes(folder, split, 32) for split in ("train", "test"))


def coloured_view(coloured, **settings):
    train, test = coloured
    return view_of(Dull(test), test, 128, **{"metrics": ["modes"], "open_train": lambda: train, **settings})


def test_where_the_models_own_prior_is_wrong_the_fitted_one_has_the_modes_of_real_images(
    coloured, tmp_path, monkeypatch
):
    monkeypatch.setattr("solvers.evaluation.evaluate.save_pictures", lambda *_: None)
    run, found = RunFolder(tmp_path), {}
    run.results.mkdir()
    for kind in ("model", "fitted"):
        evaluate(coloured_view(coloured, prior=kind, prior_images=300), run, 1)
        found[kind] = json.loads((run.results / "metrics.json").read_text())
        assert (run.results / "prior.npz").exists() == (kind == "fitted")
    of = "white_to_coloured"
    assert found["model"][f"modes/none/{of}"] == 1
    assert found["fitted"][f"modes/none/{of}"] < 0.02 and found["fitted"][f"modes/covered/{of}"] == 5
    assert found["fitted"][f"modes/distance/{of}"] < 0.08
    said = found["fitted"]["protocol"]["prior"]
    assert said["which"] == "fitted" and said["components"]["coloured"] >= 5
    assert said["numbers"] == [f"modes/{kind}/{of}" for kind in ("covered", "distance", "none")]
    assert found["model"]["protocol"]["prior"] == {"which": "model", "numbers": said["numbers"]}
    mixture = read_prior(run.results / "prior.npz")[0][1]
    codes = coloured_codes(coloured[0], 300)
    assert mixture.means.shape[1] == 3 and mixture.shape == (3, 1, 1)
    assert mixture.weights @ mixture.means == pytest.approx(codes.mean(axis=0), abs=1e-6)  # as EM leaves it


def coloured_codes(train, count):
    """What Dull encodes, of the images that are spread evenly, by NumPy."""
    index = np.linspace(0, train.streams[1] - 1, count).astype(int)
    images = train.at(np.zeros(1, int), index).images[1].numpy().astype(float)
    return (images.max(axis=(2, 3)) + 1) / 2


def test_a_fit_is_kept_and_made_anew_where_something_that_decides_it_changes(coloured, tmp_path, monkeypatch):
    path, fits = tmp_path / "prior.npz", []
    fit = prior.fit_mixture
    monkeypatch.setattr(prior, "fit_mixture", lambda *given: fits.append(given) or fit(*given))
    few = {"prior": "fitted", "prior_images": 60, "prior_components": 2}

    def fitted(count, **settings):
        """The file after one more look, which takes `count` fits."""
        fits.clear()
        view = coloured_view(coloured, **{**few, **settings})
        for change in settings.get("metrics", [])[1:]:
            torch.nn.init.constant_(view.model.weight, float(change))
        fit_or_read(view, path)
        assert len(fits) == count
        return path.read_bytes()

    first = fitted(2)  # of both domains
    assert fitted(0) == first
    assert fitted(2, seed=1) != first and fitted(2) == first
    assert fitted(2, prior_components=3) != first and fitted(2) == first
    assert fitted(2, prior_images=50) != first and fitted(2) == first
    assert fitted(2, metrics=["modes", "0.5"]) != first and fitted(2) == first  # other weights
    darker = coloured[0].pictures
    monkeypatch.setattr(coloured[0], "pictures", (darker[0] // 2, darker[1]))
    assert fitted(2) != first
    monkeypatch.undo()
    monkeypatch.setattr(prior, "fit_mixture", lambda *given: fits.append(given) or fit(*given))
    fitted(2)
    for damage in (b"", first[:500], b"no file of NumPy's"):
        path.write_bytes(damage)
        assert fitted(2) == first
    path.unlink()
    monkeypatch.setattr(np, "savez", lambda file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_or_read(coloured_view(coloured, **few), path)
    assert list(tmp_path.iterdir()) == []


def test_all_processes_draw_from_one_fit_and_the_split_has_the_same_numbers(tmp_path, coloured):
    def work(rank):
        view = coloured_view(coloured, prior="fitted", prior_images=60, prior_components=3)
        view = replace(view, share=(rank, distributed.world()), seed=0)
        if rank:
            view.open_train = lambda: 1 / 0  # the first alone reads
        torch.manual_seed(rank + distributed.world())  # what else is drawn has no say
        view = with_prior(view, RunFolder(tmp_path / f"run of {distributed.world()}"))
        return view.random_styles(1, 3, 2), view.random_style_of(np.arange(5), 0)

    (alone,), (first, second) = (in_processes(n, work, tmp_path / str(n)) for n in (1, 2))
    for mine, *others in zip(alone, first, second):
        assert mine.std() > 0 and all(torch.equal(mine, other) for other in others)


def test_a_model_that_encodes_styles_and_has_no_prior_gets_one():
    class NoPrior(Shades):
        has_style_prior, missing = False, {"has_style_prior": "no prior"}

        def sample_style(self, count, domain, generator=None):
            raise AssertionError

    data = three_domains()
    bare = NoPrior(data.domains).eval()
    assert "diversity" in left_out(bare, data, open_train=lambda: data)
    mixtures = {d: Mixture(np.ones(1), np.full((1, 2), d), 0.1 * np.eye(2)[None], (1, 2)) for d in range(3)}
    model = with_mixtures(bare, mixtures)
    assert "diversity" not in left_out(model, data, open_train=lambda: data)
    assert model.missing == {} and bare.missing and not bare.has_style_prior
    styles = model.sample_style(100, 2, torch.Generator().manual_seed(0))
    assert styles.shape == (100, 1, 2) and styles.mean() == pytest.approx(2, abs=0.05)
    assert model.weight is bare.weight and isinstance(model, NoPrior)


def test_components_that_are_asked_for_by_number_stay_the_models_own(coloured):
    model = Dull(coloured[1])
    mixtures = dict.fromkeys((0, 1), Mixture(np.ones(1), np.full((1, 3), 9.0), np.eye(3)[None], (3, 1, 1)))
    made = with_mixtures(model, mixtures)
    own, fitted = (made.sample_style(4, 1, torch.Generator(), component=c).max() for c in (1, None))
    assert own <= 1 < fitted


# --- Through the program


@pytest.fixture(scope="module")
def fitted_run(finished_run, tmp_path_factory):
    """A finished run of IIAE, tested with a fitted prior, and its twin with the model's own."""
    folder = tmp_path_factory.mktemp("prior")
    families = "test.metrics=" + json.dumps(["reconstruction", "diversity"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("solvers.evaluation.evaluate.save_pictures", lambda *_: None)
        for kind in ("model", "fitted"):
            shutil.copytree(finished_run, folder / kind)
            keys = ["train=0", f"test.prior={kind}", "test.prior_images=60", families]
            config = load_config(finished_run / "config.json", [*keys, f"run_dir={folder / kind}"])
            make_solver(config).test()
    return folder / "fitted"


def call(capsys, *words):
    status = main.main([str(word) for word in words])
    return status, capsys.readouterr().err


def test_pages_cards_and_comparisons_say_which_prior(fitted_run, capsys, tmp_path):
    twin = fitted_run.with_name("model")
    numbers = [json.loads((run / "results/metrics.json").read_text()) for run in (twin, fitted_run)]
    same = [name for name in numbers[0] if numbers[0][name] == numbers[1][name]]
    assert "reconstruction/l1/x" in same and "diversity/l1/real_x" in same
    assert numbers[1]["protocol"]["prior"]["numbers"] == ["diversity/l1/x_to_y", "diversity/l1/y_to_x"]
    assert not {*same} & {*numbers[1]["protocol"]["prior"]["numbers"]}
    for run, words in ((twin, "the model&#39;s own"), (fitted_run, "Gaussians, by BIC, from 1 to 20: ")):
        page = (run / "index.html").read_text()
        assert words in page and f"random styles: {run.name} prior" in page
    assert call(capsys, "compare", twin, fitted_run, "--output", tmp_path / "compared")[0] == 0
    table = (tmp_path / "compared/compare.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    assert rows["test.prior"].endswith('| "model" | "fitted" |')  # as tested, a column each
    marked = {name for name, line in rows.items() if "†" in line}
    assert marked == {r"diversity/l1/x\_to\_y", r"diversity/l1/y\_to\_x"}
    assert "prior of random styles: fitted to styles of at most 60" in table
    card = ("export", fitted_run, "--format", "safetensors", "--output", tmp_path / "made")
    assert call(capsys, *card)[0] == 0
    assert "prior of random styles: fitted to styles" in (tmp_path / "made/README.md").read_text()


def test_translate_draws_from_the_prior_that_test_mode_kept(fitted_run, capsys, tmp_path):
    solver = make_solver(load_config(fitted_run / "config.json", ["train=0"]))
    solver.load(fitted_run, "latest", training=False)
    model = solver.model.eval()
    picture = to_uint8(solver.test_set.at(np.arange(1)).images[0][0])
    Image.fromarray(picture).save(tmp_path / "a.png")
    words = ("translate", tmp_path / "run", tmp_path / "a.png", "--from", "x", "--to", "y", "--random", 2)
    file = dict(np.load(fitted_run / "results/prior.npz"))
    file["means_1"] += 30  # where styles change pictures, of a model as little trained
    file["factors_1"] *= 30 / np.abs(file["factors_1"]).max()
    fitted_run = shutil.copytree(fitted_run, tmp_path / "run")
    np.savez(fitted_run / "results/prior.npz", **file)
    assert call(capsys, *words, "--prior", "fitted", "--output", tmp_path / "made")[0] == 0
    assert call(capsys, *words, "--output", tmp_path / "own")[0] == 0
    generator = torch.Generator().manual_seed(0)
    weights, means, factors = (torch.from_numpy(file[f"{of}_1"]) for of in ("weights", "means", "factors"))
    kinds = torch.multinomial(weights, 2, True, generator=generator)
    noise = torch.randn(2, means.shape[1], generator=generator, dtype=torch.float64)
    styles = torch.stack([means[k] + factors[k] @ n for k, n in zip(kinds, noise)]).float()
    image = torch.from_numpy(picture).movedim(2, 0)[None].float() / 127.5 - 1
    with torch.no_grad():
        content = model.encode_content(image, 0)
        for number, style in enumerate(styles, 1):
            right = to_uint8(model.decode(content, style[None], 1)[0]).astype(int)
            made, own = (np.asarray(Image.open(tmp_path / f"{of}/a_{number}.png")) for of in ("made", "own"))
            assert np.abs(right - made).max() <= 1 and np.abs(right - own).max() > 1


def test_translate_without_a_fit_or_beside_a_picture_of_a_style_is_refused(fitted_run, capsys, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    way, made = ("--from", "x", "--to", "y"), tmp_path / "made"
    rest = (tmp_path / "a.png", *way, "--prior", "fitted", "--output", made)
    twin = fitted_run.with_name("model")
    status, line = call(capsys, "translate", twin, *rest)
    assert status == 2 and line.count("\n") == 1
    assert f"main.py {twin}/config.json train=0 test.prior=fitted run_dir={twin}" in line
    other = shutil.copytree(twin, tmp_path / "other")
    shutil.copy(fitted_run / "results/prior.npz", other / "results")
    assert call(capsys, "translate", other, *rest)[0] == 0  # the weights are the same
    for path in other.glob("models/*"):
        path.unlink()
    shutil.copy(fitted_run / "models/000005-checkpoint.pt", other / "models")
    status, line = call(capsys, "translate", other, *rest, "--force")
    assert status == 2 and "none was fitted to this checkpoint" in line
    status, line = call(capsys, "translate", fitted_run, *rest, "--force", "--style", tmp_path / "a.png")
    assert status == 2 and "--prior goes with --random" in line


def test_what_cannot_be_fitted_is_refused_before_training(experiment, digits_folder, tmp_path, capsys):
    bare = {key: value for key, value in experiment.items() if key != "network"}
    bare["test"] = {**bare["test"], "prior": "fitted"}
    path = write_config({**bare, "model": "pix2pix"}, tmp_path / "c.json")
    status, line = call(capsys, path)
    assert status == 2 and line.count("\n") == 1
    assert "the model encodes no styles of images" in line and "set test.prior=model" in line
    bare["test"] |= {"prior_images": 30, "prior_components": 31}
    status, line = call(capsys, write_config({**bare, "network": {"base_width": 4}}, tmp_path / "c.json"))
    assert status == 2 and "got 31; allowed: at most 30" in line
    assert not (tmp_path / "runs").exists()
    settings = validate(bare, "c").test
    with pytest.raises(RunError, match="known attributes"):
        check_prior(settings, solver_of("VAEGAN", digits_folder).model)
