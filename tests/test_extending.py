"""The page about extending: its files are written, and what its commands name is built and traced."""

import pathlib
import re
import shlex
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import build, cli, registries
from stata_jax.pruning.metrics import token_scores
from stata_jax.tools.operations import count_macs

PAGE = (pathlib.Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^python -m stata_jax\.main (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the files lie, and commands are given; names that are registered are forgotten."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    for registry in vars(registries).values():
        if isinstance(registry, registries.Registry):
            for name, names in vars(registry).items():
                monkeypatch.setattr(registry, name, dict(names))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: re.findall(r"my_\w+", command)[0])
def test_what_a_command_names_is_built(command, folder):
    others, overrides = cli.split_overrides(shlex.split(command))
    settings = cli.load_config(others[0].removeprefix("--config="), overrides)
    source = build.source(settings)
    batch = source.train_batch(0, 0)
    augment = jax.jit(build.augment(settings, steps_per_epoch=source.steps_per_epoch))
    images, _ = augment(jax.random.key(0), jnp.asarray(batch["image"]), jnp.asarray(batch["label"]), jnp.int32(0))
    assert images.shape == (settings.train.batch_size, *source.image_shape) and np.isfinite(images).all()
    model = build.model(settings)
    (logits, _), _ = jax.eval_shape(
        lambda key: model.init_with_output({"params": key, "tokens": key}, images, train=True), jax.random.key(1)
    )
    assert logits.shape == (settings.train.batch_size, settings.data.num_classes)
    assert set(re.findall(r"my_\w+(?=:)", command)) <= set(sys.modules)


def test_the_augmentation_blackens_a_pixel_in_a_hundred(folder):
    import my_noise

    images = my_noise.speckle(jax.random.key(0), jnp.full((8, 32, 32, 3), 200, jnp.uint8))
    black = np.asarray(images == 0)
    assert 0.005 < black.mean() < 0.02 and (black.all(-1) == black.any(-1)).all()


def test_the_metric_keeps_the_tokens_that_fire_most(folder):
    random = np.random.default_rng(0)
    q, k = (jnp.asarray(random.integers(0, 2, (2, 3, 6, 8)), jnp.float32) for _ in range(2))
    tokens, key = jnp.zeros((2, 3, 5, 8)), jax.random.key(0)
    scores = token_scores("my_metric:firing_count", tokens=tokens, q=q, k=k, key=key)
    np.testing.assert_array_equal(scores, (np.asarray(q) + np.asarray(k))[:, :, 1:].sum(-1))


def test_operations_of_the_family_are_counted_from_its_layers(folder):
    """Its MLP has one matmul of D x D, on the tokens that the first block keeps and the anchor, at each timestep."""
    settings = cli.load_config("digits", ["--config.model.family=my_family:ShallowSpikingformer"])
    macs = count_macs(build.model(settings), (32, 32, 1))
    assert macs["block0/mlp/down"] == settings.model.timesteps * (13 + 1) * 64 * 64
    assert [name for name in macs if "/mlp/" in name] == ["block0/mlp/down", "block1/mlp/down"]
