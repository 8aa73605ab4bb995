"""One step on two devices is the same step as on one."""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import optax

from stata_jax.data.augment.targets import smooth_one_hot
from stata_jax.models.spikingformer import Spikingformer
from stata_jax.pruning.coverage import coverage_sums
from stata_jax.pruning.maps import Aligned
from stata_jax.train.losses import stata_loss
from stata_jax.train.parallel import AXIS, first_copy, on_all_devices, replicate, replicated_shapes, shard
from stata_jax.train.state import create_state
from stata_jax.train.step import eval_step, train_step


def step_once():
    """Losses, new state and test sums of one small step on however many devices this process has."""
    random = np.random.default_rng(0)
    images = random.uniform(size=(8, 16, 16, 1)).astype(np.float32)
    labels = (np.arange(8) % 3).astype(np.int32)
    model = functools.partial(
        Spikingformer,
        num_classes=3,
        timesteps=2,
        dim=16,
        depth=2,
        heads=2,
        pooling="1100",
        anchor=True,
        keep_rate=0.5,
        prune_at=(0,),
        align=Aligned(intra_at=(0, 1), inter_at=(0, 1), match="gather"),
    )
    tet = dict(classification="tet", tet_means=1.0, tet_lambda=0.1)
    objective = functools.partial(stata_loss, alpha=1.0, beta=1.0, distance="mse", **tet)
    optimizer = optax.sgd(0.1)  # Adam would blow up the rounding errors of gradients that are 0
    state = create_state(model(), optimizer, jax.ShapeDtypeStruct(images.shape, images.dtype), key=jax.random.key(0))

    def augment(key, images, labels, step):
        return images, smooth_one_hot(labels, num_classes=3, smoothing=0.1)

    options = dict(augment=augment, axis_name=AXIS)
    mapped = model(axis_name=AXIS)
    train = functools.partial(train_step, model=mapped, optimizer=optimizer, objective=objective, **options)
    cover = functools.partial(coverage_sums, size=8, grid=4, patch=4)
    test = functools.partial(eval_step, model=mapped, prepare=lambda images: images, axis_name=AXIS, cover=cover)
    everywhere = replicate(state)
    assert jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), everywhere) == replicated_shapes(state)
    state, metrics = on_all_devices(train, donate=(0,))(
        everywhere, shard({"image": images, "label": labels}), jax.random.key(1)
    )
    mask = np.arange(8) < 7
    corner = random.integers(0, 8, (8, 2)).astype(np.int32)
    batch = shard({"image": images, "label": labels, "mask": mask, "corner": corner})
    variables = replicate({"params": first_copy(state.params), "batch_stats": first_copy(state.batch_stats)})
    sums = on_all_devices(test)(variables, batch, jax.random.key(2))
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(first_copy((state, metrics, sums))))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def test_two_devices_equal_one(tmp_path):
    out = tmp_path / "two.npz"
    here = pathlib.Path(__file__)
    code = f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as t; t.save({str(out)!r})"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)
    two, one = dict(np.load(out)), step_once()
    assert two.pop("devices") == 2
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=2e-4, atol=2e-5, err_msg=name)
    assert one["[2]['count']"] == one["[2]['coverage']['digits']"] == 7
    assert one["[2]['coverage']['blocks']['block0']['digit_kept']"].shape == (2,)


def save(path):
    """What the process with two devices runs."""
    np.savez(path, devices=jax.local_device_count(), **step_once())
