"""The numbers of a run on disk: metrics.jsonl, TensorBoard event files and small JSON files."""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from stata_jax.paths import expand
from stata_jax.train.event_file import EventFile


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Writes `obj` as indented JSON, whole or not at all.

    The text goes to a temporary file beside `path`, which then takes its place, so that a reader never sees half of
    it. NumPy and JAX numbers and arrays are written as plain numbers and lists; NaN and infinity, which JSON lacks, as
    null.

    Args:
      path: The file to write; its folder is made where it is missing.
      obj: Mappings, sequences, numbers, strings, booleans and None.

    Raises:
      TypeError: If `obj` holds something else.
    """
    text = json.dumps(_plain(obj), indent=2, allow_nan=False) + "\n"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, text.encode())


def write_report(folder: str | os.PathLike[str], name: str, obj: Any, markdown: str) -> None:
    """Leaves a result in a folder, which may begin with `~`, as `{name}.json` and as `{name}.md`.

    Args:
      folder: It is made where it is missing.
      name: Of the files.
      obj: See `write_json`.
      markdown: The same as text, without a newline at the end.
    """
    target = expand(folder)
    write_json(target / f"{name}.json", obj)
    (target / f"{name}.md").write_text(markdown + "\n")


class MetricsWriter:
    """Writes scalars to `workdir/metrics.jsonl`, one JSON object a line, and to TensorBoard in `workdir/tensorboard`.

    A resumed run continues the file of the run before: what that run wrote after `resume_step` is dropped, and so is a
    last line that was cut short. Timings apart, the file then ends up as that of an uninterrupted run. TensorBoard
    hides the same steps.

    Args:
      workdir: Folder of the run; made where it is missing.
      resume_step: Step of the checkpoint that the run resumes from; 0 starts afresh and drops whatever is there.
      untested: Whether the state of that step is yet to be tested: a line that has begun with that is dropped as well.

    Raises:
      ValueError: If `resume_step` is negative, or if a line other than the last is not a JSON object with a step.
    """

    def __init__(self, workdir: str | os.PathLike[str], *, resume_step: int, untested: bool = False) -> None:
        if resume_step < 0:
            raise ValueError(f"resume_step must be 0 (a fresh run) or the step of a checkpoint, got {resume_step}")
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "metrics.jsonl"
        if path.exists():
            written = path.read_bytes()
            kept = _lines_up_to(written, resume_step, path, untested=untested)
            if kept != written:
                _replace(path, kept)
        self._file = path.open("a", encoding="utf-8")
        # TensorBoard hides the events of older files from purge_step on; those of the resumed step itself stay.
        self._events = EventFile(workdir / "tensorboard", purge_step=resume_step + 1 if resume_step else 0)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes one line, and the same scalars to TensorBoard.

        Floats are rounded to 6 significant digits. NaN and infinity become null, and TensorBoard gets no point. The
        line is handed to the operating system before this returns, so it outlives the process.

        Args:
          step: Training steps done so far, those among them whose update was left out.
          values: Names to scalars or to further mappings, whose keys are joined with "/"; a list is the mapping of a
            value for each timestep, `t0`, `t1` and so on.

        Raises:
          ValueError: If `step` is negative, a value is not one number, or a name is "step", empty or there twice.
        """
        if step < 0:
            raise ValueError(f"step must not be negative, got {step}")
        scalars: dict[str, int | float | None] = {}
        _flatten(values, "", scalars)
        self._file.write(json.dumps({"step": int(step)} | scalars, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            if value is not None:
                self._events.add_scalar(name, value, int(step))

    def close(self) -> None:
        """Closes the files. Closing twice is harmless."""
        try:
            self._file.close()
        finally:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with contextlib.suppress(OSError):  # of a full disk, which may well be the error
                self.close()


class NoMetrics:
    """Stands for a `MetricsWriter` where another process writes."""

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _flatten(values: Mapping[str, Any], prefix: str, out: dict[str, int | float | None]) -> None:
    """Puts the scalars of nested mappings into `out`, under their joined names."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, list):
            value = {f"t{t}": each for t, each in enumerate(value)}
        if isinstance(value, Mapping):
            _flatten(value, f"{name}/", out)
        elif not isinstance(key, str) or not key or name == "step" or name in out:
            raise ValueError(f'a metric needs a name of its own, other than "step", got {name!r}')
        else:
            out[name] = _scalar(value, name)


def _scalar(value: Any, name: str) -> int | float | None:
    """The value as an int, a float of 6 significant digits, or None where it is not finite."""
    try:
        array = np.asarray(value)
        if array.ndim:
            raise TypeError
        if array.dtype.kind in "iu":
            return int(array)
        number = float(array)
    except (TypeError, ValueError):
        raise ValueError(f"metric {name!r} must be one number, got {value!r}; average it first") from None
    return float(f"{number:.6g}") if math.isfinite(number) else None


def _plain(obj: Any) -> Any:
    """`obj` with arrays as lists and without the numbers that JSON lacks."""
    if isinstance(obj, Mapping):
        return {key: _plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(value) for value in obj]
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if hasattr(obj, "tolist"):  # NumPy and JAX scalars and arrays
        return _plain(obj.tolist())
    return obj


def _lines_up_to(written: bytes, last_step: int, path: Path, *, untested: bool) -> bytes:
    """The lines of a metrics file that a run resumed at `last_step` keeps; none where it starts afresh."""
    if last_step == 0:
        return b""
    lines = written.split(b"\n")
    torn = lines.pop()  # what follows the last line end: nothing, or a line that was cut short
    if _step(torn) is not None:  # only the line end is missing, so nothing of the line is lost
        lines.append(torn)
    kept = []
    for number, line in enumerate(lines, start=1):
        step = _step(line)
        if step is None:
            raise ValueError(f'{path}, line {number}: not a JSON object with an integer "step"; mend or delete it')
        if step < last_step or (step == last_step and not (untested and b'"test/' in line)):
            kept.append(line + b"\n")
    return b"".join(kept)


def _step(line: bytes) -> int | None:
    """The step of a line of a metrics file, or None where it is not a whole one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if isinstance(step, int) else None


def _replace(path: Path, content: bytes) -> None:
    """Puts `content` in place of the file, so that at any instant the path holds the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
