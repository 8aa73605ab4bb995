"""Tests of stata_jax.train.optimizer: the schedule at key steps, and AdamW and LAMB against NumPy loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stata_jax.errors import ConfigError
from stata_jax.train.optimizer import adamw, decayed, epoch_cosine, freeze, lamb, warmup_cosine


def test_schedule_at_key_steps():
    rate = warmup_cosine(peak=1e-3, start=1e-5, end=2e-5, warmup_steps=10, total_steps=110)
    expected = {0: 1e-5, 5: (1e-5 + 1e-3) / 2, 10: 1e-3, 60: (1e-3 + 2e-5) / 2, 110: 2e-5, 500: 2e-5}
    expected[35] = 2e-5 + (1e-3 - 2e-5) * (1 + math.cos(math.pi / 4)) / 2
    for step, value in expected.items():
        np.testing.assert_allclose(rate(jnp.asarray(step)), value, rtol=1e-5)
    rates = np.asarray([rate(step) for step in range(111)])
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:]) < 0)


def test_schedule_without_warm_up_starts_at_the_peak():
    rate = warmup_cosine(peak=1e-3, start=1e-5, end=0.0, warmup_steps=0, total_steps=100)
    np.testing.assert_allclose([rate(0), rate(50), rate(100)], [1e-3, 5e-4, 0], rtol=1e-5, atol=1e-9)


def test_epoch_schedule_at_key_epochs():
    """A recipe of 310 epochs, 20 of warm-up and 10 of cool-down, at the rates that timm's formulas give by hand."""
    rate = epoch_cosine(peak=5e-4, start=1e-5, end=1e-5, warmup_epochs=20.0, cosine_epochs=300, steps_per_epoch=7)
    expected = {0: 1e-5, 1: 3.45e-5, 10: 2.55e-4, 19: 4.755e-4}
    expected[20] = 4.946461e-4  # 1e-5 + 4.9e-4 (1 + cos 12 degrees) / 2: the peak itself is never reached
    expected |= {75: 4.282412e-4, 150: 2.55e-4, 200: 1.325e-4, 225: 8.175879e-5, 300: 1e-5, 309: 1e-5, 400: 1e-5}
    for epoch, value in expected.items():
        for step in (7 * epoch, 7 * epoch + 6):
            np.testing.assert_allclose(rate(jnp.asarray(step)), value, rtol=1e-5)


def test_epoch_schedule_without_warm_up_starts_at_the_peak():
    rate = epoch_cosine(peak=1e-3, start=1e-5, end=0.0, warmup_epochs=0.0, cosine_epochs=4, steps_per_epoch=2)
    expected = [1e-3, 1e-3, 8.535534e-4, 8.535534e-4, 5e-4, 5e-4, 1.464466e-4, 1.464466e-4, 0, 0]
    np.testing.assert_allclose([rate(step) for step in range(10)], expected, rtol=1e-5, atol=1e-9)


def tree(seed=0, size=1.0):
    random = np.random.RandomState(seed)
    shapes = {"conv": (3, 3, 2, 4), "linear": (4, 3), "bias": (3,), "anchor": (4,)}
    return {name: (size * random.randn(*shape)).astype(np.float32) for name, shape in shapes.items()}


def test_only_matrices_decay():
    assert decayed(tree()) == {"conv": True, "linear": True, "bias": False, "anchor": False}
    optimizer = adamw(optax.constant_schedule(0.1), weight_decay=0.5, grad_clip=0.0)
    params = jax.tree.map(jnp.asarray, tree())
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    for name, value in tree().items():
        np.testing.assert_allclose(updates[name], -0.05 * value if value.ndim > 1 else 0 * value, rtol=1e-5)


def numpy_adamw(params, gradients, rates, *, weight_decay, grad_clip):
    """AdamW with beta 0.9 and 0.999, epsilon 1e-8, in float64."""
    params = {name: value.astype(np.float64) for name, value in params.items()}
    first, second = ({name: np.zeros(value.shape) for name, value in params.items()} for _ in range(2))
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        norm = math.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradient.values()))
        share = min(1.0, grad_clip / norm) if grad_clip else 1.0
        for name, value in params.items():
            g = share * gradient[name]
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            move = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
            params[name] = value - rate * (move + (weight_decay * value if value.ndim > 1 else 0))
    return params


@pytest.mark.parametrize("grad_clip", [0.0, 1.0])
def test_steps_match_numpy(grad_clip):
    gradients = [tree(seed, size) for seed, size in [(1, 1.0), (2, 0.01), (3, 5.0)]]  # the second is below the clip
    schedule = warmup_cosine(peak=0.1, start=0.02, end=0.0, warmup_steps=1, total_steps=4)
    optimizer = adamw(schedule, weight_decay=0.06, grad_clip=grad_clip)
    params = jax.tree.map(jnp.asarray, tree())
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
    options = dict(weight_decay=0.06, grad_clip=grad_clip)
    expected = numpy_adamw(tree(), gradients, [0.02, 0.1, 0.075], **options)
    other = numpy_adamw(tree(), gradients, [0.02, 0.1, 0.075], weight_decay=0.06, grad_clip=1.0 - grad_clip)
    for name, value in expected.items():
        np.testing.assert_allclose(params[name], value, rtol=1e-4, atol=1e-6)
        assert np.abs(value - other[name]).max() > 1e-3  # clipping shows


def test_clipping_bounds_the_global_norm():
    optimizer = adamw(optax.constant_schedule(0.1), weight_decay=0.0, grad_clip=0.5)
    params = jax.tree.map(jnp.asarray, tree())
    _, state = optimizer.update(jax.tree.map(jnp.asarray, tree(1, 100.0)), optimizer.init(params), params)
    moments = optax.tree.get(state, "mu")
    np.testing.assert_allclose(optax.tree.norm(moments), 0.1 * 0.5, rtol=1e-5)


def numpy_lamb(params, gradients, rates, *, weight_decay, grad_clip):
    """LAMB as timm has it: beta 0.9 and 0.999, epsilon 1e-6, in float64."""
    params = {name: value.astype(np.float64) for name, value in params.items()}
    first, second = ({name: np.zeros(value.shape) for name, value in params.items()} for _ in range(2))
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        norm = math.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradient.values()))
        for name, value in params.items():
            g = gradient[name] / max(1.0, norm / grad_clip) if grad_clip else gradient[name]
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            update = first[name] / (1 - 0.9**step) / (np.sqrt(second[name]) / math.sqrt(1 - 0.999**step) + 1e-6)
            decay = weight_decay if value.ndim > 1 else 0.0
            if decay:
                update = update + decay * value
                sizes = np.linalg.norm(value.ravel()), np.linalg.norm(update.ravel())
                update = update * (sizes[0] / sizes[1] if min(sizes) > 0 else 1.0)
            params[name] = value - rate * update
    return params


@pytest.mark.parametrize(("weight_decay", "grad_clip"), [(0.06, 1.0), (0.5, 0.0), (0.0, 1.0)])
def test_lamb_matches_numpy(weight_decay, grad_clip):
    start = tree() | {"silent": np.zeros((2, 3), np.float32)}  # a kernel of norm 0, whose ratio is 1
    silent = {"silent": np.full((2, 3), 0.1, np.float32)}
    gradients = [tree(1, 1.0) | silent, tree(2, 0.01) | silent]  # the second is below the clip
    options = dict(weight_decay=weight_decay, grad_clip=grad_clip)
    optimizer = lamb(lambda step: jnp.asarray([0.1, 0.02])[step], **options)
    params = jax.tree.map(jnp.asarray, start)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
    expected = numpy_lamb(start, gradients, [0.1, 0.02], **options)
    adam = numpy_adamw(start, gradients, [0.1, 0.02], **options)
    for name, value in expected.items():
        np.testing.assert_allclose(params[name], value, rtol=1e-4, atol=1e-6)
    scaled = {name for name, value in expected.items() if np.abs(value - adam[name]).max() > 1e-3}
    assert scaled == ({"conv", "linear", "silent"} if weight_decay else set())


@pytest.mark.parametrize("make", [adamw, lamb])
def test_frozen_parameters_stay(make):
    params = {"block0": {"q": {"kernel": jnp.ones((2, 3))}, "v": {"kernel": jnp.ones((2, 3))}}, "q_head": jnp.ones(3)}
    plain = make(optax.constant_schedule(0.1), weight_decay=0.1, grad_clip=0.0)
    frozen = freeze(plain, "/q/")
    gradient = jax.tree.map(lambda p: p / 3, params)
    expected, _ = plain.update(gradient, plain.init(params), params)
    updates, _ = frozen.update(gradient, frozen.init(params), params)
    assert not np.any(updates["block0"]["q"]["kernel"]) and np.all(expected["block0"]["q"]["kernel"])
    del updates["block0"]["q"], expected["block0"]["q"]
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    with pytest.raises(ConfigError, match="is '/k/', which no parameter has: there are block0/q, block0/v, q_head"):
        freeze(plain, "/k/").init(params)
