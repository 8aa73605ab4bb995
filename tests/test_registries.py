"""What can be chosen by name: every name leads to something, one may add names, and a wrong one is refused at once."""

import subprocess
import sys

import pytest

from stata_jax import config, registries
from stata_jax.configs import common
from stata_jax.data.augment import randaugment
from stata_jax.registries import Registry, Sources


@pytest.mark.parametrize("name", ["FAMILIES", "METRICS", "SOURCES", "AUGMENTATIONS"])
def test_every_name_leads_to_something(name):
    registry = getattr(registries, name)
    assert all(callable(entry) for entry in registry.values())


def test_randaugment_has_the_sets_that_can_be_chosen():
    assert tuple(randaugment.SETS) == registries.RANDAUGMENTS


def test_an_object_is_found_by_name_and_by_place():
    registry = Registry({"join": "os.path:join"})
    registry.register("dumps", "json:dumps")
    registry.register("own", len)
    assert list(registry) == ["join", "dumps", "own"] and registry["own"] is len
    assert registry["dumps"]([1]) == "[1]" and registry["json:loads"]("[1]") == [1]
    assert "json:loads" not in registry and registry.is_possible("json:loads")
    with pytest.raises(KeyError):
        registry["other"]
    with pytest.raises(config.ConfigError, match=r"there is no 'doesnt_exist' in the module json, .*json"):
        registry["json:doesnt_exist"]


def test_a_name_is_not_given_twice():
    registry = Registry({"join": "os.path:join"})
    registry.register("join", "os.path:join")  # the same again, as where a config file is read twice
    with pytest.raises(ValueError, match="there is another 'join' already"):
        registry.register("join", "os.path:split")


@pytest.mark.parametrize(
    "value", ["no_such_module:x", "json:", ":dumps", "no_such.deeper:x", "a b:x", "other", 3, None]
)
def test_what_leads_nowhere_is_not_possible(value):
    assert not Registry({"join": "os.path:join"}).is_possible(value)


def test_a_source_says_what_it_has(tmp_path, monkeypatch):
    (tmp_path / "my_recordings.py").write_text("def camera(options): ...\n\ncamera.kind = 'recordings'\nstill = len\n")
    monkeypatch.syspath_prepend(tmp_path)
    sources = Sources({"pictures": {"photos": len}})
    sources.register("films", len, kind="recordings")
    sources.register("stamps", len)
    kinds = {"photos": "pictures", "films": "recordings", "stamps": "images", "none": "none"}
    kinds |= {"my_recordings:camera": "recordings", "my_recordings:still": "images"}
    assert {name: sources.kind(name) for name in kinds} == kinds


@pytest.mark.parametrize("key", ["model.family", "data.source", "sparsity.metric"])
def test_a_config_takes_what_is_elsewhere_and_refuses_what_is_nowhere(key):
    config.check(config.apply_overrides(common.get_config(), {key: "json:dumps"}))
    with pytest.raises(config.ConfigError, match=f"{key} is 'no_such_module:x', but it must be one of "):
        config.check(config.apply_overrides(common.get_config(), {key: "no_such_module:x"}))


def test_a_registered_name_is_among_those_that_are_named(monkeypatch):
    monkeypatch.setattr(registries.METRICS, "_entries", dict(registries.METRICS._entries))
    registries.METRICS.register("entropy", "json:dumps")
    config.check(config.apply_overrides(common.get_config(), {"sparsity.metric": "entropy"}))
    with pytest.raises(config.ConfigError, match=r"must be one of anchor, .*entropy, or module:object$"):
        config.check(config.apply_overrides(common.get_config(), {"sparsity.metric": "entrpy"}))


def test_names_are_known_without_jax():
    script = "import sys; from stata_jax import registries; print('jax' in sys.modules, *registries.FAMILIES)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "spikformer", "spikingformer", "sdt"]
