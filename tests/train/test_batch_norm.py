"""Over what batches are normalised on two devices: over both, or each by its share."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from stata_jax import build, config
from stata_jax.train.parallel import on_all_devices, replicate, shard
from stata_jax.train.state import create_state

# The second half of the batch is unlike the first.
IMAGES = np.random.default_rng(0).uniform(size=(2, 4, 8, 8, 1)) * np.reshape([1, 3], (2, 1, 1, 1, 1))
IMAGES = IMAGES.reshape(8, 8, 8, 1).astype(np.float32)
LABELS = (np.arange(8) % 3).astype(np.int32)


def settings(batch_norm):
    small = {
        "data.source": "none",
        "data.image_size": 8,
        "data.num_classes": 3,
        "model.timesteps": 2,
        "model.dim": 16,
        "model.depth": 1,
        "model.heads": 2,
        "model.pooling": "1000",
        "sparsity.keep_rate": 1.0,
        "sparsity.anchor": False,
        "align.alpha": 0.0,
        "align.beta": 0.0,
        "train.batch_size": 8,
        "train.batch_norm": batch_norm,
    }
    found = config.apply_overrides(config.defaults(), small)
    config.check(found)
    return found


def step(batch_norm, images, labels):
    """A step of a fresh network on all devices of this process: the state on each of them, before and after."""
    chosen, optimizer = settings(batch_norm), optax.sgd(0.1)
    template = jax.ShapeDtypeStruct(images.shape, images.dtype)
    state = create_state(build.model(chosen), optimizer, template, key=jax.random.key(0))
    before = jax.device_get(state)
    mapped = on_all_devices(build.step(chosen, optimizer, steps_per_epoch=1))
    after, _ = mapped(replicate(state), shard({"image": images, "label": labels}), jax.random.key(1))
    return before, jax.device_get(jax.block_until_ready(after))


def named(state, device):
    tree = {"params": state.params, "batch_stats": state.batch_stats}
    return {jax.tree_util.keystr(path): x[device] for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def save(path):
    """What a process with two devices runs."""
    found = {"devices": jax.local_device_count()}
    for batch_norm in ("all", "device"):
        state = step(batch_norm, IMAGES, LABELS)[1]
        found |= {f"{batch_norm}/{d}/{place}": x for d in range(2) for place, x in named(state, d).items()}
    np.savez(path, **found)


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    """`(batch_norm, device)` to that device's parameters and running statistics after a step on two devices."""
    out, here = tmp_path_factory.mktemp("two") / "found.npz", pathlib.Path(__file__)
    code = f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as t; t.save({str(out)!r})"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=600)
    found = dict(np.load(out))
    assert found.pop("devices") == 2
    return lambda *of: {
        key.removeprefix("{}/{}/".format(*of)): x for key, x in found.items() if key.startswith("{}/{}/".format(*of))
    }


@pytest.mark.parametrize("batch_norm", ["all", "device"])
def test_devices_stay_equal(batch_norm, on_two):
    first, second = (on_two(batch_norm, device) for device in range(2))
    assert len(first) > 20
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_over_all_devices_is_one_batch(on_two):
    expected = named(step("all", IMAGES, LABELS)[1], 0)
    for place, x in on_two("all", 0).items():
        np.testing.assert_allclose(x, expected[place], rtol=2e-4, atol=2e-5, err_msg=place)


def test_by_device_is_the_mean_of_the_halves_alone(on_two):
    halves = [named(step("all", IMAGES[half], LABELS[half])[1], 0) for half in (slice(4), slice(4, 8))]
    for place, x in on_two("device", 0).items():
        expected = (halves[0][place] + halves[1][place]) / 2
        np.testing.assert_allclose(x, expected, rtol=2e-4, atol=2e-5, err_msg=place)


def convolution(images, kernel):
    """A 3x3 convolution with zeros around the image, in float64."""
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # (B, H, W, C, 3, 3)
    return np.einsum("bhwcij,ijcm->bhwm", windows, kernel)


@pytest.mark.parametrize("batch_norm", ["all", "device"])
def test_running_statistics_of_the_first_layer(batch_norm, on_two):
    """0.9 of the old and 0.1 of the batch's; T = 2 times the same image, so `n` counts each value twice."""
    before, _ = step("all", IMAGES, LABELS)
    values = convolution(IMAGES, before.params["stem"]["conv0"]["conv"]["kernel"])
    shares = [values] if batch_norm == "all" else [values[:4], values[4:]]
    moments = []
    for share in shares:
        share = share.reshape(-1, share.shape[-1])
        n = 2 * len(share)
        moments.append((share.mean(0), share.var(0) * n / (n - 1)))
    mean, var = (np.mean(each, axis=0) for each in zip(*moments, strict=True))
    found = on_two(batch_norm, 0)
    place = "['batch_stats']['stem']['conv0']['norm']"
    np.testing.assert_allclose(found[f"{place}['mean']"], 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[f"{place}['var']"], 0.9 + 0.1 * var, rtol=1e-4)
    other = values.reshape(-1, values.shape[-1]).var(0)
    assert batch_norm == "all" or np.all(np.abs(var - other) > 1e-3 * other)  # the two ways differ here
