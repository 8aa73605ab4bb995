"""Tests of stata_jax.models.layers against NumPy in float64."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from norms import normal, normalise, run, statistics

from stata_jax.kernels import hardware
from stata_jax.models import layers
from stata_jax.models.layers import ConvNorm, LinearNorm, fold_time
from stata_jax.models.neuron import LIF

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
@pytest.mark.parametrize(
    ("options", "learn_tau"), [({}, False), ({}, True), ({"lean": True, "recompute": True}, False)]
)
def test_a_layer_that_fires_leaves_its_bias_to_the_running_mean(options, learn_tau, dtype, monkeypatch):
    monkeypatch.setattr(layers, "NEXT_TO_NOTHING", 0)  # else the product is always computed again
    x = jnp.asarray(normal(2, 3, 4, 6) > 0, jnp.float32)
    layer = LinearNorm(8, use_bias=True, dtype=jnp.dtype(dtype), **options)
    variables = layer.init(KEY, x, train=False)

    def fire(layer, params):
        def both(module, x):
            return module.fire(x, LIF(learn_tau=learn_tau, parent=None).bind(tau), train=True)

        stats = variables["batch_stats"]
        return nn.apply(both, layer, mutable=["batch_stats"])({"params": params, "batch_stats": stats}, x)

    tau = {"params": {"w": jnp.zeros(())}} if learn_tau else {}
    params = variables["params"]
    (spikes, rate), updates = fire(layer, params)
    (same, _), without = fire(layer.clone(use_bias=False), params | {"linear": {"kernel": params["linear"]["kernel"]}})
    np.testing.assert_array_equal(spikes, same)
    assert 0 < rate < 1
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


@pytest.mark.parametrize("options", [{}, {"lean": True, "recompute": True}])
def test_an_accelerator_trains_products_of_one_input_as_one(options, monkeypatch):
    monkeypatch.setattr(layers, "NEXT_TO_NOTHING", 0)  # else the product is always computed again
    settings = dict(tau=2.0, threshold=1.0, attention_threshold=0.5, alpha=4.0, small_conv=False, small_linear=False)
    options = {"learn_tau": False, "axis_name": None, "lean": False, "recompute": False, **options}
    parts = layers.Parts(**settings, dtype=jnp.float32, **options)

    class Three(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return parts.linear_and_fire(5, "qkv", x, use_bias=True, train=train)

    x = jnp.asarray(np.random.RandomState(0).randint(0, 3, (4, 3, 5)), jnp.float32)
    variables = Three().init(KEY, x, train=False)

    def train():
        return Three().apply(variables, x, train=True, mutable=["batch_stats"])

    assert str(jax.make_jaxpr(train)()).count("dot_general[") == 3
    (spikes, rates), updates = train()
    monkeypatch.setattr(hardware, "platform", lambda: "gpu")
    assert str(jax.make_jaxpr(functools.partial(train))()).count("dot_general[") == 1
    (joined, joined_rates), joined_updates = train()
    jax.tree.map(np.testing.assert_array_equal, joined, spikes)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, (joined_rates, joined_updates), (rates, updates))
    assert len({float(rate) for rate in rates.values()}) == 3
    np.testing.assert_array_equal(rates["k"], spikes["k"].mean())
