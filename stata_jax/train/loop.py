"""Trains a model from its config, resumes it, and leaves everything that a run has to show in its folder."""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from stata_jax import build, config, speed, stopping
from stata_jax.data.protocol import Source
from stata_jax.streams import Stream, stream_key
from stata_jax.train import balance, compilation, conditions, parallel, processes, report, reuse
from stata_jax.train.checkpoint import CheckpointError, Checkpoints
from stata_jax.train.disk import full_disk
from stata_jax.train.evaluation import evaluate
from stata_jax.train.lock import locked
from stata_jax.train.logbook import Logbook
from stata_jax.train.metrics import MetricsWriter, NoMetrics, write_json
from stata_jax.train.progress import Progress
from stata_jax.train.state import TrainState, count_parameters, initializer, weights


def train(settings: ConfigDict, workdir: str | os.PathLike[str], *, source: Source | None = None) -> dict[str, Any]:
    """Trains until the last epoch, from the last whole checkpoint if there is one.

    Args:
      settings: The config.
      workdir: Folder of the run, which gets `config.json`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`,
        `summary.json` and `tokens.png`, and `changes.json` where it has gone on with other values.
      source: The data, batches as in `stata_jax.data.protocol.Source`, of which `train.batch_size` and
        `eval.batch_size` are the sizes; None for that of the config. With a source, `data.source` is but a name: `none`
        for images, for recordings that of recordings, such as `cifar10_dvs`. `data.image_size`, `data.channels` and
        `data.num_classes` say what they are like, and the config what is done to them.

    Returns:
      The summary, as in `summary.json`.

    Raises:
      ConfigError: If the config is impossible, the folder holds a run of another config, or the disk is full.
      DivergedError: If a step is not finite and `train.on_nonfinite` is `stop`, or too many in a row and it is `skip`.
      Stopped: After SIGTERM or SIGINT, when the state has been saved; a `KeyboardInterrupt`. Signals are handled so in
        the main thread alone, and only while this runs.
      stopping.LostProcessError: If another process of the run has ended, see `stata_jax.train.processes`.
    """
    folder = config.prepare_workdir(workdir)
    lock = locked(folder) if processes.is_first() else contextlib.nullcontext()
    with stopping.on_signals(), _errors_of_a_sentence(folder), lock:
        return _train(settings, folder, source)


def _train(settings: ConfigDict, workdir: pathlib.Path, source: Source | None) -> dict[str, Any]:
    config.check(settings)
    speed.check_split(settings.train.cpu_devices, threads=settings.train.cpu_threads)
    build.check_devices(settings, parts=("train", "eval"))
    if not reuse.has_checkpoints(workdir):  # a resumed run no longer needs the weights that it started from
        reuse.check_start(settings)
    saved = reuse.check_continues(workdir, settings)
    run = _Run(settings, source)
    writing = processes.is_first()
    with contextlib.ExitStack() as stack:
        with processes.first_before_others("restore"):  # which clears away what a killed save has left
            opened = Checkpoints.opened(workdir / "checkpoints", keep=settings.checkpoint.keep, writing=writing)
            checkpoints = stack.enter_context(opened)
            state, record = checkpoints.restore(run.fresh.shapes) or (None, {"compile": {}})
        start = 0 if state is None else int(state.step)
        processes.check_same(start, what=f"checkpoints in {workdir} of the steps")
        if start > run.total_steps:
            raise config.ConfigError(
                f"{workdir} holds a run of {start} steps, more than the {run.total_steps} of train.epochs="
                f"{settings.train.epochs}: raise it"
            )
        devices = jax.device_count()
        changes = conditions.changes(record, settings, devices=devices, step=start, saved=saved)
        if start < run.total_steps:
            conditions.note(record, settings, changes, devices=devices)
        else:
            changes = [change for change in changes if change["key"] != "devices"]  # they test what others have trained
            if changes:
                raise config.ConfigError(
                    f"{workdir} holds a run that is finished with {start} steps, so {conditions.say(changes)} would "
                    "change nothing of it: leave that away, raise train.epochs, or name another folder with --workdir"
                )
        if writing:
            _write_changes(workdir, record.get("changes", []))
            write_json(workdir / "config.json", json.loads(config.to_json(settings)))
        if state is None and settings.init_from:
            state = reuse.start_from(run.fresh.take(), settings)
        elif state is None:
            run.fresh.start()
        report.describe(settings, run.source, parameters=count_parameters(run.fresh.shapes.params))
        if start == run.total_steps:
            print(f"this run is finished ({start} steps): evaluating its last checkpoint")
        elif start:
            print(f"resuming after step {start} of {run.total_steps}")
        if changes:
            print(f"from here on with {conditions.say(changes)}")
        if conditions.forget_best(record, changes, test_images=run.source.test_examples):
            print("the best accuracy is that on these test images, from here on: until now they were others")
            record["untested"] = record.get("untested", False) or start == run.total_steps
        untested = record.get("untested", False)
        writer = _metrics_writer(workdir, start, untested=untested) if writing else NoMetrics()
        stack.enter_context(writer)
        state, record, accuracy = run.fit(state, record, checkpoints, writer)
    summary = report.summarise(settings, accuracy, record, parameters=count_parameters(state.params))
    if writing:
        write_json(workdir / "summary.json", summary)
        report.draw(settings, run.source, state, workdir / "tokens.png")
    print(report.last_words(summary, workdir))
    return summary


class _Run:
    """The parts of a run, built from its config, and the loop over them."""

    def __init__(self, settings: ConfigDict, source: Source | None = None) -> None:
        self.settings = settings
        self.source = build.source(settings) if source is None else build.checked_source(settings, source)
        self.total_steps = settings.train.epochs * self.source.steps_per_epoch
        self.optimizer, self.schedule = build.optimizer(settings, steps_per_epoch=self.source.steps_per_epoch)
        self.key = stream_key(settings.seed, Stream.UPDATES)
        self.aligns = settings.align.alpha > 0 or settings.align.beta > 0
        # The further argument of a step that aligns, with which its weight is measured.
        self.balance = (jnp.asarray(balance.WHOLE, jnp.float32),) if self.aligns else ()
        self.train_step = parallel.on_all_devices(
            build.step(settings, self.optimizer, steps_per_epoch=self.source.steps_per_epoch),
            shared=1 + len(self.balance),
            donate=(0,),
        )
        self.test_step = compilation.compile_when_called(parallel.on_all_devices(build.test_step(settings)))
        images = jax.ShapeDtypeStruct((1, *build.image_shape(settings)), jnp.float32)
        fresh = initializer(build.model(settings), self.optimizer, images, ema=settings.train.ema_decay > 0)
        self.fresh = compilation.Once(fresh, stream_key(settings.seed, Stream.PARAMETERS))

    def test(self, state: TrainState) -> dict[str, float]:
        """Accuracy on the whole test set, with the averaged weights where there are any."""
        variables = parallel.replicate(weights(state))

        def batches() -> Iterator[Any]:
            for i in range(self.source.test_steps):
                processes.check_alone()
                yield self.source.test_batch(i)

        return evaluate(self.test_step, variables, batches(), key=stream_key(self.settings.seed, Stream.TESTS))

    def compile(self, batch: Any, progress: Progress) -> tuple[Any, dict[str, Any]]:
        """Compiles the training step ahead of its first call, which is on that batch."""
        if processes.several():  # a program that `jax.pmap` compiles ahead takes no arrays of one process alone
            progress.note("the training step is compiled when it is called first ...")
            self.fresh.settle()
            processes.connect_devices()
            return self.train_step, {}
        progress.note("compiling the training step (once; the next start finds it in the cache) ...")
        begin = time.perf_counter()
        lowered = self.train_step.lower(parallel.replicated_shapes(self.fresh.shapes), batch, self.key, *self.balance)
        self.fresh.settle()  # what compiling it leaves in the heap is then cleared away with the rest
        compiled = compilation.compile_program(lowered)
        facts = {"compile_s": time.perf_counter() - begin, "peak_bytes": compilation.peak_bytes(compiled)}
        each = " on each device" if jax.local_device_count() > 1 else ""
        memory = "" if facts["peak_bytes"] is None else f", which needs {facts['peak_bytes'] / 1e6:.0f} MB{each}"
        progress.note(f"compiled the training step in {facts['compile_s']:.1f} s{memory}")
        return compiled, facts

    def fit(
        self,
        state: TrainState | None,
        record: dict[str, Any],
        checkpoints: Checkpoints,
        writer: MetricsWriter | NoMetrics,
    ) -> tuple[TrainState, dict[str, Any], dict[str, float]]:
        """Trains to the last step; returns the last state, the record saved with it and its accuracy.

        Args:
          state: Where to go on from; None for the fresh state.
          record: What to save beside it.
          checkpoints: Where to.
          writer: Gets the metrics.
        """
        start = 0 if state is None else int(state.step)
        with Progress(self.total_steps) as progress, contextlib.ExitStack() as stack:
            book = Logbook(
                self.settings,
                self.source.steps_per_epoch,
                self.schedule,
                self.test,
                record,
                checkpoints,
                writer,
                progress,
            )
            if state is not None and record.pop("untested", False):  # stopped before or in its evaluation
                # Its checkpoint stays as it is until the next: it may be the only one, and testing twice is harmless.
                book.test(state)
            if state is not None and start == self.total_steps:
                return state, record, book.accuracy or self.test(state)
            first = self._train_batch(start)  # once: a source that reads ahead would begin anew
            step_fn, record["compile"] = self.compile(first, progress)
            state = self.fresh.take() if state is None else state
            if self.aligns and start == 0:
                state = jax.device_get(state)
                book.weigh(balance.weigh_alignment(step_fn, state, first, self.key))
            state = parallel.replicate(state)
            stack.enter_context(stopping.after_the_step())
            book.begin()
            for step in range(start + 1, self.total_steps + 1):
                batch = first if step == start + 1 else self._train_batch(step - 1)
                state, metrics = step_fn(state, batch, self.key, *self.balance)
                book.after(step, state, metrics)
        assert book.accuracy is not None  # the last step is always tested
        return parallel.first_copy(state), record, book.accuracy

    def _train_batch(self, step: int) -> dict[str, jax.Array]:
        batch = self.source.train_batch(*divmod(step, self.source.steps_per_epoch))
        return parallel.shard({name: batch[name] for name in ("image", "label")})


@contextlib.contextmanager
def _errors_of_a_sentence(workdir: pathlib.Path) -> Iterator[None]:
    """Within it, what the user can mend beside the config ends in one sentence too."""
    try:
        with processes.errors_of_others():
            yield
    except config.ConfigError:
        raise
    except CheckpointError as error:
        raise config.ConfigError(f"{error}: move the folder away to start anew") from error
    except Exception as error:
        if (why := full_disk(error)) is None:
            raise
        raise config.ConfigError(
            f"{workdir} cannot be written any more ({why}): the last whole checkpoint is kept, and the same command "
            "goes on from there when there is room"
        ) from error


def _write_changes(workdir: pathlib.Path, changes: list[conditions.Change]) -> None:
    """Leaves what has changed on the way of a run, and no file where nothing has."""
    if changes:
        write_json(workdir / conditions.FILE, changes)
    else:
        (workdir / conditions.FILE).unlink(missing_ok=True)


def _metrics_writer(workdir: pathlib.Path, step: int, *, untested: bool) -> MetricsWriter:
    try:
        return MetricsWriter(workdir, resume_step=step, untested=untested)
    except ValueError as error:
        raise config.ConfigError(str(error)) from error
