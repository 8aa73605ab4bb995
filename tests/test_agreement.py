"""The options that the config checks allow are those that the code knows."""

from stata_jax import build_data
from stata_jax.config import rules
from stata_jax.data import events
from stata_jax.models import registry, transformer
from stata_jax.pruning import align, maps, metrics, select
from stata_jax.train import losses


def test_allowed_options_are_the_known_ones():
    assert set(rules.METRICS) == set(metrics.METRICS)
    assert set(rules.SLOTS) == set(select.SLOTS)
    assert set(rules.POOLS) == set(transformer.POOLS)
    assert set(rules.MATCHES) == set(maps.MATCHES)
    assert set(rules.DISTANCES) == set(align.DISTANCES)
    assert set(rules.FAMILIES) == set(registry.FAMILIES)
    assert set(rules.NEURONS) == set(transformer.NEURONS)
    assert set(rules.LOSSES) == set(losses.CLASSIFICATION)
    assert set(rules.FRAMES) == set(events.FRAMES)
    assert set(rules.SOURCES) == {*build_data._OPENERS, "none"}
