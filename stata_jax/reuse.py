"""Weights of an earlier run or of a converted checkpoint: reading them, and starting a run from them."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from stata_jax import config

if TYPE_CHECKING:
    from stata_jax.training.state import TrainState

# With another value for one of these, the same weights would be another network.
_SAME = (
    "model.family",
    "model.dim",
    "model.depth",
    "model.heads",
    "model.mlp_ratio",
    "model.pooling",
    "model.attention_scale",
    "model.qkv_bias",
    "model.dvs_mode",
    "model.neuron",
    "model.tau",
    "model.threshold",
    "model.attention_threshold",
    "data.channels",
)


def read_settings(folder: pathlib.Path) -> ConfigDict:
    """Reads the config of a run or of a converted checkpoint.

    Args:
      folder: Its folder.

    Returns:
      The config.

    Raises:
      ConfigError: If there is none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise config.ConfigError(f"{folder} holds no run: there is no config.json in it")
    return config.from_json(path.read_text())


def read_variables(folder: pathlib.Path, *, step: int | None = None) -> tuple[dict[str, Any], int]:
    """Reads the weights of a run or of a converted checkpoint; of a run with `train.ema_decay` the averaged ones.

    Args:
      folder: Its folder.
      step: Which checkpoint; None for the newest that can be read.

    Returns:
      `params` and `batch_stats`, and the step that they are of.

    Raises:
      ConfigError: If the folder holds no such checkpoint.
    """
    from stata_jax.training.checkpoint import CheckpointError, Checkpoints  # imports JAX, which takes seconds

    found = None
    if (folder / "checkpoints").is_dir():
        checkpoints = Checkpoints(folder / "checkpoints", writing=False)
        try:
            found = checkpoints.variables(step=step)
        except CheckpointError as error:
            raise config.ConfigError(str(error)) from error
        finally:
            checkpoints.close()
    if found is None:
        raise config.ConfigError(f"{folder} holds no checkpoint" + ("" if step is None else f" of step {step}"))
    return found


def check_start(settings: ConfigDict) -> None:
    """Raises where the weights of `init_from` are another network's than the config's; reads configs alone.

    Another number of classes, T, keep rate or image size is fine, and an anchor may be new; a network that differs in
    anything else is not what the weights were trained for.

    Args:
      settings: The config of the run to start.

    Raises:
      ConfigError: Naming the first key that differs, or the folder if it holds no run.
    """
    if not settings.init_from:
        return
    folder = pathlib.Path(settings.init_from).expanduser()
    theirs = read_settings(folder)
    for key in _SAME:
        if theirs[key] != settings[key]:
            raise config.ConfigError(
                f"init_from: {folder} has {key}={theirs[key]}, this config {settings[key]}: "
                f"set --config.{key}={theirs[key]}"
            )


def start_from(state: "TrainState", settings: ConfigDict) -> "TrainState":
    """Puts the weights of `init_from`, which `check_start` has passed, into a fresh state.

    Prints what was not taken over.

    Args:
      state: The state before the first step.
      settings: Its config, with `init_from` set.

    Returns:
      The state to start from; its optimiser is fresh.

    Raises:
      ConfigError: If there is no such checkpoint, or it does not fit.
    """
    from stata_jax.training.transfer import TransferError, transfer

    folder = pathlib.Path(settings.init_from).expanduser()
    found, step = read_variables(folder)
    try:
        variables, notes = transfer({"params": state.params, "batch_stats": state.batch_stats}, found)
    except TransferError as error:
        raise config.ConfigError(f"init_from: {folder}: {error}") from error
    print(f"starting from {folder}, step {step}" + ("" if notes else ": all of its weights"))
    for note in notes:
        print(f"  {note}")
    ema = None if state.ema is None else variables
    return dataclasses.replace(state, params=variables["params"], batch_stats=variables["batch_stats"], ema=ema)
