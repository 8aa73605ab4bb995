"""Firing rates of what enters the layers: against arrays worked out beside the model, over images and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import speed
from stata_jax.models.rates import firing_rates
from stata_jax.models.registry import FAMILIES
from stata_jax.tools.rates import input_rates, mean_rates

SIZE = dict(num_classes=5, timesteps=2, dim=16, depth=1, heads=2, attention_scale=2.0)


def make(family, **changes):
    model = FAMILIES[family](**SIZE | changes)
    images = np.random.default_rng(0).uniform(size=(4, 16, 16, 1)).astype(np.float32)

    def lively(path, leaf):  # so that every layer fires, by running statistics too
        name = jax.tree_util.keystr(path)
        if name.endswith("['kernel']"):
            return leaf / jnp.std(leaf) / np.sqrt(leaf[..., 0].size)
        return leaf + 1.0 if name.endswith("['scale']") else leaf * 0.1 if name.endswith("['var']") else leaf

    variables = jax.tree_util.tree_map_with_path(lively, jax.jit(model.init)(jax.random.key(0), images))
    return model, variables, images


def pooled(spikes):
    """3x3 maxima of stride 2 and padding 1, of (T, B, H, W, C)."""
    T, B, H, W, C = spikes.shape
    out = np.zeros((T, B, H // 2, W // 2, C))
    for i, j in np.ndindex(H // 2, W // 2):
        window = spikes[:, :, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
        out[:, :, i, j] = window.max(axis=(2, 3))
    return out


def test_a_rate_is_taken_after_the_pool():
    model, variables, images = make("spikingformer", pooling="0101")
    rates = jax.jit(lambda v, x: input_rates(model, v, x, train=True))(variables, images)
    _, seen = jax.jit(
        lambda v, x: model.apply(
            v,
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, method: method == "record",
        )
    )(variables, images)
    stem, reported = seen["intermediates"]["stem"], firing_rates(seen["intermediates"])
    for i in range(1, 5):
        fired = stem[f"lif_{i}"]["record"]
        spikes = np.asarray(fired[0])
        entering = pooled(spikes) if i in (2, 4) else spikes
        np.testing.assert_allclose(rates[f"stem/conv{i}"], entering.mean(axis=(0, 2, 3, 4)), rtol=1e-5)
        same = np.isclose(np.mean(rates[f"stem/conv{i}"]), reported[f"stem/lif{i}"], rtol=1e-5)
        assert same == (i in (1, 3))


def intermediates(model, variables, images):
    collections = ["batch_stats", "intermediates"]
    apply = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=collections)[1]["intermediates"])
    return apply(variables, images)


@pytest.mark.parametrize("kernels", ["plain", "gpu"])  # which trains q, k and v as one matmul
def test_rates_of_blocks_agree_with_those_that_the_model_reports(kernels):
    ops = speed.operations(kernels)
    model, variables, images = make("spikingformer", anchor=True, keep_rate=0.3, prune_at=(0,), ops=ops)
    rates = mean_rates(model, variables, [{"image": images}], train=True)
    seen = intermediates(model, variables, images)
    fired = firing_rates(seen)
    pairs = {"attention/q": "attention/in", "attention/k": "attention/in", "attention/v": "attention/in"}
    pairs |= {"attention/projection": "attention/attended", "mlp/up": "mlp/in", "mlp/down": "mlp/hidden"}
    pairs |= {f"spikes/{name}": f"attention/{name}" for name in "qkv"}
    for ours, reported in pairs.items():
        assert rates[f"block0/{ours}"] == pytest.approx(float(fired[f"block0/{reported}"]), rel=1e-5), ours
        assert 0 < rates[f"block0/{ours}"] < 1
    (spikes,) = seen["block0"]["attention"]["spikes"]
    assert float(np.mean(spikes["q"])) == pytest.approx(rates["block0/spikes/q"], rel=1e-5)


@pytest.mark.parametrize("dvs_mode", [False, True])
def test_spike_driven_attention(dvs_mode):
    """What enters the projection are masked queries, which no neuron reports."""
    model, variables, images = make("sdt", dvs_mode=dvs_mode)
    rates = mean_rates(model, variables, [{"image": images}], train=True)
    seen = intermediates(model, variables, images)
    (attention,) = seen["block0"]["attention"]["spikes"]
    masked = float(np.mean(attention["q"] * attention["kv_mask"]))
    assert masked > 0
    if dvs_mode:  # maxima are taken of the masked queries, and of k before it is used
        assert rates["block0/attention/projection"] > masked
        assert rates["block0/spikes/k"] > firing_rates(seen)["block0/attention/k"]
    else:
        assert rates["block0/attention/projection"] == pytest.approx(masked, rel=1e-5)


def test_sums_of_spikes_count_every_spike():
    model, variables, images = make("spikformer", pooling="1100")
    rates = mean_rates(model, variables, [{"image": images}], train=True)
    embed = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"])[0][1]["embed"])
    sums = np.asarray(embed(variables, images))
    assert sums.max() == 2
    assert rates["block0/attention/q"] == pytest.approx(sums.mean(), rel=1e-5)
    assert rates["block0/attention/q"] > (sums > 0).mean()


def test_the_mean_is_over_images_and_leaves_padding_out():
    model, variables, images = make("spikformer", pooling="1100")
    single = [mean_rates(model, variables, [{"image": images[i : i + 1]}]) for i in range(3)]
    masks = np.array([True, True, False, False]), np.array([False, False, True, False])
    batches = [{"image": images, "mask": mask} for mask in masks]
    together = mean_rates(model, variables, batches)
    assert together.keys() == single[0].keys()
    for name, rate in together.items():
        assert rate == pytest.approx(np.mean([each[name] for each in single]), rel=1e-5, abs=1e-7), name
    assert len({each["stem/conv1"] for each in single}) == 3  # images do differ
