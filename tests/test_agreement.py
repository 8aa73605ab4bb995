"""The options that the config checks allow are those that the code knows."""

from stata_jax import config_check
from stata_jax.models import registry, transformer
from stata_jax.sparsity import alignment, scores, select
from stata_jax.training import losses


def test_allowed_options_are_the_known_ones():
    assert set(config_check.METRICS) == set(scores.METRICS)
    assert set(config_check.SLOTS) == set(select.SLOTS)
    assert set(config_check.POOLS) == set(transformer.POOLS)
    assert set(config_check.MATCHES) == set(alignment.MATCHES)
    assert set(config_check.DISTANCES) == set(alignment.DISTANCES)
    assert set(config_check.FAMILIES) == set(registry.FAMILIES)
    assert set(config_check.NEURONS) == set(transformer.NEURONS)
    assert set(config_check.LOSSES) == set(losses.CLASSIFICATION)
