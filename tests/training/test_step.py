"""The evaluation step counts, and the training step repeats itself."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from stata_jax import build
from stata_jax.config import apply_overrides
from stata_jax.training.evaluation import evaluate
from stata_jax.training.parallel import AXIS, on_all_devices, replicate, shard
from stata_jax.training.state import create_state
from stata_jax.training.step import eval_step


class Echo(nn.Module):
    """Returns its images as logits."""

    @nn.compact
    def __call__(self, images, *, train=False, key=None):
        return images[:, 0, 0, :], {}


def count(batches):
    def step(variables, batch, key):
        return eval_step(variables, batch, key, model=Echo(), axis_name=AXIS)

    return evaluate(on_all_devices(step), replicate({}), batches, key=jax.random.key(0))


def batch(logits, labels, mask):
    images = jnp.asarray(logits, jnp.float32)[:, None, None, :]
    return {"image": images, "label": jnp.asarray(labels, jnp.int32), "mask": jnp.asarray(mask)}


def test_counts_against_sorting():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(12, 10)), random.integers(0, 10, 12)
    mask = np.arange(12) < 9
    result = count([batch(logits[:6], labels[:6], mask[:6]), batch(logits[6:], labels[6:], mask[6:])])
    ranked = np.argsort(-logits, axis=1)[:9]
    assert result["images"] == 9
    np.testing.assert_allclose(result["top1"], np.mean(ranked[:, 0] == labels[:9]))
    np.testing.assert_allclose(result["top5"], np.mean((ranked[:, :5] == labels[:9, None]).any(1)))
    shifted = logits[:9] - logits[:9].max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(9), labels[:9]]
    np.testing.assert_allclose(result["loss"], losses.mean(), rtol=1e-5)


def test_a_silent_network_scores_nothing():
    result = count([batch(np.zeros((4, 10)), [0, 1, 2, 3], [True] * 4)])
    assert result["top1"] == result["top5"] == 0


def test_a_diverged_network_scores_nothing():
    result = count([batch(np.full((4, 10), np.nan), [0, 1, 2, 3], [True] * 4)])
    assert result["top1"] == result["top5"] == 0


def test_padding_never_counts():
    right = np.eye(4, 10)
    result = count([batch(right, [0, 1, 5, 5], [True, True, False, False])])
    assert result == {"top1": 1.0, "top5": 1.0, "loss": result["loss"], "images": 2}


@pytest.mark.parametrize("family", ["spikingformer", "spikformer", "sdt"])
def test_lean_training_is_the_same_training(family):
    settings = apply_overrides(digits.get_config(), {"model.dim": 16, "data.image_size": 16, "model.family": family})
    images = jnp.asarray(np.random.default_rng(0).random((4, 16, 16, 1)), jnp.float32)
    examples = shard({"image": images, "label": jnp.arange(4, dtype=jnp.int32)})
    results = []
    for lean in (False, True):
        settings = apply_overrides(settings, {"train.lean": lean})
        optimizer, _ = build.optimizer(settings, steps_per_epoch=10)
        state = create_state(build.model(settings), optimizer, images, key=jax.random.key(0))
        step = on_all_devices(build.step(settings, optimizer))
        state, metrics = step(replicate(state), examples, jax.random.key(1))
        results.append((state, metrics))
    (plain, plain_metrics), (lean, lean_metrics) = results
    jax.tree.map(np.testing.assert_array_equal, plain.batch_stats, lean.batch_stats)
    jax.tree.map(np.testing.assert_array_equal, plain_metrics["rates"], lean_metrics["rates"])  # the same spikes
    moments = [jax.tree.leaves(state.opt_state) for state in (plain, lean)]  # a tenth of the gradient, and its square
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in moments[0] if leaf.dtype == jnp.float32)
    for ours, theirs in zip(*moments, strict=True):
        # Biases before a normalisation have no gradient but rounding errors.
        room = max(1e-5 * float(jnp.max(jnp.abs(ours))), 1e-6 * largest)
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=room)
