"""The saved configs of runs that are older than some keys: what these runs did is what their configs say."""

import pytest

from stata_jax import config
from stata_jax.train import reuse
from stata_jax.train.metrics import write_json

FORMER = [("cifar10_dvs", "data.split", "number"), ("digits", "align.intra_tokens", "slots")]


def save_without(folder, settings, key):
    """Leaves the config that a program without a key would have left, and the sign of a result."""
    values = settings.to_dict()
    group, name = key.split(".")
    del values[group][name]
    write_json(folder / "config.json", values)
    (folder / "summary.json").touch()


@pytest.mark.parametrize(
    ("name", "key", "former"),
    [
        *FORMER,
        ("dvs128_gesture", "data.split", "published"),  # there is but one split
        ("imagenet:spikformer", "data.test_crop", 0.875),
        ("cifar100:spikformer", "augment.randaugment_operations", "fifteen"),
        ("digits", "train.recompute", False),
    ],
)
def test_a_key_that_a_saved_config_lacks_says_what_the_run_did(name, key, former, tmp_path):
    settings = config.load(name)
    save_without(tmp_path, settings, key)
    old = reuse.read_settings(tmp_path)
    assert old == config.apply_overrides(settings, {key: former})
    config.check(old)


@pytest.mark.parametrize(("name", "key", "former"), FORMER)
def test_what_a_saved_config_says_counts(name, key, former):
    for value in (config.load(name)[key], former):
        saved = config.load(name, {key: value})
        assert config.from_json(config.to_json(saved)) == saved


@pytest.mark.parametrize(("name", "key", "former"), FORMER)
def test_an_older_run_goes_on_as_it_was_and_not_otherwise(name, key, former, tmp_path):
    settings = config.load(name)
    save_without(tmp_path, settings, key)
    reuse.check_continues(tmp_path, config.apply_overrides(settings, {key: former}))
    with pytest.raises(config.ConfigError, match=f"holds a run with {key}={former}, not {settings[key]}"):
        reuse.check_continues(tmp_path, settings)
