"""Configs from files, overrides and JSON: what is accepted, and that a mistake is a ConfigError of one sentence."""

import pathlib
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from stata_jax import config

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMON = ROOT / "configs" / "common.py"

VARIANTS = """
from configs import common

def get_config(variant="sparse"):
    config = common.get_config()
    config.name = "mine"
    if variant not in ("sparse", "dense"):
        raise ValueError(f"unknown variant {variant!r}: use sparse or dense")
    config.sparsity.keep_rate = 1.0 if variant == "dense" else 0.3
    return config
"""

OWN_COMMON = """
from stata_jax.configs import common

def get_config():
    config = common.get_config()
    config.seed = 77
    return config
"""


@pytest.fixture
def base() -> ConfigDict:
    return config.load(COMMON)


@pytest.fixture
def write(tmp_path):
    """Writes a config file in a folder that is not the repository's, and returns its path."""

    def write(text, name="mine.py"):
        path = tmp_path / "elsewhere" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_load_common():
    loaded = config.load(str(COMMON))
    assert loaded.is_locked and loaded.model.dim == 384 and loaded.sparsity.prune_at is None


@pytest.mark.parametrize(("suffix", "keep_rate"), [("", 0.3), (":sparse", 0.3), (":dense", 1.0)])
def test_load_variant_from_any_folder(write, tmp_path, monkeypatch, suffix, keep_rate):
    path = write(VARIANTS)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path), {name for name in sys.modules if name.startswith("configs")}
    assert config.load(path + suffix).sparsity.keep_rate == keep_rate
    assert before == (list(sys.path), {name for name in sys.modules if name.startswith("configs")})


def test_load_sees_the_common_beside_the_file(tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "common.py").write_text(OWN_COMMON)
    (folder / "mine.py").write_text(VARIANTS)
    assert config.load(folder / "mine.py").seed == 77
    assert config.load(COMMON).seed == 0


def test_load_with_overrides(write):
    loaded = config.load(write(VARIANTS), {"model.depth": 8, "sparsity.prune_at": (2, 5)})
    assert loaded.model.depth == 8 and loaded.sparsity.prune_at == (2, 5)


def test_load_a_file_with_a_colon_in_its_name(write):
    assert config.load(write(VARIANTS, name="a:b.py")).name == "mine"


@pytest.mark.parametrize(
    ("text", "suffix", "said"),
    [
        (VARIANTS, ":tiny", "unknown variant 'tiny': use sparse or dense"),
        (VARIANTS.replace('="sparse"', ""), "", "needs a variant"),
        (VARIANTS.replace('variant="sparse"', "").replace("variant", "1"), ":dense", "has no variants"),
        ("def get_config(:\n", "", "line 1: invalid syntax"),
        ("\nimport no_such_module\n", "", "line 2: ModuleNotFoundError"),
        ("x = 1\n", "", "does not define get_config"),
        ("get_config = lambda: {}\n", "", "returns a dict, not a ConfigDict"),
        (VARIANTS.replace(".keep_rate", ".keeprate"), "", "line 9: AttributeError"),
        (VARIANTS.replace('"mine"', "3"), "", "line 6: TypeError"),
    ],
)
def test_load_says_what_is_wrong_with_a_file(write, text, suffix, said):
    path = write(text)
    with pytest.raises(config.ConfigError) as caught:
        config.load(path + suffix)
    assert said in str(caught.value) and path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["no/such/file.py", "no/such/file.py:dense", str(ROOT)])
def test_load_of_what_is_no_file(path):
    with pytest.raises(config.ConfigError, match="cannot be read"):
        config.load(path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model.tau", 3, 3.0),
        ("model.depth", np.int64(6), 6),
        ("model.tau", np.float32(2.5), 2.5),
        ("sparsity.anchor", False, False),
        ("name", "x", "x"),
        ("sparsity.prune_at", [2, 5], (2, 5)),
        ("sparsity.prune_at", (np.int32(1),), (1,)),
        ("sparsity.prune_at", None, None),
    ],
)
def test_override(base, key, value, expected):
    changed = config.apply_overrides(base, {key: value})
    assert changed[key] == expected and type(changed[key]) is type(expected)
    assert changed.is_locked and base == config.load(COMMON)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model.depth", 2.0, "a whole number"),
        ("model.depth", "2", "a whole number"),
        ("model.depth", True, "a whole number"),
        ("model.depth", None, "a whole number"),
        ("model.tau", "2.0", "a number"),
        ("model.tau", True, "a number"),
        ("sparsity.anchor", 1, "true or false"),
        ("name", 3, "a string"),
        ("data.mean", ("a",), "numbers"),
        ("sparsity.prune_at", (True,), "numbers"),
        ("sparsity.prune_at", 2, "numbers"),
    ],
)
def test_override_of_the_wrong_type(base, key, value, expected):
    with pytest.raises(config.ConfigError) as caught:
        config.apply_overrides(base, {key: value})
    assert str(caught.value).startswith(f"{key} is {value!r}, but it must be {expected}")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sparsity.keeprate", "did you mean sparsity.keep_rate"),
        ("sparsty.keep_rate", "did you mean sparsity.keep_rate"),
        ("keep_rate", "did you mean sparsity.keep_rate"),
        ("eval.qqq", "the keys there are eval.batch_size, eval.every_epochs"),
        ("seed.qqq", "the keys there are"),
        ("", "the keys there are"),
        ("model", "is a group of keys"),
        ("data.digits", "data.digits.clutter"),
    ],
)
def test_override_of_an_unknown_key(base, key, said):
    with pytest.raises(config.ConfigError) as caught:
        config.apply_overrides(base, {key: 1})
    assert key in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("model.depth=8", 8),
        ("model.tau=3", 3.0),
        ("train.learning_rate=1e-3", 1e-3),
        ("sparsity.anchor=False", False),
        ("sparsity.anchor=1", True),
        ("name=a=b", "a=b"),
        ("name=3", "3"),
        ("model.pooling=0011", "0011"),
        ("sparsity.prune_at=(2, 5)", (2, 5)),
        ("sparsity.prune_at=2,5", (2, 5)),
        ("sparsity.prune_at=[2]", (2,)),
        ("sparsity.prune_at=2", (2,)),
        ("sparsity.prune_at=()", ()),
        ("data.mean=(0.5,1)", (0.5, 1)),
        ("data.mean=0.5", (0.5,)),
        ("sparsity.prune_at=None", None),
    ],
)
def test_parse(base, flag, expected):
    parsed = config.parse_overrides(base, [f"--config.{flag}"])
    value = parsed[flag.partition("=")[0]]
    assert parsed.keys() == {flag.partition("=")[0]} and value == expected and type(value) is type(expected)


@given(st.lists(st.integers()), st.floats(allow_nan=False), st.integers())
def test_parse_inverts_str(positions, number, whole):
    base = config.load(COMMON)
    values = {"sparsity.prune_at": tuple(positions), "model.tau": number, "model.depth": whole}
    assert config.parse_overrides(base, [f"--config.{key}={value}" for key, value in values.items()]) == values


def test_parse_takes_the_last_of_two(base):
    assert config.parse_overrides(base, ["--config.seed=1", "--config.seed=2"]) == {"seed": 2}


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--config.model.depth=2.0", "model.depth is '2.0', but it must be a whole number"),
        ("--config.model.depth=", "model.depth is ''"),
        ("--config.model.tau=fast", "model.tau is 'fast', but it must be a number"),
        ("--config.sparsity.anchor=yes", "sparsity.anchor is 'yes', but it must be true or false"),
        ("--config.sparsity.prune_at=two", "sparsity.prune_at is 'two'"),
        ("--config.sparsity.prune_at=2,x", "sparsity.prune_at is '2,x'"),
        ("--config.sparsity.prune_at=(2", "sparsity.prune_at is '(2'"),
        ("--config.sparsity.prune_at=", "sparsity.prune_at is ''"),
        ("--config.sparsity.keeprate=1", "did you mean sparsity.keep_rate"),
        ("--config.model.depth", "is not an override"),
        ("--depth=3", "is not an override"),
    ],
)
def test_parse_says_what_is_wrong(base, flag, said):
    with pytest.raises(config.ConfigError) as caught:
        config.parse_overrides(base, [flag])
    assert said in str(caught.value)


def test_json_round_trip(base):
    changed = config.apply_overrides(base, {"sparsity.prune_at": (1, 3), "model.tau": 3, "name": "é"})
    again = config.from_json(config.to_json(changed))
    assert again == changed and again.is_locked
    assert again.sparsity.prune_at == (1, 3) and type(again.model.tau) is float
    assert again.align.intra_at is None and again.align.get_type("intra_at") is tuple
    assert config.to_json(again) == config.to_json(changed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"model": {"dept": 3}}', "did you mean model.depth"),
        ('{"model": {"depth": 3.5}}', "model.depth is 3.5"),
        ('{"model": 3}', "is a group of keys"),
    ],
)
def test_json_says_what_is_wrong(text, said):
    with pytest.raises(config.ConfigError) as caught:
        config.from_json(text)
    assert said in str(caught.value)


def test_workdir_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = config.prepare_workdir("a/b")
    assert made == tmp_path / "a" / "b" and made.is_dir() and not list(made.iterdir())
    assert config.prepare_workdir(made) == made


@pytest.mark.parametrize("tail", ["", "/below"])
def test_workdir_that_cannot_be_written(tmp_path, tail):
    (tmp_path / "file").write_text("")
    with pytest.raises(config.ConfigError, match="cannot be written") as caught:
        config.prepare_workdir(f"{tmp_path / 'file'}{tail}")
    assert str(tmp_path / "file") in str(caught.value)


def test_workdir_without_a_name():
    with pytest.raises(config.ConfigError, match="empty"):
        config.prepare_workdir("")
