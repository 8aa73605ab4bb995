"""Tests of stata_jax.models.layers against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.models import layers
from stata_jax.models.layers import (
    LIF,
    BatchNorm,
    ConvNorm,
    LinearNorm,
    fold_time,
)
from stata_jax.spiking.lif import lif

KEY = jax.random.key(0)


def normal(*shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def statistics(channels, seed=5):
    """Variables of a BatchNorm, none of them trivial."""
    scale, bias, mean, var = np.random.RandomState(seed).rand(4, channels).astype(np.float32) + 0.5
    return {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": mean, "var": var}}


def normalise(x, params, mean, var):
    return (x - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"]


@functools.partial(jax.jit, static_argnames=("layer", "train"))
def run(layer, variables, x, *, train):
    return layer.apply(variables, x, train=train, mutable=["batch_stats"])


@pytest.mark.parametrize(("shape", "repeats"), [((3, 4, 2, 2, 5), 1), ((6, 5), 1), ((6, 5), 4)])
def test_batch_norm_in_training(shape, repeats):
    x, variables = 3 * normal(*shape) + 2, statistics(5)
    y, updates = run(BatchNorm(repeats=repeats), variables, jnp.asarray(x), train=True)
    rows = np.repeat(x.reshape(-1, 5).astype(np.float64), repeats, axis=0)
    np.testing.assert_allclose(y, normalise(x, variables["params"], rows.mean(0), rows.var(0)), rtol=1e-4, atol=1e-5)
    running = variables["batch_stats"]
    expected_mean = 0.9 * running["mean"] + 0.1 * rows.mean(0)
    expected_var = 0.9 * running["var"] + 0.1 * rows.var(0, ddof=1)  # torch's: the unbiased one
    np.testing.assert_allclose(updates["batch_stats"]["mean"], expected_mean, rtol=1e-5)
    np.testing.assert_allclose(updates["batch_stats"]["var"], expected_var, rtol=1e-5)


def test_batch_norm_in_evaluation():
    x, variables = normal(6, 5), statistics(5)
    y, updates = run(BatchNorm(), variables, jnp.asarray(x), train=False)
    np.testing.assert_allclose(y, normalise(x, variables["params"], **variables["batch_stats"]), rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


def test_batch_norm_keeps_its_digits_at_a_large_mean():
    x = normal(4096, 2) + np.asarray([1000, -3000], np.float32)
    variables = {
        "params": {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)},
        "batch_stats": {"mean": np.zeros(2, np.float32), "var": np.zeros(2, np.float32)},
    }
    y, updates = run(BatchNorm(), variables, jnp.asarray(x), train=True)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(10 * updates["batch_stats"]["var"], exact.var(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(y, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5), atol=2e-3)


def test_batch_norm_starts_as_torch_does():
    variables = BatchNorm().init(KEY, jnp.asarray(normal(6, 3) + 5), train=True)
    np.testing.assert_array_equal(variables["params"]["scale"], np.ones(3))
    np.testing.assert_array_equal(variables["params"]["bias"], np.zeros(3))
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(3))  # initialising is no training step
    np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(3))


def test_batch_norm_over_devices_is_that_of_the_whole_batch():
    x, variables = jnp.asarray(normal(4, 6, 5) * np.arange(1, 5, dtype=np.float32)[:, None, None]), statistics(5)
    whole, whole_updates = run(BatchNorm(), variables, x, train=True)
    layer = BatchNorm(axis_name="batch")
    part = functools.partial(run.__wrapped__, layer, variables, train=True)
    parts, updates = jax.jit(jax.vmap(part, out_axes=(0, None), axis_name="batch"))(x)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), updates, whole_updates)


def test_batch_norm_of_one_value_is_finite():
    y, updates = run(BatchNorm(), statistics(5), jnp.asarray(normal(1, 5)), train=True)
    np.testing.assert_allclose(y, statistics(5)["params"]["bias"][None], rtol=1e-6)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(updates))


def test_batch_norm_statistics_of_bfloat16_are_float32():
    x, variables = jnp.asarray(normal(64, 5), jnp.bfloat16), statistics(5)
    y, updates = run(BatchNorm(), variables, x, train=True)
    wide, wide_updates = run(BatchNorm(), variables, x.astype(jnp.float32), train=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), wide, rtol=0.01, atol=1e-3)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), updates, wide_updates)


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


def test_products_in_bfloat16_keep_float32_parameters():
    for family, x in [(LinearNorm, normal(2, 4)), (ConvNorm, normal(1, 1, 4, 4, 2))]:
        layer = family(3, dtype=jnp.bfloat16)
        y, variables = layer.init_with_output(KEY, jnp.asarray(x), train=True)
        assert y.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_fold_time_is_a_loop_over_timesteps():
    x = jnp.asarray(normal(3, 2, 4, 5))
    seen = []

    def function(batch):
        seen.append(batch.shape)
        return jnp.sum(batch, axis=1)[:, :2]

    y = fold_time(function, x)
    assert seen == [(6, 4, 5)]
    np.testing.assert_allclose(y, [np.sum(x[t], axis=1)[:, :2] for t in range(3)], rtol=1e-6)


def test_lif_layer_returns_spikes_and_their_rate():
    current = jnp.asarray(2 * normal(4, 2, 5) + 1, jnp.bfloat16)
    layer = LIF(tau=1.5, threshold=0.5, alpha=2.0)
    spikes, rate = layer.apply({}, current)
    assert spikes.dtype == jnp.bfloat16 and rate.dtype == jnp.float32 and rate.shape == ()
    np.testing.assert_array_equal(spikes, lif(current, tau=1.5, threshold=0.5, alpha=2.0))
    np.testing.assert_allclose(rate, np.mean(np.asarray(spikes, np.float64)), rtol=1e-6)
    assert 0 < rate < 1

    def gradient(function):
        return jax.grad(lambda x: jnp.sum(function(x)))(current.astype(jnp.float32))

    expected = gradient(functools.partial(lif, tau=1.5, threshold=0.5, alpha=2.0))
    np.testing.assert_array_equal(gradient(lambda x: layer.apply({}, x)[0]), expected)


@pytest.mark.parametrize(("features", "recompute", "products"), [(8, True, 4), (8, False, 3), (7, True, 3)])
def test_a_product_no_narrower_than_its_input_is_computed_again(features, recompute, products, monkeypatch):
    monkeypatch.setattr(layers, "NEXT_TO_NOTHING", 7)
    assert count_products(LinearNorm(features, lean=True, recompute=recompute)) == products


@pytest.mark.parametrize("lean", [False, True])
def test_a_product_of_next_to_nothing_is_always_computed_again(lean, monkeypatch):
    assert count_products(LinearNorm(8, lean=lean)) == 4
    assert count_products(LinearNorm(7, lean=lean)) == 3
    monkeypatch.setattr(layers, "NEXT_TO_NOTHING", 7)
    assert count_products(LinearNorm(8, lean=lean)) == 3


@pytest.mark.parametrize(("most", "again"), [(8, True), (7, False)])
def test_an_expensive_product_is_not_computed_again(most, again, monkeypatch):
    monkeypatch.setattr(layers, "CHEAP", most)
    assert count_products(LinearNorm(8, lean=True, recompute=True)) == 3 + again
    monkeypatch.setattr(layers, "CHEAP", 9 * most)
    convolution = ConvNorm(8, lean=True, recompute=True)
    assert count_products(convolution, image=(4, 4), name="conv_general_dilated[") == 2 + again


def count_products(layer, *, image=(), name="dot_general["):
    """Products in the program of a layer with neurons, of 8 inputs, and its gradients."""
    x = jnp.ones((2, 3, *image, 8))

    def fire(module, x):
        return module.fire(x, LIF(parent=None), train=True)[0]

    variables = layer.init(KEY, x, train=True)

    def loss(params, x):
        spikes, _ = layer.apply({**variables, "params": params}, x, method=fire, mutable=["batch_stats"])
        return spikes.sum()

    program = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(variables["params"], x)
    return str(program).count(name)
