"""The folder of an earlier run or of a converted checkpoint: reading it, continuing it, starting from its weights."""

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.config.option import Resume
from stata_jax.config.options import OPTIONS, keys
from stata_jax.paths import expand
from stata_jax.train import conditions

if TYPE_CHECKING:
    from stata_jax.train.state import TrainState


def read_settings(folder: str | os.PathLike[str]) -> ConfigDict:
    """Reads the config of a run or of a converted checkpoint.

    Args:
      folder: Its folder.

    Returns:
      The config.

    Raises:
      ConfigError: If there is none.
    """
    path = expand(folder) / "config.json"
    if not path.is_file():
        raise config.ConfigError(f"{folder} holds no run: there is no config.json in it")
    return config.from_json(path.read_text())


def has_checkpoints(folder: pathlib.Path) -> bool:
    """Whether a run has come to a checkpoint in a folder, or a conversion left one there."""
    return any(path.name.isdigit() for path in folder.glob("checkpoints/*"))


def check_continues(folder: pathlib.Path, settings: ConfigDict) -> dict[str, Any]:
    """Raises where a folder holds checkpoints or results of a run that cannot go on with another config.

    Args:
      folder: Of a run; it may be missing.
      settings: The config that is asked for.

    Returns:
      The former values of what changes the rest of the run, by key; what is no part of the result is left out.

    Raises:
      ConfigError: Naming the first key that differs, of those that may not change.
    """
    changed = _changes(folder, settings, free=keys(Resume.FREE))
    for key, was, now in changed:
        if OPTIONS[key].resume in (Resume.FIXED, Resume.NETWORK):
            raise config.ConfigError(
                f"{folder} holds a run with {key}={was}, not {now}, and that cannot change in a run that has begun: "
                f"set --config.{key}={was}, or name another folder with --workdir"
            )
    return {key: was for key, was, _ in changed}


def check_same(folder: pathlib.Path, settings: ConfigDict) -> None:
    """Raises where a folder holds another result than that of a config, from its first step to its test images.

    A run that has gone on with other conditions is no result of one config, whatever it ended with.

    Args:
      folder: Of a run; it may be missing.
      settings: The config that is asked for.

    Raises:
      ConfigError: Naming the first key that differs, or the file that says what has changed.
    """
    if (path := folder / conditions.FILE).exists():
        raise config.ConfigError(
            f"{folder} holds a run that has gone on with other values, which {path.name} names, and so is the result "
            "of no single config: name another folder with --workdir, or move it away"
        )
    for key, was, now in _changes(folder, settings, free=set(keys(Resume.FREE)) - {"data.test_examples"}):
        raise config.ConfigError(
            f"{folder} holds a run with {key}={was}, not {now}: name another folder with --workdir"
        )


def _changes(folder: pathlib.Path, settings: ConfigDict, *, free: Collection[str]) -> list[tuple[str, Any, Any]]:
    """Keys with another value than in the run of a folder, if it holds one, and both values."""
    path = folder / "config.json"
    if not path.exists() or not (has_checkpoints(folder) or (folder / "summary.json").exists()):
        return []
    try:
        have = config.from_json(path.read_text())  # a key that is younger than the run says what the run did
    except ValueError as error:
        raise config.ConfigError(f"{path} is damaged ({error}): move {folder} away to start anew") from error
    return [(key, have[key], settings[key]) for key in OPTIONS if key not in free and have[key] != settings[key]]


def check_network(have: ConfigDict, settings: ConfigDict, *, where: str) -> None:
    """Raises where the weights of one config would be another network with another config.

    Another number of classes, T, keep rate, metric or image size is the same network on something else.

    Args:
      have: The config that the weights were trained with.
      settings: The config that they are to be used with.
      where: Begins the sentence: where the weights are.

    Raises:
      ConfigError: Naming the first key that differs.
    """
    for key in keys(Resume.NETWORK):
        if have[key] != settings[key]:
            raise config.ConfigError(
                f"{where} has {key}={have[key]}, this config {settings[key]}: set --config.{key}={have[key]}"
            )


def settings_for(folder: str | os.PathLike[str], overrides: Mapping[str, object] | None) -> ConfigDict:
    """The config to use the weights of a folder with: its own, with overrides, checked.

    Args:
      folder: Of a run or of a converted checkpoint.
      overrides: Values by dotted key.

    Returns:
      The config.

    Raises:
      ConfigError: If there is no config, or the overrides are impossible or make another network.
    """
    have = read_settings(folder)
    settings = config.apply_overrides(have, dict(overrides or {}))
    config.check(settings)
    check_network(have, settings, where=str(folder))
    return settings


def read_variables(folder: str | os.PathLike[str], *, step: int | None = None) -> tuple[dict[str, Any], int]:
    """Reads the weights of a run or of a converted checkpoint; of a run with `train.ema_decay` the averaged ones.

    Args:
      folder: Its folder.
      step: Which checkpoint; None for the newest that can be read.

    Returns:
      `params` and `batch_stats`, and the step that they are of.

    Raises:
      ConfigError: If the folder holds no such checkpoint.
    """
    from stata_jax.train.checkpoint import CheckpointError, Checkpoints  # imports JAX, which takes seconds

    folder, found = expand(folder), None
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
    folder = expand(settings.init_from)
    check_network(read_settings(folder), settings, where=f"init_from: {folder}")


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
    from stata_jax.train.transfer import TransferError, transfer

    folder = expand(settings.init_from)
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
