"""Tests of stata_jax.models.layers against NumPy in float64."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from norms import normal, normalise, run, statistics

from stata_jax import speed
from stata_jax.models.layers import LIF, ConvNorm, LayerConfig, LinearNorm, fire_each

KEY = jax.random.key(0)


@pytest.mark.parametrize("use_bias", [False, True])
def test_linear_norm(use_bias):
    x = normal(2, 3, 4, 6)
    layer = LinearNorm(5, use_bias=use_bias)
    variables = layer.init(KEY, jnp.asarray(x), train=False)
    linear = variables["params"]["linear"]
    assert linear["kernel"].shape == (6, 5) and ("bias" in linear) == use_bias
    norm = statistics(5)
    variables = {"params": {"linear": linear, "norm": norm["params"]}, "batch_stats": {"norm": norm["batch_stats"]}}
    y, _ = run(layer, variables, jnp.asarray(x), train=False)
    product = x @ np.asarray(linear["kernel"]) + (np.asarray(linear["bias"]) if use_bias else 0)
    expected = normalise(product, norm["params"], **norm["batch_stats"])
    assert y.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_training_leaves_a_bias_to_the_running_mean():
    """The mean of a batch takes it away again, so that spikes and gradients are those without it."""
    x, layer = jnp.asarray(normal(2, 3, 4, 6)), LinearNorm(5, use_bias=True)
    variables = layer.init(KEY, x, train=False)
    plain = {"params": {**variables["params"], "linear": {"kernel": variables["params"]["linear"]["kernel"]}}}

    def loss(params, layer, stats):
        y, updates = layer.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
        return jnp.sum(y**3), updates["batch_stats"]["norm"]

    given = jax.value_and_grad(loss, has_aux=True)
    (value, running), gradient = given(variables["params"], layer, variables["batch_stats"])
    (same, without), expected = given(plain["params"], LinearNorm(5), variables["batch_stats"])
    np.testing.assert_array_equal(value, same)
    bias = variables["params"]["linear"]["bias"]
    np.testing.assert_array_equal(gradient["linear"].pop("bias"), np.zeros(5))
    jax.tree.map(np.testing.assert_array_equal, gradient, expected)
    np.testing.assert_allclose(running["mean"], without["mean"] + 0.1 * bias, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(running["var"], without["var"])
    assert np.all(bias != 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kernels", "learn_tau"), [("plain", False), ("plain", True), ("cpu", False), ("gpu", False)])
def test_a_layer_that_fires_leaves_its_bias_to_the_running_mean(kernels, learn_tau, dtype):
    x = jnp.asarray(normal(2, 3, 4, 6) > 0, jnp.float32)
    config = LayerConfig(learn_tau=learn_tau, dtype=jnp.dtype(dtype), ops=speed.operations(kernels, remat=True))
    layer = LinearNorm(8, config, use_bias=True)
    variables = layer.init(KEY, x, train=False)

    def fire(layer, params):
        def spikes(module, x):
            return module.fire(x, LIF(config, parent=None).bind(tau), train=True)

        stats = variables["batch_stats"]
        return nn.apply(spikes, layer, mutable=["batch_stats"])({"params": params, "batch_stats": stats}, x)

    tau = {"params": {"w": jnp.zeros(())}} if learn_tau else {}
    params = variables["params"]
    spikes, updates = fire(layer, params)
    same, without = fire(layer.clone(use_bias=False), params | {"linear": {"kernel": params["linear"]["kernel"]}})
    np.testing.assert_array_equal(spikes, same)
    assert 0 < float(jnp.mean(spikes.astype(jnp.float32))) < 1
    means = (u["batch_stats"]["norm"]["mean"] for u in (updates, without))
    rounded = params["linear"]["bias"].astype(dtype).astype(jnp.float32)
    np.testing.assert_allclose(next(means) - next(means), 0.1 * rounded, rtol=1e-4, atol=1e-7)


def explicit_convolution(images, kernel):
    """3x3, stride 1, padding 1, pixel by pixel."""
    timesteps, batch, height, width, _ = images.shape
    out = np.zeros((timesteps, batch, height, width, kernel.shape[3]))
    for t, b, row, column, i, j in np.ndindex(timesteps, batch, height, width, 3, 3):
        if 0 <= row + i - 1 < height and 0 <= column + j - 1 < width:
            out[t, b, row, column] += images[t, b, row + i - 1, column + j - 1] @ kernel[i, j]
    return out


def test_conv_norm():
    x = normal(2, 3, 4, 5, 2)
    layer = ConvNorm(6)
    variables = layer.init(KEY, jnp.asarray(x), train=False)
    conv = variables["params"]["conv"]
    assert {name: value.shape for name, value in conv.items()} == {"kernel": (3, 3, 2, 6)}
    y, _ = run(layer, variables, jnp.asarray(x), train=False)
    assert y.shape == (2, 3, 4, 5, 6)
    np.testing.assert_allclose(
        y, explicit_convolution(x, np.asarray(conv["kernel"])) / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5
    )


def test_a_static_image_once_stands_for_all_timesteps():
    x = jnp.asarray(normal(1, 2, 4, 4, 2))
    variables = ConvNorm(3).init(KEY, x, train=False)
    once, once_updates = run(ConvNorm(3, repeats=4), variables, x, train=True)
    repeated, repeated_updates = run(ConvNorm(3), variables, jnp.tile(x, (4, 1, 1, 1, 1)), train=True)
    np.testing.assert_allclose(jnp.tile(once, (4, 1, 1, 1, 1)), repeated, rtol=1e-4, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), once_updates, repeated_updates)


def test_matmuls_in_bfloat16_keep_float32_parameters():
    for family, x in [(LinearNorm, normal(2, 4)), (ConvNorm, normal(1, 1, 4, 4, 2))]:
        layer = family(3, LayerConfig(dtype=jnp.bfloat16))
        y, variables = layer.init_with_output(KEY, jnp.asarray(x), train=True)
        assert y.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("kernels", ["plain", "cpu", "gpu"])
def test_layers_of_one_input_fire_as_they_do_alone(kernels):
    config = LayerConfig(ops=speed.operations(kernels))

    class Three(nn.Module):
        @nn.compact
        def __call__(self, x, *, train, together):
            layers = [config.linear(5, name, use_bias=True) for name in "qkv"]
            neurons = [config.lif(name) for name in "qkv"]
            if together:
                return fire_each(layers, neurons, x, train=train)
            return [layer.fire(x, neuron, train=train) for layer, neuron in zip(layers, neurons, strict=True)]

    x = jnp.asarray(np.random.RandomState(0).randint(0, 3, (4, 3, 5)), jnp.float32)
    variables = Three().init(KEY, x, train=False, together=True)

    def run(*, together):
        collections = ["batch_stats", "intermediates"]
        spikes, updates = Three().apply(variables, x, train=True, together=together, mutable=collections)
        return spikes, updates["batch_stats"], [updates["intermediates"][f"lif_{name}"]["rate"] for name in "qkv"]

    (spikes, stats, rates), (alone, *others) = run(together=True), run(together=False)
    jax.tree.map(np.testing.assert_array_equal, spikes, alone)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), [stats, rates], others)
    assert len({float(rate) for (rate,) in rates}) == 3
    np.testing.assert_allclose(rates[1][0], spikes[1].mean(), rtol=1e-6)
