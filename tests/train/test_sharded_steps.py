"""The whole training step on several devices, however JAX divides the batch over them."""

import functools
import os
import pathlib
import subprocess
import sys

import engines
import jax
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from stata_jax import build, config, speed
from stata_jax.data.augment.targets import smooth_one_hot
from stata_jax.models.registry import FAMILIES
from stata_jax.pruning.maps import Aligned
from stata_jax.train.losses import stata_loss
from stata_jax.train.state import create_state, initializer
from stata_jax.train.step import train_step

ROOT = pathlib.Path(__file__).parents[2]
OPTIMIZER = optax.sgd(0.1)  # Adam would blow up the rounding errors of gradients that are 0
PRUNED = {"anchor": True, "keep_rate": 0.5, "prune_at": (0,), "align": Aligned(intra_at=(0, 1), inter_at=(0, 1))}
KERNELS = {"ops": speed.operations("cpu", remat=True)}
# Every family, dense or pruned, by kernels or plain: each case compiles once for every way of dividing the batch.
CASES = {
    "spikingformer_pruned": PRUNED | KERNELS | {"distance": "norm"},
    "spikformer_dense": {"depth": 1},
    "sdt_pruned": PRUNED | KERNELS | {"dvs_mode": True},
    "spikingformer_in_turn": PRUNED | {"accumulate": 2},  # not for jit, whose micro-batches are of the whole batch
}
ON_FOUR = ("spikingformer_pruned",)
IMAGES = np.random.default_rng(0).uniform(size=(8, 16, 16, 1)).astype(np.float32)
BATCH = {"image": IMAGES, "label": (np.arange(8) % 3).astype(np.int32)}


def step(name, axis_name, state, batch, key):
    """One step of a case: the next state and the metrics."""
    weight = float("align" in CASES[name])
    tet = dict(classification="tet", tet_means=1.0, tet_lambda=0.1)
    return train_step(
        state,
        batch,
        key,
        model=network(name, axis_name=axis_name),
        optimizer=OPTIMIZER,
        objective=functools.partial(
            stata_loss, alpha=weight, beta=weight, distance=CASES[name].get("distance", "mse"), **tet
        ),
        augment=lambda key, images, labels, step: (images, smooth_one_hot(labels, num_classes=3, smoothing=0.1)),
        axis_name=axis_name,
        accumulate=CASES[name].get("accumulate", 1),
    )


def network(name, **settings):
    small = dict(num_classes=3, timesteps=2, dim=16, depth=2, heads=2, pooling="1100", attention_scale=0.25)
    settings |= {key: value for key, value in CASES[name].items() if key not in ("accumulate", "distance")}
    return FAMILIES[name.split("_")[0]](**small | settings)


def first_state(name):
    shape = jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype)
    return jax.device_get(create_state(network(name), OPTIMIZER, shape, key=jax.random.key(0)))


def named(result):
    """The leaves of a state and metrics by where they stand."""
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(result)}


def save(path, *names):
    """What a process with several devices runs."""
    found = {"devices": jax.device_count()}
    for name in names:
        arguments = first_state(name), BATCH, jax.random.key(1)
        for engine in engines_for(name):
            try:
                result = named(
                    engines.run(engine, functools.partial(step, name), arguments, (None, 0, None), (None,) * 2)
                )
            except Exception as error:
                result = {"failure": f"{type(error).__name__}: {error}"[:1000]}
            found |= {f"{name}/{engine}/{place}": x for place, x in result.items()}
    np.savez(path, **found)


def engines_for(name):
    return [engine for engine in engines.ENGINES if engine != "jit" or "accumulate" not in CASES[name]]


@pytest.fixture(scope="module")
def on_devices(tmp_path_factory):
    """The steps of all engines by the number of devices, each from a process of its own."""

    @functools.cache
    def run(count):
        out, here = tmp_path_factory.mktemp("sharded") / "found.npz", pathlib.Path(__file__)
        folders, names = [str(here.parent), str(here.parents[1] / "helpers")], ON_FOUR if count == 4 else tuple(CASES)
        code = f"import sys; sys.path[:0] = {folders!r}; import {here.stem} as t; t.save({str(out)!r}, *{names!r})"
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(count)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=1800)
        found = dict(np.load(out))
        assert found["devices"] == count
        return found

    return run


@pytest.mark.parametrize(
    ("count", "name", "engine"),
    [
        (count, name, engine)
        for count, names in ((2, CASES), (4, ON_FOUR))
        for name in names
        for engine in engines_for(name)
        if engine != "pmap"
    ],
)
def test_a_step_is_that_of_pmap(count, name, engine, on_devices):
    found = on_devices(count)
    expected, actual = (
        {key.removeprefix(start): x for key, x in found.items() if key.startswith(start)}
        for start in (f"{name}/pmap/", f"{name}/{engine}/")
    )
    assert "failure" not in expected, expected["failure"]
    assert "failure" not in actual, actual["failure"]
    assert expected.keys() == actual.keys() and len(expected) > 50
    before = named(first_state(name))
    for place, x in expected.items():
        np.testing.assert_allclose(actual[place], x, rtol=2e-4, atol=2e-5, err_msg=place)
    moved = {place.removeprefix("[0]") for place, x in expected.items() if place.startswith("[0].params")}
    assert sum(np.any(expected[f"[0]{place}"] != before[place]) for place in moved) > len(moved) / 2


RECIPES = {
    "cifar100": {},  # RandAugment
    "imagenet": {"augment.mixup": 0.5, "augment.cutmix": 1.0, "augment.mix_off_epoch": 3},
    "cifar10_dvs": {},
    "digits": {"sparsity.metric": "random", "train.accumulate": 2, "train.ema_decay": 0.9},
    "digits_dvs": {"train.accumulate": 2, "train.batch_norm": "device"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_steps_of_configs_pass_the_check_of_shard_map(recipe):
    """The check is on types, so that tracing shows all of it, and one device is enough."""
    chosen = config.load(str(ROOT / "configs" / f"{recipe}.py"))
    small = {"model.dim": 16, "model.heads": 2, "model.depth": 2, "sparsity.prune_at": (0,), "data.source": "none"}
    chosen = config.apply_overrides(chosen, small | RECIPES[recipe])
    data, timesteps = chosen.data, chosen.model.timesteps
    recorded = data.channels == 2
    shape = (4, *([timesteps] if recorded else []), data.image_size, data.image_size, data.channels)
    images = jax.ShapeDtypeStruct(shape, np.float32 if recorded else np.uint8)
    optimizer, _ = build.optimizer(chosen, steps_per_epoch=10)
    template = jax.ShapeDtypeStruct(shape, np.float32)
    init = initializer(build.model(chosen), optimizer, template, ema=chosen.train.ema_decay > 0)
    state = jax.eval_shape(init, jax.random.key(0))
    one = Mesh(np.array(jax.devices()[:1]), ("batch",))
    mapped = jax.shard_map(
        build.step(chosen, optimizer, steps_per_epoch=10),
        mesh=one,
        in_specs=(PartitionSpec(), PartitionSpec("batch"), PartitionSpec()),
        out_specs=PartitionSpec(),
    )
    batch = {"image": images, "label": jax.ShapeDtypeStruct((4,), np.int32)}
    after, metrics = jax.eval_shape(mapped, state, batch, jax.random.key(0))
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    assert metrics["loss"].shape == ()
