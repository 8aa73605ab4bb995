"""Metrics and times of the steps between two lines of metrics.jsonl."""

import operator
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax

MOST_SKIPPED = 16  # steps in a row: so many bad batches are no accident, and the weights no longer learn


class NonFiniteError(ArithmeticError):
    """A step was not finite, or so many in a row that it is no use to go on.

    Attributes:
      step: Which one, the first; of many in a row the last.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"step {step} is not finite")


class Window:
    """Sums of the metrics of steps, which stay on the devices until something is read.

    Sums are of the finite steps alone, in float64. They go into a checkpoint that falls between two lines, so that the
    line after it is the same whether or not the run was stopped there.

    Args:
      batch_size: Images in a step.
      skips: Whether steps that are not finite have been left out; then MOST_SKIPPED in a row raise `NonFiniteError`,
        otherwise the first one does, when it is read, at the latest by `settle`.
      carried: What `carry` returned before the checkpoint that the run goes on from.
    """

    def __init__(self, *, batch_size: int, skips: bool, carried: Mapping[str, Any] | None = None) -> None:
        carried = carried or {}
        self._batch_size, self._skips = batch_size, skips
        self._pending: list[tuple[int, Any]] = []  # steps and their metrics, still on the devices
        self._sums: Any = carried.get("sums")
        self._finite, self._skipped = carried.get("finite", 0), carried.get("skipped", 0)
        self._in_a_row: int = carried.get("in_a_row", 0)  # skipped up to the latest step, by earlier windows too
        self._times: list[float] = []  # mean step time of each window
        self._timed = 0  # steps since `_began`
        self._glanced = self._began = time.perf_counter()

    def add(self, step: int, metrics: Any) -> None:
        """Takes the metrics of a step, still on the devices."""
        self._pending.append((step, metrics))
        self._timed += 1

    def due(self) -> bool:
        """Whether it is time to look at the metrics, which waits for the devices: about once a second."""
        return time.perf_counter() - self._glanced > 1.0 or len(self._pending) % 16 == 0

    def glance(self) -> dict[str, float]:
        """Loss and accuracy of the latest step, and the speed so far.

        Raises:
          NonFiniteError: As `settle`, if the latest step is not finite.
        """
        latest = {name: float(self._pending[-1][1][name][0]) for name in ("loss", "accuracy", "finite")}
        if not latest.pop("finite"):
            self.settle()
        self._glanced = time.perf_counter()
        return latest | {"images_per_second": self._speed(self._glanced)}

    def settle(self) -> None:
        """Waits for all steps and sums up their metrics.

        Raises:
          NonFiniteError: If a step is not finite and nothing is skipped, or too many in a row were.
        """
        pending, self._pending = self._pending, []
        host = jax.device_get([jax.tree.map(lambda x: x[0], metrics) for _, metrics in pending])
        for (step, _), values in zip(pending, host, strict=True):
            metrics = jax.tree.map(float, values)
            if metrics.pop("finite"):
                self._finite, self._in_a_row = self._finite + 1, 0
                self._sums = metrics if self._sums is None else jax.tree.map(operator.add, self._sums, metrics)
                continue
            self._skipped, self._in_a_row = self._skipped + 1, self._in_a_row + 1
            if not self._skips or self._in_a_row >= MOST_SKIPPED:
                raise NonFiniteError(step)

    def carry(self) -> dict[str, Any]:
        """What has been summed up, as JSON values."""
        counts = {"finite": self._finite, "skipped": self._skipped, "in_a_row": self._in_a_row}
        return {"sums": self._sums} | counts

    def last_was_skipped(self) -> bool:
        """Whether the latest step that has been summed up was left out."""
        return self._in_a_row > 0

    def close(self) -> dict[str, Any]:
        """Means over the window, and `skipped`, the steps left out, where there may be some; then it starts anew.

        Raises:
          NonFiniteError: As `settle`.
        """
        self.settle()
        now = time.perf_counter()
        mean = {} if self._sums is None else jax.tree.map(lambda total: total / self._finite, self._sums)
        if self._skips:
            mean["skipped"] = self._skipped
        mean["images_per_second"] = self._speed(now)
        self._times.append((now - self._began) / self._timed)
        self._sums, self._finite, self._skipped = None, 0, 0
        self.restart()
        return mean

    def restart(self) -> None:
        """Forgets the time spent on something else than steps."""
        self._timed, self._began = 0, time.perf_counter()

    def median_step(self) -> float | None:
        """Median over the windows of the mean step time, in seconds; None before the first has been closed."""
        return statistics.median(self._times) if self._times else None

    def _speed(self, now: float) -> float:
        return self._batch_size * self._timed / (now - self._began)
