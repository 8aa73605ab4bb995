"""Trains a model from its config, resumes it, and leaves everything that a run has to show in its folder."""

import json
import pathlib
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from stata_jax import build, config, report, reuse
from stata_jax.streams import Stream, stream_key
from stata_jax.training import balance, compilation, parallel
from stata_jax.training.checkpoint import CheckpointError, Checkpoints
from stata_jax.training.evaluation import evaluate
from stata_jax.training.metrics import MetricsWriter, write_json
from stata_jax.training.progress import Progress
from stata_jax.training.state import TrainState, count_parameters, initializer, weights


def train(settings: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
    """Trains until the last epoch, from the last whole checkpoint if there is one.

    Args:
      settings: The config.
      workdir: Folder of the run, which gets `config.json`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`,
        `summary.json` and `tokens.png`.

    Returns:
      The summary, as in `summary.json`.

    Raises:
      ConfigError: If the config is impossible, or the folder holds a run of another config.
    """
    config.check(settings)
    build.processor(settings)
    build.check_devices(settings, parts=("train", "eval"))
    if not reuse.has_checkpoints(workdir):  # a resumed run no longer needs the weights that it started from
        reuse.check_start(settings)
    reuse.check_continues(workdir, settings)
    write_json(workdir / "config.json", json.loads(config.to_json(settings)))
    run = _Run(settings)
    checkpoints = Checkpoints(workdir / "checkpoints", keep=settings.checkpoint.keep)
    try:
        state, record = checkpoints.restore(run.fresh.shapes) or (None, {"compile": {}})
        start = 0 if state is None else int(state.step)
        if state is None and settings.init_from:
            state = reuse.start_from(run.fresh.take(), settings)
        elif state is None:
            run.fresh.start()
        report.describe(settings, run.source, parameters=count_parameters(run.fresh.shapes.params))
        if start == run.total_steps:
            print(f"this run is finished ({start} steps): evaluating its last checkpoint")
        elif start:
            print(f"resuming after step {start} of {run.total_steps}")
        with _metrics_writer(workdir, start) as writer:
            state, record, accuracy = run.fit(state, record, checkpoints, writer)
        summary = report.summarise(settings, accuracy, record, parameters=count_parameters(state.params))
        write_json(workdir / "summary.json", summary)
        report.draw(settings, run.source, state, workdir / "tokens.png")
        print(report.last_words(summary, workdir))
        return summary
    except CheckpointError as error:
        raise config.ConfigError(f"{error}: move the folder away to start anew") from error
    finally:
        checkpoints.close()


class _Run:
    """The parts of a run, built from its config, and the loop over them."""

    def __init__(self, settings: ConfigDict) -> None:
        self.settings = settings
        self.source = build.source(settings)
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
        self.averaged = settings.train.ema_decay > 0
        images = jax.ShapeDtypeStruct((1, *build.image_shape(settings)), jnp.float32)
        fresh = initializer(build.model(settings), self.optimizer, images, ema=self.averaged)
        self.fresh = compilation.Once(fresh, stream_key(settings.seed, Stream.PARAMETERS))

    def test(self, state: TrainState) -> dict[str, float]:
        """Accuracy on the whole test set, with the averaged weights where there are any."""
        variables = parallel.replicate(weights(state))
        batches = (self.source.test_batch(i) for i in range(self.source.test_steps))
        return evaluate(self.test_step, variables, batches, key=stream_key(self.settings.seed, Stream.TESTS))

    def compile(self, batch: Any, progress: Progress) -> tuple[Any, dict[str, Any]]:
        """Compiles the training step ahead of its first call, which is on that batch."""
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
        self, state: TrainState | None, record: dict[str, Any], checkpoints: Checkpoints, writer: MetricsWriter
    ) -> tuple[TrainState, dict[str, Any], dict[str, float]]:
        """Trains to the last step; returns the last state, the record saved with it and its accuracy.

        Args:
          state: Where to go on from; None for the fresh state.
          record: What to save beside it.
          checkpoints: Where to.
          writer: Gets the metrics.
        """
        start, per_epoch = 0 if state is None else int(state.step), self.source.steps_per_epoch
        if state is not None and start == self.total_steps:
            return state, record, self.test(state)
        log_every, save_every = self.settings.train.log_every, self.settings.checkpoint.every_steps
        test_every = self.settings.eval.every_epochs * per_epoch
        accuracy: dict[str, float] | None = None
        with Progress(self.total_steps, start_step=start) as progress:
            first = self._train_batch(start)  # once: a source that reads ahead would begin anew
            step_fn, record["compile"] = self.compile(first, progress)
            state = parallel.replicate(self.fresh.take() if state is None else state)
            if self.aligns and start == 0:
                record["alignment"] = balance.weigh_alignment(step_fn, state, first, self.key)
                progress.note(balance.say_weight(record["alignment"]))
                writer.write(1, {"epoch": 1, "alignment": record["alignment"]})
            window = _Window()
            for step in range(start + 1, self.total_steps + 1):
                batch = first if step == start + 1 else self._train_batch(step - 1)
                state, metrics = step_fn(state, batch, self.key, *self.balance)
                window.add(metrics)
                tested = step % test_every == 0 or step == self.total_steps
                saved = tested or (save_every > 0 and step % save_every == 0)
                epoch = (step - 1) // per_epoch + 1
                if saved or step % log_every == 0 or window.due():
                    shown = window.glance(self.settings.train.batch_size)
                    progress.update(step, epoch=epoch, **shown)
                if saved or step % log_every == 0:
                    values = window.close(self.settings.train.batch_size)
                    rate = float(self.schedule(step - 1))
                    writer.write(step, {"epoch": epoch, "train": values | {"learning_rate": rate}})
                if saved:
                    copy = parallel.first_copy(state)
                    accuracy = self.test(copy) if tested else None
                    if accuracy:
                        writer.write(step, {"epoch": epoch, "test": accuracy})
                        whose = " (averaged weights)" if self.averaged else ""
                        progress.note(f"epoch {epoch}: test top-1 {100 * accuracy['top1']:.2f} %{whose}")
                        if accuracy["top1"] >= record.get("best", {}).get("top1", 0.0):
                            record["best"] = {"step": step, "top1": accuracy["top1"]}
                    record["step_s"] = window.median_step()
                    checkpoints.save(copy, record, accuracy=accuracy["top1"] if accuracy else None)
                    window.restart()
        assert accuracy is not None  # the last step is always tested
        return copy, record, accuracy

    def _train_batch(self, step: int) -> dict[str, jax.Array]:
        batch = self.source.train_batch(*divmod(step, self.source.steps_per_epoch))
        return parallel.shard({name: batch[name] for name in ("image", "label")})


class _Window:
    """Metrics and time of the steps since the last line of metrics.jsonl."""

    def __init__(self) -> None:
        self._metrics: list[Any] = []
        self._times: list[float] = []  # mean step time of each window
        self._glanced = self._began = time.perf_counter()

    def add(self, metrics: Any) -> None:
        """Takes the metrics of a step, still on the devices."""
        self._metrics.append(metrics)

    def due(self) -> bool:
        """Whether it is time to look at the metrics, which waits for the devices: about once a second."""
        return time.perf_counter() - self._glanced > 1.0 or len(self._metrics) % 16 == 0

    def glance(self, batch_size: int) -> dict[str, float]:
        """Loss and accuracy of the latest step, and the speed so far."""
        latest = {name: float(self._metrics[-1][name][0]) for name in ("loss", "accuracy")}
        self._glanced = time.perf_counter()
        return latest | {"images_per_second": batch_size * len(self._metrics) / (self._glanced - self._began)}

    def close(self, batch_size: int) -> dict[str, Any]:
        """Means over the window, which then starts anew."""
        host = jax.device_get([jax.tree.map(lambda x: x[0], metrics) for metrics in self._metrics])
        mean = jax.tree.map(lambda *values: float(sum(values) / len(values)), *host)
        seconds = time.perf_counter() - self._began
        self._times.append(seconds / len(self._metrics))
        mean["images_per_second"] = batch_size * len(self._metrics) / seconds
        self.restart()
        return mean

    def restart(self) -> None:
        """Forgets the time spent on something else than steps."""
        self._metrics, self._began = [], time.perf_counter()

    def median_step(self) -> float:
        """Median over the windows of the mean step time, in seconds."""
        return statistics.median(self._times)


def _metrics_writer(workdir: pathlib.Path, step: int) -> MetricsWriter:
    try:
        return MetricsWriter(workdir, resume_step=step)
    except ValueError as error:
        raise config.ConfigError(str(error)) from error
