"""The options that the config checks allow are those that the code knows."""

from stata_jax import build_data, config_rules
from stata_jax.data import events
from stata_jax.models import registry, transformer
from stata_jax.sparsity import alignment, maps, scores, select
from stata_jax.training import losses


def test_allowed_options_are_the_known_ones():
    assert set(config_rules.METRICS) == set(scores.METRICS)
    assert set(config_rules.SLOTS) == set(select.SLOTS)
    assert set(config_rules.POOLS) == set(transformer.POOLS)
    assert set(config_rules.MATCHES) == set(maps.MATCHES)
    assert set(config_rules.DISTANCES) == set(alignment.DISTANCES)
    assert set(config_rules.FAMILIES) == set(registry.FAMILIES)
    assert set(config_rules.NEURONS) == set(transformer.NEURONS)
    assert set(config_rules.LOSSES) == set(losses.CLASSIFICATION)
    assert set(config_rules.FRAMES) == set(events.FRAMES)
    assert set(config_rules.SOURCES) == {*build_data._OPENERS, "none"}
