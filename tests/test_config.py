import json
import re
import subprocess
import sys
from collections import defaultdict

import pytest
from conftest import ROOT

from configs.generate import generated, write
from configs.keys import DATASETS, MODELS
from configs.keys.common import Section
from configs.load import ConfigError, load_config

SAMPLE = ROOT / "configs/iiae_mnist.json"


def refusal(path, *overrides):
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_sample_config_of_the_reference_means_what_it_says():
    config = load_config(SAMPLE)
    t = config.training
    assert (config.model, config.dataset, config.resolution, config.train) == ("IIAE", "MNIST-CDCB", 256, 1)
    assert (t.max_iters, t.batch_size, t.lr, t.beta1, t.beta2) == (50_000, 16, 2e-5, 0.9, 0.999)
    assert (t.rec_weight, t.X_kld_weight, t.S_kld_weight, t.inter_kld_weight) == (100.02, 5.02, 0.02, 5.0)
    assert (t.milestones, t.scheduler_gamma) == ([10_000, 30_000], 0.5)
    assert (t.kld_scale, t.inter_kl) == ("dataset", "reference")
    said = " ".join(config.differences())
    assert all(key in said for key in ("inter_kl", "kld_scale", "shared_code", "weight_init", "shared_trunk"))
    assert config.network.model_dump() == {
        "shared_code": "vector",
        "base_width": 32,
        "stages": None,
        "exclusive_dim": 8,
        "shared_dim": 128,
        "shared_trunk": True,
        "dropout": 0.5,
        "tied_trunk": False,
        "weight_init": "reference",
        "posterior_init": "kaiming",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.json")), ids=lambda p: p.name)
def test_every_config_is_valid_and_names_the_schema(path):
    if path.name == "schema.json":
        return
    assert json.loads(path.read_text())["$schema"] == "schema.json"
    load_config(path)


def test_what_is_made_from_the_keys_is_not_stale():
    for name, text in generated().items():
        assert (ROOT / "configs" / name).read_text() == text, (
            f"{name} is stale; run: python -m configs.generate"
        )


def test_editors_know_the_bounds_of_whole_numbers_and_of_others():
    found = json.loads((ROOT / "configs/schema.json").read_text())["$defs"]
    seed = found["IIAEConfig"]["properties"]["seed"]
    assert (seed["type"], seed["minimum"], seed["exclusiveMaximum"]) == ("integer", 0, 2**31)
    assert found["IIAETraining"]["properties"]["lr"]["exclusiveMinimum"] == 0
    assert not {"ge", "gt", "le", "lt"} & set(re.findall(r'"(\w+)":', json.dumps(found)))


def tables() -> dict[str, list[list[str]]]:
    """The rows of each table of configs/README.md, by its heading."""
    found = {}
    for part in (ROOT / "configs/README.md").read_text().split("\n## ")[1:]:
        rows = [line for line in part.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
        found[part.splitlines()[0].strip("`")] = cells[2:]
        assert len({len(row) for row in cells}) == 1  # no key's text breaks its row
    return found


def written(kind: type[Section], path: str = "Top level"):
    """(section, key) of every key below a class of keys."""
    for name, field in kind.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, Section)):
            yield path, field.alias or name
        elif name != "data":
            yield from written(field.annotation, name if path == "Top level" else f"{path}.{name}")


@pytest.mark.parametrize(("kinds", "only"), [(MODELS, None), (DATASETS, "data")], ids=("models", "data sets"))
def test_the_tables_have_every_key_once_with_its_owners_and_a_meaning(kinds, only):
    owners = defaultdict(list)
    for owner, kind in kinds.items():
        for section, key in written(kind, *[only] * bool(only)):
            owners[section, key].append(owner)
    rows = [
        ((section, row[0].strip("`")), row[1:])
        for section, table in tables().items()
        if section != "Data sets" and (section == "data") == (only == "data")
        for row in table
    ]
    assert sorted(key for key, _ in rows) == sorted(owners)
    for key, (values, default, having, meaning) in rows:
        assert values and default and meaning, key
        assert (list(kinds) if having == "all" else having.split(", ")) == owners[key], key


def test_a_row_says_values_default_and_meaning_of_each_model_where_they_differ():
    found = {(section, row[0].strip("`")): row[1:] for section, rows in tables().items() for row in rows}
    values, default, _, meaning = found["network", "attribute_dim"]
    assert values == "a whole number from 1 (DRIT, MDMM), `null` (GMVAE-DRIT)"
    assert default == "`8` (DRIT, MDMM), `null` (GMVAE-DRIT)"
    assert meaning.startswith("DRIT, MDMM: Length") and "<br>GMVAE-DRIT: The attribute is" in meaning
    assert found["training", "resume_iters"][0] == 'a whole number from 0 or `"latest"`'
    assert found["training", "beta1"][:3] == ["a number from 0 and below 1", "`0.5`", "all"]
    assert found["training", "inter_exact_iters"][0] == "a list of 2 (each a whole number from 0) or `null`"
    assert found["Top level", "id"][1] == "required"
    assert found["Data sets", "AFHQ"][1:] == ["bash download/afhq.sh v2", "`data.domains`"]


def test_nothing_is_written_when_something_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr("configs.generate.readme", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == generated()


def test_whole_numbers_may_be_written_with_an_exponent():
    config = load_config(SAMPLE, ["training.max_iters=1e6", "training.milestones=[1e3, 2.0e3]"])
    assert (config.training.max_iters, config.training.milestones) == (1_000_000, [1000, 2000])
    assert isinstance(config.training.max_iters, int)


def test_overrides_reach_every_depth_and_may_be_text_or_json():
    words = ["train=0", "training.batch_size=32", "path_to_data=/a b", "training.resume_iters=latest"]
    config = load_config(SAMPLE, words)
    assert (config.train, config.training.batch_size) == (0, 32)
    assert (config.path_to_data, config.training.resume_iters) == ("/a b", "latest")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("training.batch_szie=3", ["training.batch_szie is no key", "did you mean training.batch_size?"]),
        ("modle=3", ["modle is no key", "did you mean model?"]),
        ("zzz=1", ["zzz is no key", "known keys here: id, model, dataset"]),
        ("training.lr=fast", ['training.lr: got "fast"', "a finite number"]),
        ("training.lr=0", ["training.lr: got 0", "above 0"]),
        ("training.lr=NaN", ["training.lr: got NaN", "a finite number"]),
        ("training.max_iters=1.5", ["training.max_iters: got 1.5", "a whole number"]),
        ("training.batch_size=true", ["training.batch_size: got true", "a whole number"]),
        ("training.batch_size=1", ["training.batch_size: got 1", "at least 2"]),
        ("training.resume_iters=last", ['got "last"', 'a whole number or "latest"']),
        ("training.inter_exact_iters=[9, 5]", ["training: ", "the earlier first"]),
        ("training.inter_exact_iters=[5]", ["training.inter_exact_iters: got [5]", "at least 2 items"]),
        ('training.milestones=[1, "a"]', ["training.milestones.1", '"a"', "a whole number"]),
        ("resolution=100", ["resolution: got 100", "a power of two from 32 up"]),
        ("resolution=16", ["resolution: got 16", "from 32 to 1024, or [height, width]"]),
        ("resolution=[64]", ["resolution: got [64]", "[height, width] of such"]),
        ("resolution=[64, 96]", ["resolution: got [64, 96]", "a power of two"]),
        ("train=2", ["train: got 2", "0 or 1"]),
        ("device=gpu", ['device: got "gpu"', "cuda"]),
        ("model=iiae", ['model: got "iiae"', "did you mean IIAE?"]),
        ("dataset=MNIST", ['dataset: got "MNIST"', "MNIST-CDCB", "did you mean MNIST-M?"]),
        ("training=3", ["training: got 3", "an object"]),
        ("id=../x", ["id: got", "names a folder"]),
        ("training.restored_model_path=x", ["training.resume_iters is 0", "latest"]),
        ("load_size=286", ["load_size is no key", "a key of dataset Pairs, Edges, Folders"]),
        ("batch_size=8", ["batch_size is no key", "did you mean training.batch_size?"]),
        ('data.domains=["cat", "dog"]', ["data.domains is no key", "a key of dataset AFHQ"]),
        ("data=3", ["data: got 3", "an object"]),
        ("train", ['"train" is no override', "key=value"]),
        ("id.x=3", ['"id.x=3"', "holds no keys"]),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_key_value_and_remedy(override, parts):
    line = refusal(SAMPLE, override)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("name", "override", "parts"),
    [
        ("iiae_afhq", 'data.domains=["cat", "cow"]', ["data.domains.1", '"cow"', '"wild"']),
        ("iiae_afhq", 'data.domains=["cat", "cat"]', ["data.domains: got", "two different domains"]),
        ("iiae_afhq", "data.domain=3", ["data.domain is no key", "did you mean data.domains?"]),
        ("drit_yosemite", "data.load_size=200", ["data.load_size of at least the resolution, [216, 216]"]),
        ("iiae_mnist", "dataset=Pairs data.load_size=200", ["data.load_size of at least the resolution"]),
        ("iiae_mnist", "dataset=Pairs data.layout=half", ["data.layout", '"half"', "pair_folders"]),
        ("iiae_mnist", "dataset=Edges data.direction=BA", ["data.direction", '"BA"', "BtoA"]),
        (
            "iiae_mnist",
            "dataset=Edges data.layout=halves",
            ["no key", "a key of dataset Pairs"],
        ),
        ("drit_yosemite", "resolution=50", ["resolution: got 50", "a multiple of 4 from 32 up"]),
    ],
)
def test_the_section_data_has_the_keys_of_its_data_set(name, override, parts):
    words = override.replace(" data.", "\ndata.").split("\n")  # two keys
    line = refusal(ROOT / f"configs/{name}.json", *words)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["training.inter_exact_iters=[9, 5]"], "the earlier first, not [9, 5]"),
        (["training.inter_kld_weight=0", "training.inter_kld_weight_end=9"], "inter_kld_weight above 0"),
    ],
)
def test_a_schedule_of_the_inter_kl_that_cannot_be_is_refused(words, part):
    exact = refusal(SAMPLE, "training.inter_kl=exact", "training.inter_exact_iters=[5, 9]")
    assert "inter_kl reference" in exact
    line = refusal(SAMPLE, "training.inter_kl=reference", *words)
    assert part in line, line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        ("{}", "model is missing"),
        ("[1]", "must hold a JSON object {...}, not a list"),
        ("3", "not a number"),
        ('{"id": 1,}', "not valid JSON"),
        ('{"id": "a", "id": "b"}', '"id" stands there twice'),
        ('{"model": "IIAE", "dataset": "Digits-CDCB"}', "id is missing"),
        ('{"model": "IIAE"}', "dataset is missing; allowed: Digits-CDCB, MNIST-CDCB"),
        ('{"model": ["IIAE"]}', 'model: got ["IIAE"]'),
        ('{"extends": "itself.json"}', "leads back to itself"),
        ('{"extends": 3}', "extends: got 3"),
    ],
)
def test_a_file_that_is_no_config_is_refused_in_one_line(tmp_path, text, part):
    path = tmp_path / "itself.json"
    path.write_text(text)
    line = refusal(path)
    assert part in line
    assert str(path) in line


def test_a_missing_config_names_the_nearest_one(tmp_path):
    (tmp_path / "iiae_digits.json").write_text("{}")
    assert "did you mean iiae_digits.json?" in refusal(tmp_path / "iae_digits.json")


def test_several_faults_are_all_named():
    line = refusal(SAMPLE, "seed=-1", "training.lr=x", "training.beta1=2")
    assert all(key in line for key in ("seed", "training.lr", "training.beta1"))


def test_a_config_may_extend_another_and_say_only_what_differs(tmp_path):
    base = json.loads(SAMPLE.read_text())
    (tmp_path / "base.json").write_text(json.dumps(base))
    (tmp_path / "child.json").write_text('{"extends": "base.json", "id": "c", "training": {"lr": 0.5}}')
    config = load_config(tmp_path / "child.json")
    assert (config.id, config.training.lr, config.training.batch_size) == ("c", 0.5, 16)


def test_help_names_models_and_data_sets_without_loading_torch():
    code = "import sys, main; status = main.main(['--help']); sys.exit(status or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("usage:", "IIAE", "MNIST-CDCB", "Digits-CDCB"))
