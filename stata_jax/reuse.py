"""The folder of an earlier run or of a converted checkpoint: reading it, continuing it, starting from its weights."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.config_rules import RULES

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

# What may change between a run and its continuation, such as where the data is; anything else would make another run.
_FREE = ("eval.batch_size", "checkpoint", "train.log_every", "data.data_dir", "data.manual_dir", "data.workers")


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


def has_checkpoints(folder: pathlib.Path) -> bool:
    """Whether a run has come to a checkpoint in a folder, or a conversion left one there."""
    return any(path.name.isdigit() for path in folder.glob("checkpoints/*"))


def check_continues(folder: pathlib.Path, settings: ConfigDict) -> None:
    """Raises where a folder holds checkpoints or results of another config than the one that is to go on there.

    Args:
      folder: Of a run; it may be missing.
      settings: The config that is asked for.

    Raises:
      ConfigError: Naming the first key that differs, of those on which the result depends.
    """
    path = folder / "config.json"
    if not path.exists() or not (has_checkpoints(folder) or (folder / "summary.json").exists()):
        return
    try:
        have = config.from_json(path.read_text())  # a key that is younger than the run has its default, as it was
    except ValueError as error:
        raise config.ConfigError(f"{path} is damaged ({error}): move {folder} away to start anew") from error
    for key in RULES:
        if have[key] != settings[key] and not key.startswith(_FREE):
            raise config.ConfigError(
                f"{folder} holds a run with {key}={have[key]}, not {settings[key]}: name another folder with "
                "--workdir, or delete that one"
            )


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
