"""Whatever a config file or a word on the command line holds, the loader gives a config or one line."""

import json
from pathlib import Path

import pytest
from conftest import FUZZ, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.keys import DATASETS, MODELS, Config, config_class
from configs.load import ConfigError, load_config, read_json

SECTIONS = ("training", "network", "test", "data")
HARD = (
    1e308,
    -1e308,
    10**18,
    -(10**18),
    1e16,
    0,
    -1,
    2**63,
    "",
    "~",
    "~/x",
    "\0",
    "\ud800",
    "a" * 300,
    [],
    {},
)
unruly = settings(
    max_examples=100 * FUZZ, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.sampled_from(HARD)
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9), inner)),
    max_leaves=12,
)


def known_keys() -> list[str]:
    """Every key of every model and data set, dotted."""
    found: set[str] = set()
    for model in MODELS:
        for name, field in config_class(model, next(iter(DATASETS))).model_fields.items():
            found.add(field.alias or name)
            inner = getattr(field.annotation, "model_fields", {})
            found |= {f"{name}.{one.alias or key}" for key, one in inner.items()}
    found |= {f"data.{key}" for data in DATASETS.values() for key in data.model_fields}
    return sorted(found)


KEYS = known_keys()
some_config = st.sampled_from(sorted((ROOT / "configs").glob("*_*.json")))


def outcome(path: Path, words: list[str]) -> Config | str:
    """The config, or the line that is printed in its place."""
    try:
        config = load_config(path, words)
    except ConfigError as error:
        line = str(error)
        assert line and "\n" not in line and len(line) <= 400
        line.encode()  # it can be printed
        return line
    json.dumps(config.model_dump(mode="json")).encode()
    assert "\0" not in str(config.run_dir) + config.output_dir + config.data_folder
    return config


@unruly
@given(base=some_config, changes=st.dictionaries(st.sampled_from(KEYS), trees, min_size=1, max_size=4))
def test_known_keys_with_any_values(base, changes, tmp_path_factory):
    values = read_json(base)
    for key, value in changes.items():
        *section, last = key.split(".")
        place = values.setdefault(section[0], {}) if section else values
        if isinstance(place, dict):
            place[last] = value
    path = tmp_path_factory.mktemp("fuzz") / "c.json"
    path.write_text(json.dumps(values))
    outcome(path, [])


@unruly
@given(
    base=some_config, words=st.lists(st.text(max_size=50), max_size=3), key=st.sampled_from(KEYS), value=trees
)
def test_any_words_on_the_command_line(base, words, key, value):
    outcome(base, [*words, f"{key}={json.dumps(value)}"])
    outcome(base, [f"{key}={value}"])


@unruly
@given(content=st.one_of(st.binary(max_size=200), trees.map(lambda tree: json.dumps(tree).encode())))
def test_any_file(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "c.json"
    path.write_bytes(content)
    outcome(path, [])


WELL = {"id": "a", "model": "IIAE", "dataset": "Digits-CDCB"}


@pytest.mark.parametrize(
    "text, part",
    [
        ("[" * 5000 + "]" * 5000, "deep"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "deep"),
        ('{"a":' * 100 + "1" + "}" * 100, "deep"),
        ('{"seed": ' + "9" * 4400 + "}", "digits"),
        (json.dumps({**WELL, "seed": 10**300}), "15 digits"),
        (json.dumps({**WELL, "id": "\ud800"}), "half a character"),
        (json.dumps({**WELL, "\ud800": 1}), "half a character"),
        (json.dumps({**WELL, "run_dir": "a\0b"}), "NUL"),
        (json.dumps({**WELL, "run_dir": ""}), "run_dir"),
        (json.dumps({**WELL, "output_dir": "x" * 300}), "255 bytes"),
        (json.dumps({**WELL, "id": "\U0001f600" * 90}), "200 bytes"),
        (json.dumps({**WELL, "threads": 1e5}), "at most 1024"),
        (json.dumps({**WELL, "training": {"scheduler_gamma": 1e308}}), "at most 10"),
        (json.dumps({**WELL, "training": {"milestones": list(range(200))}}), "milestones"),
        (json.dumps({**WELL, "extends": "a\0b"}), "NUL"),
        (json.dumps({**WELL, "extends": "x" * 300}), "cannot be read"),
        (json.dumps({**WELL, "x" * 5000: 1}), "no key"),
        (json.dumps({**WELL, **{f"key{n}": n for n in range(2000)}}), "no key"),
    ],
)
def test_what_no_config_should_hold_is_named(text, part, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(text)
    line = outcome(path, [])
    assert isinstance(line, str) and part in line


@pytest.mark.parametrize("key", ["a." * 2000 + "b", "training." * 30 + "lr", "..", "training.", "\ud800"])
def test_a_key_that_cannot_be_is_refused(key):
    assert isinstance(outcome(ROOT / "configs/iiae_digits.json", [f"{key}=1"]), str)


def test_configs_that_extend_each_other_in_a_circle_or_without_end_are_refused(tmp_path):
    for number in range(1500):
        (tmp_path / f"{number}.json").write_text(json.dumps({"extends": f"{number + 1}.json"}))
    assert "more than 20 files" in outcome(tmp_path / "0.json", [])
    (tmp_path / "2.json").write_text(json.dumps({"extends": "0.json"}))
    assert "leads back to itself" in outcome(tmp_path / "0.json", [])
    (tmp_path / "link.json").symlink_to("link.json")
    assert "cannot be read" in outcome(tmp_path / "link.json", [])


def test_a_tilde_is_the_home_folder_and_needs_no_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(ROOT / "configs/iiae_digits.json", ["run_dir=~/a", "path_to_data=~/b"])
    assert (config.run_dir, config.path_to_data) == (f"{tmp_path}/a", f"{tmp_path}/b")
    monkeypatch.delenv("HOME")
    assert isinstance(outcome(ROOT / "configs/iiae_digits.json", ["run_dir=~nobody-of-this-name/a"]), Config)
