"""Checkpoints of the authors' PyTorch models, turned into ours and back."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.errors import ConfigError
from stata_jax.paths import expand
from stata_jax.train import reuse


def import_checkpoint(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    family: str,
    heads: int | None = None,
    timesteps: int | None = None,
    overrides: Mapping[str, object] | None = None,
) -> ConfigDict:
    """Turns an authors' file into a folder with an orbax checkpoint and its config, as a run leaves it.

    Args:
      source: Their file, see `read_state`.
      folder: Where to write; must not hold a run yet.
      family: `spikformer`, `spikingformer` or `sdt`.
      heads: h, where the shapes do not tell it (SDT's do).
      timesteps: T.
      overrides: Further values by dotted config key, where the model is none of the published ones. With another
        `data.num_classes` than the file's, and where the file has no head, the model gets a fresh one, which is said.

    Returns:
      The config that was written.

    Raises:
      ConfigError: If the file cannot be read or is none of that family's, with the names that are missing, left over
        or of another shape.
    """
    from stata_jax.models.authors import HEAD, STYLES, import_state
    from stata_jax.models.infer import settings_of
    from stata_jax.models.state_files import StateFileError, read_state
    from stata_jax.train.checkpoint import Checkpoints
    from stata_jax.train.metrics import write_json
    from stata_jax.train.state import TrainState

    source, folder = expand(source), expand(folder)
    if family not in STYLES:
        raise ConfigError(f"--family is {family!r}, but it must be one of {', '.join(STYLES)}")
    if (folder / "config.json").exists() or (folder / "checkpoints").exists():
        raise ConfigError(f"{folder} holds a run already: name another folder with --output")
    try:
        state = read_state(source)
        told, assumed = settings_of(state, family=family)
        variables = import_state(state, family=family)
    except StateFileError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
    headless = "" if any(name in state for name in HEAD) else "the file has no head"
    classes = (overrides or {}).get("data.num_classes")
    if classes is not None and classes != told.get("data.num_classes", classes):
        headless = f"the file's head of {told.pop('data.num_classes')} classes is left out"
    asked = {"model.heads": heads, "model.timesteps": timesteps}
    given = {key: value for key, value in asked.items() if value is not None} | dict(overrides or {})
    for key, value in given.items():
        if key in told and told[key] != value:
            raise ConfigError(f"{key} is {value}, but the weights of {source} tell {told[key]}")
    values = {**assumed, **told, **given}
    values = _dense(source, values) | values
    for key, hint in {
        "model.heads": "12 in the CIFAR models of width 384, 8 in Spikingformer's of CIFAR-100",
        "model.timesteps": "4 for images",
    }.items():
        if key not in values:
            flag = key.removeprefix("model.")
            raise ConfigError(f"the shapes do not tell {key}: give --{flag}=N (published: {hint})")
    settings = config.apply_overrides(config.defaults(), values)
    config.check(settings)
    if headless:
        variables["params"]["head"] = _fresh_head(settings)
    _check_shapes(state, variables, settings, source)

    import jax.numpy as jnp

    checkpoints = Checkpoints(config.prepare_workdir(folder) / "checkpoints")
    record = {"converted_from": source.name}
    whole = TrainState(jnp.zeros((), jnp.int32), variables["params"], variables["batch_stats"], {})
    checkpoints.save(whole, record, best=None)
    checkpoints.close()
    write_json(folder / "config.json", settings.to_dict())
    assumed = {key: value for key, value in assumed.items() if key not in given}
    for title, part in {
        "the weights tell": told,
        "you say": given,
        "assumed, as in the published models (--config.KEY=VALUE changes it)": assumed,
    }.items():
        print(f"{title}: {', '.join(f'{key}={settings[key]}' for key in part)}")
    if headless:
        print(f"{headless}: a fresh one of {settings.data.num_classes} classes, to be trained, is in its place")
    return settings


def _dense(source: pathlib.Path, values: Mapping[str, Any]) -> dict[str, object]:
    """What the config of a model without STATA, trained elsewhere, has in common."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in source.name.split(".")[0])
    digits = values["data.channels"] == 1 and values["data.num_classes"] == 10
    whole = {} if digits else {"data.train_examples": 0, "data.test_examples": 0}
    return whole | {
        "name": name.strip("._-") or "converted",
        "data.source": "digits" if digits else "none",
        "sparsity.keep_rate": 1.0,
        "align.alpha": 0.0,
        "align.beta": 0.0,
    }


def _style(settings: ConfigDict) -> Any:
    """How the authors name the arrays of this model."""
    from stata_jax.models.authors import style_of

    model = settings.model
    return style_of(model.family, pooling=model.pooling, qkv_bias=model.qkv_bias, channels=settings.data.channels)


def _fresh_head(settings: ConfigDict) -> Any:
    """The parameters of the model's head as training would start with them."""
    import jax
    import jax.numpy as jnp

    from stata_jax import build

    model, size = build.model(settings), settings.data.image_size
    images = jnp.zeros((1, size, size, settings.data.channels))
    return jax.jit(lambda key: model.init(key, images)["params"]["head"])(jax.random.key(settings.seed))


def _check_shapes(
    state: Mapping[str, np.ndarray], variables: Mapping[str, Any], settings: ConfigDict, source: pathlib.Path
) -> None:
    """Raises, by the authors' names, where the file does not hold just what the model needs."""
    import jax
    import jax.numpy as jnp
    from flax.traverse_util import flatten_dict

    from stata_jax import build
    from stata_jax.models.authors import key_table

    size = settings.data.image_size
    images = jax.ShapeDtypeStruct((1, size, size, settings.data.channels), jnp.float32)
    wanted = flatten_dict(jax.eval_shape(build.model(settings).init, jax.random.key(0), images))
    have = flatten_dict(variables)
    names = {path: key for key, path in key_table(_style(settings), depth=settings.model.depth).items()}
    problems = []
    for path in sorted(wanted.keys() | have.keys()):
        name = names.get(path, "/".join(path))
        if path not in have:
            problems.append(f"{name} is missing")
        elif path not in wanted:
            problems.append(f"{name} is left over")
        elif np.shape(have[path]) != wanted[path].shape:
            shape = state[name].shape if name in state else np.shape(have[path])
            problems.append(f"{name} of {shape} does not give the {wanted[path].shape} that the model has")
    if problems:
        raise ConfigError(f"{source} does not fit {settings.model.family}: {'; '.join(problems)}")


def export_checkpoint(
    folder: str | os.PathLike[str], target: str | os.PathLike[str], *, step: int | None = None
) -> None:
    """Writes the weights of a run under the authors' names, as safetensors; published variants load strictly.

    Args:
      folder: Folder of a run or of a converted checkpoint.
      target: The file to write.
      step: Which checkpoint; None for the newest.

    Raises:
      ConfigError: If there is no such checkpoint, or the model has parts that the authors' models lack.
    """
    folder, target = expand(folder), expand(target)
    settings = reuse.read_settings(folder)
    variables, at = reuse.read_variables(folder, step=step)
    from stata_jax.models.authors import export_state, unused_arrays
    from stata_jax.models.state_files import write_safetensors

    model, style = settings.model, _style(settings)
    try:
        state = export_state(variables, style, depth=model.depth)
    except ValueError as error:
        raise ConfigError(f"{folder} cannot be written under the authors' names: {error}") from error
    patches = (settings.data.image_size // 2 ** model.pooling.count("1")) ** 2
    positions = patches if model.family == "spikformer" and settings.data.channels == 2 else None
    state |= unused_arrays(state, style, heads=model.heads, positions=positions)
    try:
        write_safetensors(state, target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from error
    extra = ", and the anchor as 'anchor', which their models do not have" if "anchor" in state else ""
    print(f"wrote {len(state)} arrays of step {at} to {target}, under the authors' names{extra}")
