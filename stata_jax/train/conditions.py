"""The conditions of a run that may change when it goes on, and the record of each change, beside its checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax.config.option import Resume
from stata_jax.config.options import keys

FILE = "changes.json"  # in the folder of a run that has gone on with other conditions

Change = dict[str, Any]  # step, key, was, now


def changes(
    record: Mapping[str, Any], settings: ConfigDict, *, devices: int, step: int, saved: Mapping[str, Any]
) -> list[Change]:
    """What changes the rest of a run.

    It is the checkpoint that says what was, and not the config in the folder: a run may have been asked to go on with
    other values, and have ended before the first step with them.

    Args:
      record: That of the checkpoint to go on from.
      settings: The config that is asked for.
      devices: How many devices there are, which draw random numbers of their own.
      step: Of the checkpoint; 0 for a fresh run.
      saved: Other values than those asked for in the config of the folder, by key, for records that have none.

    Returns:
      For each condition that changes the step after which it does, its key, what it was and what it is now.
    """
    now = _now(settings, devices)
    was = {**now, **saved, **record.get("conditions", {})}
    return [
        {"step": step, "key": key, "was": was[key], "now": now[key]} for key in now if step and was[key] != now[key]
    ]


def note(record: dict[str, Any], settings: ConfigDict, changed: Sequence[Change], *, devices: int) -> None:
    """Puts the conditions of the next steps into a record, and what has changed.

    Args:
      record: To be saved with the next checkpoint.
      settings: The config.
      changed: As `changes` returns it.
      devices: How many devices there are.
    """
    record["conditions"] = _now(settings, devices)
    record["changes"] = [*record.get("changes", []), *changed]


def forget_best(record: dict[str, Any], changed: Sequence[Change], *, test_images: int) -> bool:
    """Takes the best accuracy out of a record where it was measured on other images than the next ones will be.

    Args:
      record: That of the checkpoint to go on from.
      changed: As `changes` returns it.
      test_images: How many test images there are.

    Returns:
      Whether there was one.
    """
    moved = any(change["key"] == "data.path" for change in changed)
    if "best" not in record or not (moved or record["best"].get("images", test_images) != test_images):
        return False
    del record["best"]
    return True


def say(changed: Sequence[Change]) -> str:
    """Such as `train.epochs=5 (it was 3), devices=2 (it was 1)`."""
    return ", ".join(f"{change['key']}={change['now']} (it was {change['was']})" for change in changed)


def _now(settings: ConfigDict, devices: int) -> dict[str, Any]:
    return {key: settings[key] for key in keys(Resume.RECORDED)} | {"devices": devices}
