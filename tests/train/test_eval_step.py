"""The evaluation step counts hits, and how well kept tokens cover what there is to see."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from stata_jax.pruning.coverage import coverage_sums
from stata_jax.train.evaluation import evaluate
from stata_jax.train.parallel import AXIS, on_all_devices, replicate
from stata_jax.train.step import eval_step


class Echo(nn.Module):
    """Returns its images as logits."""

    @nn.compact
    def __call__(self, images, *, train=False, key=None):
        return images[:, 0, 0, :], {}


class Late(nn.Module):
    """Returns the last timestep of its recordings (T, B, 1, 1, C) as logits."""

    @nn.compact
    def __call__(self, images, *, train=False, key=None):
        return images[-1, :, 0, 0, :], {}


def count(batches, model=None, prepare=lambda images: images, **options):
    def step(variables, batch, key):
        return eval_step(variables, batch, key, model=model or Echo(), prepare=prepare, axis_name=AXIS, **options)

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


def test_recordings_reach_the_model_time_first_and_prepared():
    logits, labels = np.random.default_rng(1).integers(0, 200, (6, 10)), np.arange(6)
    recordings = np.zeros((6, 3, 1, 1, 10), np.uint8)
    recordings[:, -1, 0, 0] = logits
    batches = [{"image": jnp.asarray(recordings), "label": jnp.asarray(labels, jnp.int32), "mask": jnp.ones(6, bool)}]
    result = count(batches, Late(), lambda images: -images.astype(jnp.float32))
    ranked = np.argsort(logits, axis=1)  # lowest first, for the images are turned around
    np.testing.assert_allclose(result["top5"], np.mean((ranked[:, :5] == labels[:, None]).any(1)))
    assert 0 < result["top5"] < 1


class Keeping(nn.Module):
    """Keeps at t = 0 and 1 the patches that the first two channels name, and gives the same logits to all images."""

    @nn.compact
    def __call__(self, images, *, train=False, key=None):
        named = images[:, 0, 0, :2].astype(jnp.int32)  # (B, T)
        return jnp.zeros((len(images), 10)), {"positions": {3: named.T[..., None]}}


def test_coverage_of_a_masked_test_set():
    """One kept patch of 2x2, a digit that covers the upper ones: it is on the digit where its number is below 2."""
    named = np.array([[0, 0], [0, 3], [1, 2], [2, 2], [0, 0], [0, 0]])
    batches = [
        batch(np.pad(part, ((0, 0), (0, 8))), [0, 1, 2], mask) | {"corner": jnp.zeros((3, 2), jnp.int32)}
        for part, mask in ((named[:3], [True] * 3), (named[3:], [True, False, False]))
    ]
    # Boxes of 4 pixels, patches of 3: the centres are at 1.5 and 4.5. One pixel more would cover all.
    cover = functools.partial(coverage_sums, size=4, grid=2, patch=3)
    result = count(batches, Keeping(), cover=cover)
    assert json.loads(json.dumps(result)) == result and result["images"] == 4
    assert result["coverage"] == {"block3": {"kept_on_digit": [0.5, 0.25], "digit_kept": [0.5, 0.25]}}
    assert result["coverage_chance"] == 0.25
    unknown = [{name: value for name, value in each.items() if name != "corner"} for each in batches]
    plain = {"top1", "top5", "loss", "images"}
    assert count(unknown, Keeping(), cover=cover).keys() == count(batches, Keeping()).keys() == plain
