"""Checkpoints of a run, by orbax: the newest ones and the best one are kept."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from stata_jax.training.state import TrainState


class Checkpoints:
    """The checkpoints below `folder`, one per step: the state and a JSON record beside it."""

    def __init__(self, folder: pathlib.Path, *, keep: int = 1) -> None:
        """Opens the folder; makes it if there is none.

        Args:
          folder: Where the checkpoints are.
          keep: How many of the newest are kept, beside the best.
        """
        policies = ocp.checkpoint_managers.preservation_policy
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics["accuracy"], n=1, keep_checkpoints_without_metrics=False
        )
        policy = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(preservation_policy=policy, create=True),
            item_names=("state", "record"),
        )

    def save(self, state: TrainState, record: dict[str, Any], *, accuracy: float | None) -> None:
        """Saves in the background; a checkpoint that is not whole is never seen.

        Args:
          state: One device's copy.
          record: What to know beside it; JSON values.
          accuracy: Test accuracy, by which the best is known; None if it was not measured.
        """
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)),
            metrics=None if accuracy is None else {"accuracy": accuracy},
            force=True,
        )

    def restore(self, template: Any) -> tuple[TrainState, dict[str, Any]] | None:
        """Loads the newest whole checkpoint.

        Args:
          template: A state, or its shapes and types.

        Returns:
          The state and its record, or None if there is no checkpoint.

        Raises:
          ValueError: If checkpoints exist and none can be read.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        wanted = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore())
        found = self._read(wanted, None)
        return None if found is None else (found[0]["state"], found[0]["record"])

    def variables(self, *, step: int | None = None) -> tuple[dict[str, Any], int] | None:
        """Loads `params` and `batch_stats` as they were saved, whatever their shapes.

        Args:
          step: Which one; None for the newest that can be read.

        Returns:
          The variables and the step, or None if there is no such checkpoint.

        Raises:
          ValueError: If checkpoints exist and none can be read.
        """
        found = self._read(ocp.args.Composite(state=ocp.args.StandardRestore()), step)
        if found is None:
            return None
        state = found[0]["state"]
        return {"params": state["params"], "batch_stats": state["batch_stats"]}, found[1]

    def _read(self, wanted: ocp.args.Composite, step: int | None) -> tuple[Any, int] | None:
        """Restores the newest checkpoint that can be read, or that of one step."""
        steps = [s for s in sorted(self._manager.all_steps(), reverse=True) if step in (None, s)]
        for candidate in steps:
            try:
                return self._manager.restore(candidate, args=wanted), candidate
            except Exception as error:  # what a damaged file raises depends on where it is damaged
                logging.warning("checkpoint %s cannot be read and is passed over: %s", candidate, error)
        if steps:
            raise ValueError(
                f"no checkpoint in {self._manager.directory} can be read: move the folder away to start anew"
            )
        return None

    def wait(self) -> None:
        """Waits for a save in the background."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for a save in the background, then closes."""
        self.wait()
        self._manager.close()
