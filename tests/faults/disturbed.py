"""Small runs that can be disturbed, and the end that they come to when nobody does."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import jax
import local_processes
import numpy as np
import picture_folders
import small_runs
from child_processes import children

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 300  # seconds that a run may take
SPEED = ["--config.train.cpu_threads=1", "--config.eval.batch_size=12"]
PICTURES = {
    "data.num_classes": 2,
    "data.image_size": 16,
    "data.train_examples": 0,
    "data.test_examples": 0,
    "model.pooling": "1100",
    "train.schedule_by": "step",
    "train.cooldown_epochs": 0,
}


class FaultError(AssertionError):
    """A try that did not end as it should."""


def check(condition: bool, why: str) -> None:
    if not condition:
        raise FaultError(why)


class Setting:
    """A way to run, and the end that it comes to when nobody disturbs it."""

    def __init__(self, folder: pathlib.Path, *, flags: Sequence[str], processes: int = 1) -> None:
        self.folder, self.flags, self.processes = folder, list(flags), processes
        self.environment = dict(os.environ) | {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        self.reference = folder / "reference"
        self.seconds = 0.0
        for _ in range(2):  # the second time with compiled programs
            shutil.rmtree(self.reference, ignore_errors=True)
            begin = time.monotonic()
            code, errors = self.run(self.reference)
            check(code == 0, f"the undisturbed run failed: {errors[-500:]}")
            self.seconds = time.monotonic() - begin
        self.half = folder / "half"  # a run whose last two steps are undone
        shutil.copytree(self.reference, self.half)
        (self.half / "summary.json").unlink()
        shutil.rmtree(self.half / "checkpoints" / "12")
        self.expected = self.result(self.reference)

    def command(self, workdir: pathlib.Path, *more: str) -> list[str]:
        main = [sys.executable, "-m", "stata_jax.main", f"--workdir={workdir}", *self.flags, *more]
        local = [sys.executable, local_processes.__file__, str(self.processes)]
        return main if self.processes == 1 else [*local, *main]

    def start(self, command: Sequence[str], **environment: str) -> "subprocess.Popen[str]":
        """Starts a command, in this environment but for what is given."""
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment | environment, text=True, cwd=ROOT, **pipes)

    def run(self, workdir: pathlib.Path, *more: str) -> tuple[int, str]:
        """Exit code and errors of the whole command."""
        return ended(self.start(self.command(workdir, *more)))

    def result(self, workdir: pathlib.Path) -> tuple[list[np.ndarray], list[dict[str, object]], float]:
        state = [np.asarray(leaf) for leaf in jax.tree.leaves(small_runs.final_state(workdir))]
        summary = json.loads((workdir / "summary.json").read_text())
        return state, small_runs.untimed(workdir), summary["top1"]

    def finish(self, workdir: pathlib.Path) -> None:
        """Gives the same command again, and compares."""
        code, errors = self.run(workdir)
        check(code == 0, f"the same command ended with {code}: {errors.strip()[-300:]}")
        state, lines, top1 = self.result(workdir)
        check(len(state) == len(self.expected[0]), "the last state has other parts")
        check(all(map(np.array_equal, state, self.expected[0])), "the last state differs")
        check(lines == self.expected[1], "metrics.jsonl differs")
        check(top1 == self.expected[2], "the accuracy differs")


def ended(process: "subprocess.Popen[str]", *, within: float = PATIENCE) -> tuple[int, str]:
    """Exit code and errors of a process, which must end."""
    try:
        _, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        for pid in children(process):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        raise FaultError(f"it still runs after {within:.0f} s") from None
    check("Traceback" not in errors or process.returncode < 0, f"there is a traceback: {errors[-500:]}")
    return process.returncode, errors


class Try:
    """One try: a folder, and random numbers of its own."""

    def __init__(self, setting: Setting, workdir: pathlib.Path, drawn: random.Random) -> None:
        self.setting, self.workdir, self.drawn = setting, workdir, drawn

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """Starts the run, in the setting's environment but for what is given."""
        return self.setting.start(self.setting.command(self.workdir), **environment)

    def moment(self) -> float:
        """A moment of the run, in seconds from its start."""
        return self.drawn.uniform(0, self.setting.seconds)

    def from_half(self) -> None:
        shutil.copytree(self.setting.half, self.workdir)


def setting_of(fault: str, folder: pathlib.Path, made: dict[str, Setting]) -> Setting:
    """The way to run that a fault is tried on, made when it is needed first."""
    kind = {"companion": "two", "picture": "pictures"}.get(fault, "one")
    if kind not in made:
        digits = [f"--config={small_runs.CONFIG}", *small_runs.FLAGS, *SPEED, "--config.checkpoint.keep=3"]
        if kind == "pictures":
            counts = {"cat": 32, "dog": 32}
            data = folder / kind / "pictures"
            picture_folders.write(data / "train", picture_folders.split(counts))
            picture_folders.write(data / "val", picture_folders.split({"cat": 6, "dog": 6}, start=100))
            overrides = [f"--config.{key}={value}" for key, value in PICTURES.items()]
            flags = [flag for flag in digits if "digits" not in flag and "examples" not in flag]
            digits = [f"--config={ROOT / 'configs' / 'image_folder.py'}", *flags, *overrides]
            digits.append(f"--config.data.path={data}")
        (folder / kind).mkdir(exist_ok=True)
        made[kind] = Setting(folder / kind, flags=digits, processes=2 if kind == "two" else 1)
    return made[kind]
