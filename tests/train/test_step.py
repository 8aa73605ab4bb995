"""The training step, also in micro-batches, matches NumPy; lean training is training; NaN is left out."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stata_jax import build
from stata_jax.config import apply_overrides
from stata_jax.configs import digits
from stata_jax.kernels import fire
from stata_jax.train.compilation import compile_program
from stata_jax.train.parallel import AXIS, first_copy, on_all_devices, replicate, shard
from stata_jax.train.state import create_state
from stata_jax.train.step import train_step


class Rate(nn.Module):
    """Leaves a mean as a layer of neurons does its firing rate."""

    def __call__(self, x):
        self.sow("intermediates", "rate", x.mean())


class Regression(nn.Module):
    """Softmax regression on the mean over the first axis of recordings, with a running mean of its input."""

    @nn.compact
    def __call__(self, images, *, train=False, key=None):
        x = images.mean(0).reshape(images.shape[1], -1)
        running = self.variable("batch_stats", "mean", jnp.zeros, x.shape[1:])
        if train:
            running.value = 0.5 * running.value + 0.5 * x.mean(0)
        weight = self.param("weight", nn.initializers.normal(), (x.shape[1], 3))
        Rate(name="lif_in")(x)
        return x @ weight, {}


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_training_steps_match_numpy(accumulate):
    """Two steps of descent, at rate 1, of the whole batch; running statistics that micro-batches enter in turn."""
    random = np.random.default_rng(0)
    recordings = random.normal(size=(2, 8, 5, 1, 2, 1)).astype(np.float32)
    labels = random.integers(0, 3, (2, 8)).astype(np.int32)
    seen_steps = []

    def augment(key, images, labels, step):
        seen_steps.append(step)
        images = images + step.astype(jnp.float32)
        return images, jax.nn.one_hot(labels, 3, dtype=jnp.float32)

    def objective(logits, aux, targets):
        loss = jnp.mean(optax.softmax_cross_entropy(logits, targets))
        return loss, {"cross_entropy": loss}

    def step(state, batch, key):
        options = dict(objective=objective, augment=augment, axis_name=AXIS)
        options |= dict(accumulate=accumulate, ema_decay=0.75)
        return train_step(state, batch, key, model=Regression(), optimizer=optax.sgd(1.0), **options)

    template = jax.ShapeDtypeStruct(recordings[0].shape, jnp.float32)
    state = create_state(Regression(), optax.sgd(1.0), template, key=jax.random.key(0), ema=True)
    weight, running = np.asarray(state.params["weight"], np.float64), np.zeros(2)
    averages = weight, running
    mapped, state = on_all_devices(step, donate=(0,)), replicate(state)
    for i in range(2):
        state, metrics = mapped(state, shard({"image": recordings[i], "label": labels[i]}), jax.random.key(1))
        x = (recordings[i].astype(np.float64) + i).mean(1).reshape(8, 2)
        share = np.exp(x @ weight)
        share /= share.sum(1, keepdims=True)
        gradient = x.T @ (share - np.eye(3)[labels[i]]) / 8
        np.testing.assert_allclose(metrics["loss"][0], -np.log(share[np.arange(8), labels[i]]).mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics["rates"]["in"][0], x.mean(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(metrics["accuracy"][0], np.mean(share.argmax(1) == labels[i]))
        np.testing.assert_allclose(metrics["gradient_norm"][0], np.linalg.norm(gradient), rtol=1e-5)
        weight = weight - gradient
        for part in np.split(x, accumulate):
            running = 0.5 * running + 0.5 * part.mean(0)
        averages = tuple(0.75 * old + 0.25 * new for old, new in zip(averages, (weight, running), strict=True))
    state = first_copy(state)
    assert int(state.step) == 2 and len(seen_steps) == 1  # compiled once
    np.testing.assert_allclose(state.params["weight"], weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.batch_stats["mean"], running, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.ema["params"]["weight"], averages[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.ema["batch_stats"]["mean"], averages[1], rtol=1e-5, atol=1e-6)


def test_micro_batches_of_a_spiking_network():
    """The mean of the gradients of each by itself, with statistics in turn; one update; less memory than the whole."""
    values = {"model.dim": 16, "model.depth": 1, "data.image_size": 16}
    settings = apply_overrides(digits.get_config("dense"), values)
    images = jnp.asarray(np.random.default_rng(0).random((16, 16, 16, 1)), jnp.float32)
    batch = {"image": images, "label": jnp.arange(16, dtype=jnp.int32) % 10}
    sgd, key = optax.sgd(1.0), jax.random.key(1)  # an update is the gradient
    state = create_state(build.model(settings), sgd, images, key=jax.random.key(0))

    def compiled(batch, **changes):
        step = on_all_devices(build.step(apply_overrides(settings, changes), sgd, steps_per_epoch=10))
        return compile_program(step.lower(replicate(state), shard(batch), key))

    def quarter(i):
        return {name: x[4 * i : 4 * i + 4] for name, x in batch.items()}

    alone, stats, results = compiled(quarter(0)), state.batch_stats, []
    for i in range(4):
        after, metrics = first_copy(alone(replicate(state.replace(batch_stats=stats)), shard(quarter(i)), key))
        stats = after.batch_stats
        results.append((after.params, metrics))
    mean_params, mean_metrics = jax.tree.map(lambda *x: sum(x) / 4, *results)
    in_turn = compiled(batch, **{"train.accumulate": 4})
    after, metrics = first_copy(in_turn(replicate(state), shard(batch), key))
    assert int(after.step) == 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.batch_stats, stats)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), after.params, mean_params)
    norm = metrics.pop("gradient_norm")
    assert mean_metrics.pop("gradient_norm") > norm > 0  # of the mean, and not the mean
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), metrics, mean_metrics)
    held = [program.memory_analysis().temp_size_in_bytes for program in (in_turn, compiled(batch))]
    assert held[0] < 0.5 * held[1]


@pytest.mark.parametrize("family", ["spikingformer", "spikformer", "sdt"])
@pytest.mark.parametrize(("pooling", "depth", "recompute"), [("1100", 1, False), ("0011", 2, True)])
def test_lean_training_is_the_same_training(family, pooling, depth, recompute, monkeypatch):
    monkeypatch.setattr(fire, "NEXT_TO_NOTHING", 9)  # a convolution of grey images alone
    changes = {"model.dim": 16, "model.timesteps": 2, "data.image_size": 16, "model.family": family}
    changes |= {"model.pooling": pooling, "model.depth": depth, "sparsity.prune_at": tuple(range(depth))}
    settings = apply_overrides(digits.get_config(), changes)
    images = jnp.asarray(np.random.default_rng(0).random((4, 16, 16, 1)), jnp.float32)
    examples = shard({"image": images, "label": jnp.arange(4, dtype=jnp.int32)})
    optimizer, _ = build.optimizer(settings, steps_per_epoch=10)
    state = create_state(build.model(settings), optimizer, images, key=jax.random.key(0))
    results = []
    for lean in (False, True):
        settings = apply_overrides(settings, {"train.lean": lean, "train.recompute": lean and recompute})
        create = functools.partial(create_state, build.model(settings), optimizer, images)
        own = jax.eval_shape(create, key=jax.random.key(0))
        assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, state)  # so of the same values
        step = on_all_devices(build.step(settings, optimizer, steps_per_epoch=10))
        results.append(step(replicate(state), examples, jax.random.key(1)))
    (plain, plain_metrics), (lean, lean_metrics) = results
    jax.tree.map(np.testing.assert_array_equal, plain.batch_stats, lean.batch_stats)
    jax.tree.map(np.testing.assert_array_equal, plain_metrics["rates"], lean_metrics["rates"])  # the same spikes
    # A tenth of the gradient, and its square.
    moments = [jax.tree_util.tree_leaves_with_path(state.opt_state) for state in (plain, lean)]
    largest = max(float(jnp.max(jnp.abs(leaf))) for _, leaf in moments[0] if leaf.dtype == jnp.float32)
    for (path, ours), (_, theirs) in zip(*moments, strict=True):
        size = float(jnp.max(jnp.abs(ours)))
        if jax.tree_util.keystr(path).endswith("['linear']['bias']"):  # before a normalisation: rounding errors alone
            assert max(size, float(jnp.max(jnp.abs(theirs)))) < 1e-4 * largest
        else:
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5 * size)


def spoilt_step(state, recordings, labels, **options):
    """One step on two devices, as `vmap` has them; the second one's first image has a NaN pixel."""

    def augment(key, images, labels, step):
        return images, jax.nn.one_hot(labels, 3, dtype=jnp.float32)

    def objective(logits, aux, targets):
        # A loss that does not see the NaN, as that of a spiking network does not.
        loss = jnp.mean(jnp.where(jnp.isnan(logits), 0.0, optax.softmax_cross_entropy(logits, targets)[:, None]))
        return loss, {}

    def step(state, batch):
        options_ = dict(objective=objective, augment=augment, axis_name=AXIS) | options
        return train_step(
            state, batch, jax.random.key(1), model=Regression(), optimizer=optax.sgd(1.0, momentum=0.9), **options_
        )

    batch = {"image": recordings.reshape(2, 4, *recordings.shape[1:]), "label": labels.reshape(2, 4)}
    batch["image"][1, 0, 0, 0, 0] = np.nan
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    return jax.vmap(step, axis_name=AXIS)(states, batch)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_that_is_not_finite_is_left_out_on_all_devices(accumulate):
    random = np.random.default_rng(0)
    recordings, labels = random.normal(size=(8, 5, 1, 2, 1)).astype(np.float32), random.integers(0, 3, 8)
    template = jax.ShapeDtypeStruct(recordings.shape, jnp.float32)
    state = create_state(Regression(), optax.sgd(1.0, momentum=0.9), template, key=jax.random.key(0), ema=True)
    options = dict(accumulate=accumulate, ema_decay=0.5)
    after, metrics = spoilt_step(state, recordings, labels, skip_nonfinite=True, **options)
    np.testing.assert_array_equal(metrics["finite"], [0, 0])
    expected = state.replace(step=state.step + 1)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.stack([b, b])), after, expected)
    after, metrics = spoilt_step(state, recordings, labels, **options)
    assert np.isnan(after.params["weight"]).any()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_nan_pixel_does_not_hide_behind_the_threshold(accumulate):
    """A membrane that is NaN does not fire, so that the loss is finite; the gradient is not."""
    values = {"model.dim": 16, "model.depth": 1, "data.image_size": 16, "train.accumulate": accumulate}
    settings = apply_overrides(digits.get_config("dense"), values)
    images = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    optimizer, _ = build.optimizer(settings, steps_per_epoch=10)
    state = create_state(build.model(settings), optimizer, images, key=jax.random.key(0))
    step = on_all_devices(build.step(settings, optimizer, steps_per_epoch=10))

    def finite(images):
        batch = shard({"image": jnp.asarray(images), "label": jnp.arange(4, dtype=jnp.int32)})
        _, metrics = step(replicate(state), batch, jax.random.key(1))
        assert np.isfinite(metrics["loss"][0])
        return metrics["finite"][0]

    assert finite(images) == 1
    images[1, 3, 4] = np.nan
    assert finite(images) == 0
