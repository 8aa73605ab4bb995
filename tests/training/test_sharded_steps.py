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

from stata_jax.data.augment import smooth_one_hot
from stata_jax.models.registry import FAMILIES
from stata_jax.sparsity.maps import Aligned
from stata_jax.training.losses import stata_loss
from stata_jax.training.state import create_state
from stata_jax.training.step import train_step

OPTIMIZER = optax.sgd(0.1)  # Adam would blow up the rounding errors of gradients that are 0
PRUNED = {
    "anchor": True,
    "keep_rate": 0.5,
    "prune_at": (0,),
    "align": Aligned(intra_at=(0, 1), inter_at=(0, 1), match="gather"),
}
CASES = {
    f"{family}_{name}": {"family": family, **settings}
    for family in FAMILIES
    for name, settings in {
        "dense": {},
        "dense_lean": {"lean": True, "recompute": True},
        "pruned": PRUNED,
        "pruned_lean": PRUNED | {"lean": True, "recompute": True},
    }.items()
} | {
    "plif": {"family": "spikingformer", "neuron": "plif", **PRUNED},
    "events": {"family": "sdt", "dvs_mode": True, "lean": True, **PRUNED},
    "in_turn": {"family": "spikingformer", "accumulate": 2, **PRUNED},
}
IMAGES = np.random.default_rng(0).uniform(size=(8, 16, 16, 1)).astype(np.float32)
BATCH = {"image": IMAGES, "label": (np.arange(8) % 3).astype(np.int32)}


def step(name, axis_name, state, batch, key):
    """One step of a case: the next state and the metrics."""
    settings = dict(CASES[name])
    family, accumulate, weight = settings.pop("family"), settings.pop("accumulate", 1), float("align" in settings)
    tet = dict(classification="tet", tet_means=1.0, tet_lambda=0.1)
    return train_step(
        state,
        batch,
        key,
        model=network(family, **settings, axis_name=axis_name),
        optimizer=OPTIMIZER,
        objective=functools.partial(stata_loss, alpha=weight, beta=weight, distance="mse", **tet),
        augment=lambda key, images, labels, step: (images, smooth_one_hot(labels, num_classes=3, smoothing=0.1)),
        axis_name=axis_name,
        accumulate=accumulate,
    )


def network(family, **settings):
    return FAMILIES[family](
        num_classes=3, timesteps=2, dim=16, depth=2, heads=2, pooling="1100", attention_scale=0.25, **settings
    )


def first_state(name):
    settings = {key: value for key, value in CASES[name].items() if key != "accumulate"}
    return create_state(
        network(**settings), OPTIMIZER, jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype), key=jax.random.key(0)
    )


def named(name, tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"{name}{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}


def save(path, *names):
    """What a process with several devices runs."""
    found, failures = {"devices": jax.device_count()}, {}
    for name in names or CASES:
        arguments = jax.device_get(first_state(name)), BATCH, jax.random.key(1)
        for engine in engines.ENGINES:
            place = f"{name}/{engine}/"
            try:
                result = engines.run(engine, functools.partial(step, name), arguments, (None, 0, None), (None, None))
            except Exception as error:
                failures[f"{place}failure"] = f"{type(error).__name__}: {error}"[:600]
                continue
            found |= named(place, result)
    np.savez(path, **found, **failures)
