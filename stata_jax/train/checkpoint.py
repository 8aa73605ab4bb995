"""Checkpoints of a run, by orbax: the newest ones and the best one are kept."""

import contextlib
import copy
import dataclasses
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import orbax.checkpoint as ocp
from absl import logging

from stata_jax.train.disk import quiet_when_full
from stata_jax.train.state import TrainState, weights


class CheckpointError(ValueError):
    """No checkpoint can be read where there are some; the message is one sentence for the user."""


@dataclasses.dataclass
class _OneStep:
    """What orbax asks which checkpoints to preserve: that of one step, which a run names whenever it saves.

    Orbax could rank them by a metric that is saved with each. That of a state which is tested only after it has been
    saved would be missing, and adding it would mean deleting a checkpoint that may be the only one.
    """

    step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        return [info.step == self.step for info in checkpoints]


class Checkpoints:
    """The checkpoints below `folder`, one per step: the state and a JSON record beside it."""

    def __init__(self, folder: pathlib.Path, *, keep: int = 1, writing: bool = True) -> None:
        """Opens the folder.

        Args:
          folder: Where the checkpoints are.
          keep: How many of the newest are kept, beside the best.
          writing: Whether to make a missing folder and to clear away what killed saves have left.
        """
        self._folder = folder.absolute()
        self._writing = writing
        if writing:
            self._folder.mkdir(parents=True, exist_ok=True)
        policies = ocp.checkpoint_managers.preservation_policy
        self._best = _OneStep()
        policy = policies.AnyPreservationPolicy([policies.LatestN(keep), self._best])
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                create=False,  # orbax makes no folder where one process of several writes
                cleanup_tmp_directories=writing,
                multiprocessing_options=_alone(),
            ),
            item_names=("state", "record"),
        )

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: pathlib.Path, *, keep: int, writing: bool = True) -> Iterator[Self]:
        """Opens the folder, and closes it at the end.

        Args:
          folder: Where the checkpoints are.
          keep: See `Checkpoints`.
          writing: False for those processes of a run that only read.

        Raises:
          CheckpointError: From what is within, which it is closed after in any case.
        """
        with quiet_when_full():
            checkpoints = cls(folder, keep=keep, writing=writing)
            try:
                yield checkpoints
            except BaseException:
                with contextlib.suppress(Exception):  # that one is the cause, or comes after it
                    checkpoints.close()
                raise
            checkpoints.close()

    def save(self, state: TrainState, record: dict[str, Any], *, best: int | None) -> None:
        """Saves in the background, where the folder is open for writing; a checkpoint is seen only when it is whole.

        Args:
          state: One device's copy.
          record: What to know beside it; JSON values.
          best: The step of the best checkpoint, which is kept too if it is there; None if none has been tested.
        """
        if not self._writing:
            return
        self._best.step = best
        record = copy.deepcopy(record)  # it is written later, when the caller's may have changed
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_on_host(_parts(state))), record=ocp.args.JsonSave(record)
            ),
            force=True,
        )

    def restore(self, template: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Loads the newest whole checkpoint, to go on from it: newer ones that cannot be read are set aside.

        Args:
          template: A state, or its shapes and types.

        Returns:
          The state and its record, or None if there is no checkpoint.

        Raises:
          CheckpointError: If checkpoints exist and none can be read.
        """
        here = _here()
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), _parts(template))
        wanted = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore())
        found = self._read(wanted, None)
        if found is None:
            return None
        restored, step = found
        for damaged in [s for s in self._manager.all_steps() if s > step and self._writing]:
            # Out of the way, or the save of that step would fail.
            (self._folder / str(damaged)).rename(self._folder / f"damaged_{damaged}_{time.time_ns()}")
        self._manager.reload()
        return TrainState(**restored["state"]), restored["record"]

    def variables(self, *, step: int | None = None) -> tuple[dict[str, Any], int] | None:
        """Loads the `params` and `batch_stats` to evaluate with as they were saved, whatever their shapes.

        Args:
          step: Which one; None for the newest that can be read.

        Returns:
          The variables and the step, or None if there is no such checkpoint.

        Raises:
          CheckpointError: If checkpoints exist and none can be read.
        """
        found = self._read(ocp.args.Composite(state=ocp.args.StandardRestore(fallback_sharding=_here())), step)
        if found is None:
            return None
        return weights(TrainState(**found[0]["state"])), found[1]

    def _read(self, wanted: ocp.args.Composite, step: int | None) -> tuple[Any, int] | None:
        """Restores the newest checkpoint that can be read, or that of one step."""
        steps = [s for s in sorted(self._manager.all_steps(), reverse=True) if step in (None, s)]
        for candidate in steps:
            try:
                return self._manager.restore(candidate, args=wanted), candidate
            except Exception as error:  # what a damaged file raises depends on where it is damaged
                logging.warning("checkpoint %s cannot be read and is passed over: %s", candidate, error)
        if steps:
            which = "no checkpoint" if step is None else f"the checkpoint of step {step}"
            raise CheckpointError(f"{which} in {self._folder} can{'' if step is None else 'not'} be read")
        return None

    def newest(self) -> int | None:
        """The step of the newest whole checkpoint, or None if there is none."""
        step: int | None = self._manager.latest_step()
        return step

    def wait(self) -> None:
        """Waits for a save in the background."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for a save in the background, then closes."""
        self.wait()
        self._manager.close()


def _alone() -> ocp.options.MultiprocessingOptions:
    """Has orbax leave the other processes of a run alone: one of them writes, and each reads by itself."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )


def _on_host(tree: Any) -> Any:
    """A copy in the host's memory where there are several processes: orbax writes no arrays of one of them alone."""
    return tree if jax.process_count() == 1 else jax.device_get(tree)


def _here() -> jax.sharding.Sharding:
    """One device of this process, wherever and on however many the run was that saved."""
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _parts(state: TrainState) -> dict[str, Any]:
    """The state by name, without what it does not keep: a checkpoint has no entry for that."""
    parts = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: part for name, part in parts.items() if part is not None}
