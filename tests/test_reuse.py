"""`init_from`: starting a run from the weights of another one."""

import dataclasses
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import build, config, main
from stata_jax.train import reuse
from stata_jax.train.checkpoint import Checkpoints
from stata_jax.train.metrics import write_json
from stata_jax.train.state import create_state

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")
SMALL = {
    "model.dim": 16,
    "model.heads": 2,
    "data.train_examples": 32,
    "data.test_examples": 10,
    "train.batch_size": 16,
    "train.epochs": 1,
    "train.warmup_epochs": 0.5,
    "eval.batch_size": 10,
}


def settings_with(**changes):
    return config.load(CONFIG, SMALL | {key.replace("__", "."): value for key, value in changes.items()})


def fresh(settings, value=0.5):
    """A state of the right shapes, all of one value."""
    source = build.source(settings)
    optimizer, _ = build.optimizer(settings, steps_per_epoch=source.steps_per_epoch)
    images = jax.ShapeDtypeStruct((1, *source.image_shape), jnp.float32)
    shapes = jax.eval_shape(
        lambda key: create_state(build.model(settings), optimizer, images, key=key), jax.random.key(0)
    )
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, value, leaf.dtype), shapes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose weights are all 0.25."""
    folder = tmp_path_factory.mktemp("source")
    settings = settings_with(sparsity__anchor=False, sparsity__metric="ssa")
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(dataclasses.replace(fresh(settings, 0.25), step=jnp.int32(7)), {}, best=None)
    checkpoints.close()
    write_json(folder / "config.json", settings.to_dict())
    return folder


def start(folder, **changes):
    settings = settings_with(init_from=str(folder), **changes)
    reuse.check_start(settings)
    return reuse.start_from(fresh(settings), settings)


def test_the_same_network_takes_everything(folder, capsys):
    state = start(folder, sparsity__anchor=False, sparsity__metric="ssa")
    assert capsys.readouterr().out == f"starting from {folder}, step 7: all of its weights\n"
    assert all((np.asarray(leaf) == 0.25).all() for leaf in jax.tree.leaves((state.params, state.batch_stats)))
    assert int(state.step) == 0


def test_averages_start_from_the_weights_too(folder):
    settings = settings_with(init_from=str(folder), sparsity__anchor=False, sparsity__metric="ssa")
    state = fresh(settings)
    state = state.replace(ema={"params": state.params, "batch_stats": state.batch_stats})
    started = reuse.start_from(state, settings)
    assert all((np.asarray(leaf) == 0.25).all() for leaf in jax.tree.leaves(started.ema))
    assert jax.tree.structure(started) == jax.tree.structure(state)


def test_another_t_keep_rate_image_size_and_head_and_an_anchor(folder, capsys):
    changes = dict(model__timesteps=3, sparsity__keep_rate=0.5, data__image_size=48, data__num_classes=12)
    state = start(folder, **changes)
    assert capsys.readouterr().out.splitlines() == [
        f"starting from {folder}, step 7",
        "  params/anchor: not there, starts anew",
        "  params/head/bias: 10 classes there and 12 here, starts anew",
        "  params/head/kernel: 10 classes there and 12 here, starts anew",
    ]
    assert state.params["head"]["kernel"].shape == (16, 12)
    assert (np.asarray(state.params["block0"]["mlp"]["up"]["linear"]["kernel"]) == 0.25).all()
    assert (np.asarray(state.params["anchor"]) == 0.5).all()
    assert (np.asarray(state.params["head"]["kernel"]) == 0.5).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model__heads=4), r"has model\.heads=2, this config 4: set --config\.model\.heads=2"),
        (dict(model__family="sdt"), "has model.family=spikingformer, this config sdt"),
        (dict(model__tau=1.5), "has model.tau=2.0, this config 1.5"),
        (dict(model__depth=3), "has model.depth=2, this config 3"),
    ],
)
def test_another_network_is_refused(folder, changes, message):
    with pytest.raises(config.ConfigError, match=message):
        start(folder, **changes)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(config.ConfigError, match="holds no run"):
        start(tmp_path)


def test_a_run_starts_from_it_once(folder, tmp_path, capsys):
    """The weights count for a fresh run; a resumed one goes on from its own, and needs them no more."""
    folder = shutil.copytree(folder, tmp_path / "source")
    flags = [f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", f"--config.init_from={folder}"]
    flags += [f"--config.{key}={value}" for key, value in SMALL.items()]
    assert main.main(flags) == 0
    assert f"starting from {folder}, step 7" in capsys.readouterr().out
    shutil.rmtree(folder)
    assert main.main(flags) == 0
    out = capsys.readouterr().out
    assert "this run is finished" in out and "starting from" not in out
