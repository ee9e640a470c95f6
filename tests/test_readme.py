"""README: it is short, its links lead somewhere, it says what the program does, and each of its commands runs
in a copy of the project, from loopback downloads to finished runs, with sizes cut down."""

import gzip
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attribute_folders import as_celeba
from conftest import ROOT, noise
from download_server import md5, serving
from test_preprocess_mnist import write_idx
from test_unpack import environment, zip_of

import main
from configs.keys import DATASETS, MODELS
from configs.load import load_config
from solvers.commands import COMMANDS
from solvers.commands.words import parse
from solvers.evaluation.family import families
from solvers.visualization import grids, interpolation, pictures

README = (ROOT / "README.md").read_text()
FAMILIES = (ROOT / "solvers/evaluation/README.md").read_text()
PAGES = ("README.md", "configs/README.md", "benchmarks/README.md", "solvers/evaluation/README.md")
PROGRAMS = ("bash ", "python ", "pip ", "torchrun ", "./")

# Commands that are run elsewhere: the file that does so, and the words in it by which it does.
ELSEWHERE = {
    "./run_tests.sh": (".ci/run", "exec ./run_tests.sh"),
    "torchrun --nproc-per-node=4 main.py configs/iiae_digits.json": (
        "tests/test_resume.py",
        "def test_two_processes_train_what_one_trains(",
    ),
    "python main.py check configs/drit_yosemite.json path_to_data=data/mine": (
        "tests/test_check.py",
        "def test_it_says_what_is_there_and_what_a_run_takes_and_leaves_nothing(",
    ),
    "python main.py translate runs/mine photos --from x --to y --random 5 --output made": (
        "tests/test_translate.py",
        "def test_the_test_split_gives_the_pictures_of_the_grids(",
    ),
    "python main.py compare runs/mine runs/other --output compared": (
        "tests/test_compare.py",
        "def test_seeds_are_gathered_and_differences_said(",
    ),
    "python main.py export runs/mine --output exported": (
        "tests/test_export.py",
        "def test_the_weights_are_the_checkpoints(",
    ),
}

# What stands for .venv/bin/python: main.py's words are printed, to be run here; of toy cars there are four.
STAND_IN = """#!/bin/bash
case "$1" in
  -c) exit 0 ;;
  */main.py | main.py) printf '%s\\n' "${@:2}" && exit ;;
  */toy_cars.py) set -- "$@" --cars 4 --size 16 ;;
  */preprocess_cars.py) set -- "$@" --test-from 3 ;;
esac
exec "$REAL_PYTHON" "$@"
"""

CUTS = {
    "device": "cpu",
    "threads": 1,
    "training.max_iters": 2,
    "training.batch_size": 2,
    "training.print_freq": 1,
    "training.sample_freq": 2,
    "training.model_save_freq": 1,
    "test.batch_size": 64,
    "test.adaptation.iterations": 2,
    "test.adaptation.images": 20,
}
CUTS_OF = {  # more of them, by model
    "IIAE": {"network.base_width": 4, "network.shared_dim": 8},
    "DRIT": {"network.attribute_dim": 3},
    "MDMM": {"network.attribute_dim": 3},
    "GMVAE-DRIT": {"network.gaussian_size": 3, "training.mixture_start": 1},
    "pix2pix": {"network.base_width": 2, "network.dis_width": 2},
    "CycleGAN": {"network.base_width": 2, "network.dis_width": 2, "network.residual_blocks": 1},
    "BicycleGAN": {"network.base_width": 2, "network.enc_width": 2, "network.dis_width": 2},
    "UNIT": {"network.base_width": 2, "network.dis_width": 2, "network.residual_blocks": 1},
    "StarGAN": {"network.base_width": 2, "network.dis_width": 2, "network.residual_blocks": 1},
    "VAEGAN": {"network.base_width": 2, "network.hidden": 4},
}
NARROW = {"network.base_width": 2, "network.dis_width": 2, "network.residual_blocks": 1}
SMALL_PICTURES = (  # of the noise that untrained models make, which is slow to write
    (interpolation, "STEPS", 2),
    (interpolation, "FRAMES", 2),
    (grids, "SMALLEST", 32),
    (pictures, "ROWS", 2),
)


def blocks(kind: str) -> list[str]:
    """README's code blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The words of each command of a block."""
    return [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]


def rows(heading: str, text: str = README) -> list[list[str]]:
    """The cells of the table below a heading of a page, without its first row."""
    part = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_it_is_read_to_its_end():
    assert len(README.encode()) < 10_000


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_figure_is_there(page):
    text = (ROOT / page).read_text()
    targets = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert targets or page == "configs/README.md"
    for path, _, heading in (target.partition("#") for target in targets):
        there = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert there.exists() and there.is_relative_to(ROOT), path
        if heading:
            assert heading in [anchor(line) for line in there.read_text().splitlines() if line[:1] == "#"]


def anchor(heading: str) -> str:
    """What GitHub calls a heading in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_every_figure_is_shown_somewhere():
    texts = "".join((ROOT / page).read_text() for page in PAGES)
    assert not [path.name for path in (ROOT / "imgs").iterdir() if f"imgs/{path.name})" not in texts]


def test_commands_stand_in_blocks_where_they_are_run():
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL))
    assert not [span for span in spans if span.startswith(PROGRAMS)]
    assert set(re.findall(r"^```(\w*)$", README, re.MULTILINE)) == {"bash", "python", ""}


def test_the_table_of_numbers_has_every_family_once_below_its_question():
    found, question = [], ""
    for asked, name, *_ in rows("Families", FAMILIES):
        question = asked or question
        found.append((name.strip("`"), question))
    assert sorted(found) == sorted((name, family.question) for name, family in families().items())


def test_every_model_and_every_config_of_a_result_is_named():
    assert all(f"({name})" in README or name in README.split() or f"`{name}`" in README for name in MODELS)
    assert all((ROOT / f"configs/{config.strip('`')}.json").is_file() for config, *_ in rows("Results"))
    for name in DATASETS:
        assert name in (ROOT / "configs/README.md").read_text()


# The commands


def photographs(folder: Path, domains: str) -> Path:
    """trainA, testA ... of photograph-shaped noise."""
    for number, domain in enumerate(domains):
        for split in ("train", "test"):
            (folder / f"{split}{domain}").mkdir(parents=True)
            for index in range(2):
                picture = noise(10 * number + index, 60, 44)
                picture.save(folder / f"{split}{domain}" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path) -> Iterator[Path]:
    """A copy of the project that downloads small sets from a server here, with folders of pictures of one's
    own."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("configs", "dataloader", "download"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_train.sh", "requirements.txt"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    with (folder / "requirements.txt").open() as file:
        checksum = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout
    (folder / ".venv/requirements.sum").write_text(checksum)
    photographs(folder / "data/mine", "AB")
    photographs(folder / "data/multi", "ABC")
    as_celeba(folder / "FOLDER", (218, 178))
    (folder / "data/Digits-CDCB").symlink_to(digits_folder)
    with serving() as server:
        served = offer_mnist(server, folder)
        offer_archives(server, folder)
        for script in (folder / "download").glob("*.sh"):
            text = re.sub(r"https?://[^/\s)\"]+/", server.url(), script.read_text())
            for published, ours in served.items():
                text = text.replace(published, ours)
            script.write_text(text)
        yield folder


def offer_mnist(server, folder: Path) -> dict[str, str]:
    """Serve MNIST's files with few digits; gives the published checksums and those of ours."""
    text = (folder / "download/common.sh").read_text()
    names = re.search(r"MNIST_NAMES=\(([^)]*)\)", text)[1].split()
    sums = re.findall(r"^  ([0-9a-f]{32}:[0-9a-f]{32})$", text, re.MULTILINE)
    assert len(names) == len(sums) == 4
    ours = {}
    for name, published in zip(names, sums):
        content = (write_idx_once(folder) / name).read_bytes()
        packed = gzip.compress(content)
        server.serve(f"cvdf-datasets/mnist/{name}.gz", packed)
        ours[published] = f"{md5(packed)}:{md5(content)}"
    return ours


def write_idx_once(folder: Path) -> Path:
    idx = folder / "idx"
    return idx if idx.exists() else write_idx(idx)


def offer_archives(server, folder: Path) -> None:
    """Serve the archives of unpaired pictures that README fetches."""
    files = photographs(folder / "served", "AB")
    members = [(path.relative_to(files), path.read_bytes()) for path in sorted(files.rglob("*.png"))]
    for name in re.findall(r"download/cyclegan\.sh (\w+)", README):
        archive = zip_of(folder / f"{name}.zip", *((f"{name}/{path}", content) for path, content in members))
        for place in ("cyclegan/datasets", "hylee/DRIT/datasets"):
            server.serve(f"{place}/{name}.zip", archive.read_bytes())
    for name in re.findall(r"download/pix2pix\.sh (\w+)", README):
        for split in ("train", "val", "test"):
            (folder / "halves" / split).mkdir(parents=True)
            noise(3, 80, 40).save(folder / "halves" / split / "1.jpg")
        with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(folder / "halves", name)
        server.serve(f"pix2pix/datasets/{name}.tar.gz", (folder / f"{name}.tar.gz").read_bytes())


def said(project: Path, *words: str) -> str:
    """What a command of the copy says, its Python being the stand-in."""
    python = str(project / ".venv/bin/python")
    settings = {**environment(), "PYTHON": python, "REAL_PYTHON": sys.executable}
    settings.pop("PYTHONPATH", None)
    done = subprocess.run(words, cwd=project, env=settings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cut(words: list[str]) -> list[str]:
    """main.py's words with small sizes; iterations that are named become the first."""
    words = [re.sub(r"resume_iters=\d+", "resume_iters=1", word) for word in words]
    config = load_config(words[0], words[1:])
    drit = config.model in ("DRIT", "MDMM", "GMVAE-DRIT")
    cuts = {**CUTS, **CUTS_OF[config.model], **(NARROW if drit else {})}
    if words != ["configs/iiae_digits.json"]:  # which alone takes all numbers in test mode
        cuts["test.metrics"] = '["reconstruction"]'
    if config.training.resume_iters:
        cuts |= {"training.max_iters": 3, "training.sample_freq": 3}
    if config.resolution == [144, 192]:  # the same proportions, a quarter of the size
        cuts |= {"resolution": [36, 48], "data.load_size": [40, 52]}
    else:
        cuts |= {"resolution": 32} | (
            {"data.load_size": 36} if config.dataset in ("Folders", "Pairs") else {}
        )
    return [*words, *(f"{key}={value}" for key, value in cuts.items())]


def run_main(words: list[str], capsys: pytest.CaptureFixture) -> None:
    """Train or test in this process; a run that is whole is left."""
    before = set(Path("runs").glob("*/results/metrics.json"))
    small = cut(words)
    config = load_config(small[0], small[1:])
    assert main.main(small) == 0, capsys.readouterr().err
    if not config.run_dir:
        (made,) = set(Path("runs").glob("*/results/metrics.json")) - before
    else:
        made = Path(config.run_dir) / "results/metrics.json"
    last = config.training.max_iters if config.train else 3
    left = README.partition("## What a run leaves")[2].partition("Test mode")[0]
    names = re.findall(r"`([\w./]+)`", left.replace("`run_dir`", ""))
    assert len(names) > 6
    for name in (*names, f"samples/{last:06d}", f"models/{last:06d}-checkpoint.pt"):
        assert (made.parents[1] / name).exists(), name


def run_command(words: list[str], project: Path, capsys: pytest.CaptureFixture) -> None:
    """Run a command of README, as far as it can be here. Fails where it is not known how."""
    match words:
        case _ if (line := shlex.join(words)) in ELSEWHERE:
            file, by = ELSEWHERE[line]
            assert by in (ROOT / file).read_text()
            if words[2:3] and words[2] in COMMANDS:
                parse(words[2], words[3:])
            elif "main.py" in words:
                load_config(words[words.index("main.py") + 1])
        case ["./run_train.sh", *rest]:
            run_main(said(project, "./run_train.sh", *rest).splitlines(), capsys)
        case ["python", "main.py", *rest]:
            run_main(rest, capsys)
        case ["python", "-m", "configs.generate"]:
            for name in ("schema.json", "README.md"):
                (project / "configs" / name).unlink()
            said(project, sys.executable, *words[1:])
            for name in ("schema.json", "README.md"):
                assert (project / "configs" / name).read_text() == (ROOT / "configs" / name).read_text()
        case ["bash", script, *_] if script.startswith("download/"):
            assert "Train on it: ./run_train.sh" in said(project, *words)
            assert "there already" in said(project, *words)
        case _:
            pytest.fail(f"README has a command that no test runs: {shlex.join(words)}")


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.splitlines()[0].split("  ")[0])
def test_every_command_of_a_block_runs_in_its_order(block, project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    for module, name, small in SMALL_PICTURES:
        monkeypatch.setattr(module, name, small)
    for words in commands(block):
        run_command(words, project, capsys)


def test_a_command_that_is_not_known_fails(project, capsys):
    for words in (["rm", "-r", "runs"], ["python", "other.py"], ["bash", "other.sh"]):
        with pytest.raises(pytest.fail.Exception, match="no test runs"):
            run_command(words, project, capsys)
