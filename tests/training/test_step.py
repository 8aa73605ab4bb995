"""The evaluation step counts, and the training step repeats itself."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from stata_jax.training.evaluation import evaluate
from stata_jax.training.parallel import AXIS, on_all_devices, replicate
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
