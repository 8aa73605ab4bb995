"""What follows a training step: its metrics are written and said, its state is tested and saved."""

import math
import time
from collections.abc import Callable
from typing import Any

import optax
from ml_collections import ConfigDict

from stata_jax import stopping
from stata_jax.train import balance, parallel, processes, report
from stata_jax.train.checkpoint import Checkpoints
from stata_jax.train.metrics import MetricsWriter, NoMetrics
from stata_jax.train.progress import Progress
from stata_jax.train.state import TrainState
from stata_jax.train.window import NonFiniteError, Window


class Logbook:
    """Writes down a training as it goes.

    Attributes:
      accuracy: Of the latest state, where it has been tested; else None.
    """

    def __init__(
        self,
        settings: ConfigDict,
        steps_per_epoch: int,
        schedule: optax.Schedule,
        measure: Callable[[TrainState], dict[str, float]],
        record: dict[str, Any],
        checkpoints: Checkpoints,
        writer: MetricsWriter | NoMetrics,
        progress: Progress,
    ) -> None:
        """Begins where `record` ends.

        Args:
          settings: The config.
          steps_per_epoch: Steps in an epoch.
          schedule: Learning rate by update.
          measure: The accuracy of a state.
          record: What is saved beside a state, and changed here.
          checkpoints: Where to.
          writer: Gets the metrics.
          progress: Says them.
        """
        self.settings, self.steps_per_epoch, self.schedule, self.measure = settings, steps_per_epoch, schedule, measure
        self.record, self.checkpoints, self.writer, self.progress = record, checkpoints, writer, progress
        self.accuracy: dict[str, float] | None = None
        self._agreement = processes.Agreement()
        self._stop: int | None = None  # the signal after which all processes end
        self._skips = settings.train.on_nonfinite == "skip"
        self._window = Window(
            batch_size=settings.train.batch_size, skips=self._skips, carried=record.pop("window", None)
        )

    def begin(self) -> None:
        """Starts the clocks; for just before the first step."""
        self._window.restart()
        self._saved_at = time.monotonic()

    def weigh(self, weight: dict[str, float]) -> None:
        """Writes down what the alignment losses weigh, see `weigh_alignment`."""
        self.record["alignment"] = weight
        self.progress.note(balance.say_weight(weight))
        self.writer.write(1, {"epoch": 1, "alignment": weight})

    def after(self, step: int, state: TrainState, metrics: Any) -> None:
        """Does what is due after a step.

        Args:
          step: Counted from 1.
          state: On all devices.
          metrics: What the step returned, still on the devices.

        Raises:
          DivergedError: If the step is not finite, or too many in a row were not.
          Stopped: After a signal, when the state has been saved.
        """
        self._window.add(step, metrics)
        self._stop = self._agreement.after_step()
        tested = step % (self.settings.eval.every_epochs * self.steps_per_epoch) == 0 or self._is_last(step)
        logged = tested or step % self.settings.train.log_every == 0
        saved = tested or self._saves(step)
        try:
            if saved or logged or self._window.due():
                self.progress.update(step, epoch=self._epoch(step), **self._window.glance())
            if logged:
                self._write(step)
            elif saved:
                self._window.settle()  # nothing is saved that is not finite
        except NonFiniteError as error:
            raise self._diverged(error.step) from error
        if saved:
            self._save(parallel.first_copy(state), step, tested=tested)

    def test(self, state: TrainState) -> None:
        """Tests a state; writes and says its accuracy, and keeps the best one in the record."""
        processes.check_alone()
        accuracy, step = self.measure(state), int(state.step)
        self.writer.write(step, {"epoch": self._epoch(step), "test": accuracy})
        whose = " (averaged weights)" if self.settings.train.ema_decay > 0 else ""
        odd = "" if math.isfinite(accuracy["loss"]) else ", and the loss is not finite"
        self.progress.note(f"epoch {self._epoch(step)}: test top-1 {100 * accuracy['top1']:.2f} %{whose}{odd}")
        if accuracy["top1"] >= self.record.get("best", {}).get("top1", 0.0):
            self.record["best"] = {"step": step, "top1": accuracy["top1"], "images": int(accuracy["images"])}
        self.accuracy = accuracy

    def _epoch(self, step: int) -> int:
        return (step - 1) // self.steps_per_epoch + 1

    def _is_last(self, step: int) -> bool:
        return step == self.settings.train.epochs * self.steps_per_epoch

    def _saves(self, step: int) -> bool:
        """Whether a step is saved, tested or not."""
        steps, minutes = self.settings.checkpoint.every_steps, self.settings.checkpoint.every_minutes
        return (
            (steps > 0 and step % steps == 0)
            or 0 < 60 * minutes < time.monotonic() - self._saved_at
            or self._stop is not None
        )

    def _write(self, step: int) -> None:
        """Writes the means since the line before."""
        values = self._window.close()
        skipped = self.record["skipped"] = self.record.get("skipped", 0) + values.get("skipped", 0)
        # The rate of this step goes by the updates before it, so its own being left out is no matter.
        rate = float(self.schedule(step - 1 - (skipped - self._window.last_was_skipped())))
        self.writer.write(step, {"epoch": self._epoch(step), "train": values | {"learning_rate": rate}})

    def _save(self, state: TrainState, step: int, *, tested: bool) -> None:
        self.accuracy = None
        self.record["step_s"] = self._window.median_step() or self.record.get("step_s")
        if tested:
            try:
                self.test(state)
            except stopping.Stopped:
                self.record["untested"] = True
        best = self.record.get("best", {}).get("step")
        self.checkpoints.save(state, self.record | {"window": self._window.carry()}, best=best)
        if (number := self._stop or processes.requested_alone()) is not None:
            self.checkpoints.wait()
            processes.wait("saved")  # by the first of them, which none may leave alone before
            raise stopping.Stopped(number, step=step)
        self.begin()

    def _diverged(self, step: int) -> stopping.DivergedError:
        self.checkpoints.wait()
        return stopping.DivergedError(
            report.diverged(
                self._skips,
                step=step,
                rate=float(self.schedule(step - 1)),
                saved=self.checkpoints.newest(),
                dtype=self.settings.model.dtype,
            )
        )
