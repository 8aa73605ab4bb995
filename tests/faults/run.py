"""Does harm to small runs at random moments, and looks whether the same command then comes to the same end.

    python tests/faults/run.py --tries=20 [--faults=kill,truncated] [--seed=0] [--output=faults.json]

Each try harms a run of the digits, of 12 steps, gives the same command again, and compares the last state bit for bit,
the metrics without their times and the accuracy with those of a run that nobody harmed. It prints for each fault how
many tries ended well, and what happened on the way; the exit code is 1 if one did not.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "launch")]

import jax  # noqa: E402
import local_processes  # noqa: E402
import numpy as np  # noqa: E402
import picture_folders  # noqa: E402
import small_runs  # noqa: E402

PATIENCE = 300  # seconds that a run may take
BOUND = 60  # seconds in which a process must end whose companion is gone
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
# Files that grow beyond a limit are what a process without rights can have of a full disk.
LIMITED = (
    "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1)); "
    "sys.argv = sys.argv[2:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
CLOCK = """
import random, time
told, drawn = time.time, random.Random({seed})
shift = 0.0
def time_of_day():
    global shift
    shift -= drawn.choice([0, 0, 0, 3600])
    return told() + shift
time.time = time_of_day
"""


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
            done = self.run(self.reference)
            check(done.returncode == 0, f"the undisturbed run failed: {done.stderr[-500:]}")
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

    def start(self, workdir: pathlib.Path, *more: str) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(workdir, *more), env=self.environment, text=True, cwd=ROOT, **pipes)

    def run(self, workdir: pathlib.Path, *more: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(workdir, *more)
        return subprocess.CompletedProcess(process.args, *ended(process))

    def result(self, workdir: pathlib.Path) -> tuple[list[np.ndarray], list[dict[str, object]], float]:
        state = [np.asarray(leaf) for leaf in jax.tree.leaves(small_runs.final_state(workdir))]
        summary = json.loads((workdir / "summary.json").read_text())
        return state, small_runs.untimed(workdir), summary["top1"]

    def finish(self, workdir: pathlib.Path) -> None:
        """Gives the same command again, and compares."""
        done = self.run(workdir)
        check(done.returncode == 0, f"the same command ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        state, lines, top1 = self.result(workdir)
        check(len(state) == len(self.expected[0]), "the last state has other parts")
        check(all(map(np.array_equal, state, self.expected[0])), "the last state differs")
        check(lines == self.expected[1], "metrics.jsonl differs")
        check(top1 == self.expected[2], "the accuracy differs")


def children(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that a process has started and that still run."""
    listed = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return [int(pid) for pid in listed.read_text().split()]
    except OSError:
        return []


def ended(process: "subprocess.Popen[str]", *, within: float = PATIENCE) -> tuple[int, str, str]:
    """Exit code, output and errors of a process, which must end."""
    try:
        _, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        for pid in children(process):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        raise FaultError(f"it still runs after {within:.0f} s") from None
    check("Traceback" not in errors or process.returncode < 0, f"there is a traceback: {errors[-500:]}")
    return process.returncode, "", errors


class Try:
    """One try: a folder, and random numbers of its own."""

    def __init__(self, setting: Setting, workdir: pathlib.Path, drawn: random.Random) -> None:
        self.setting, self.workdir, self.drawn = setting, workdir, drawn

    def moment(self) -> float:
        """A moment of the run, in seconds from its start."""
        return self.drawn.uniform(0, self.setting.seconds)

    def from_half(self) -> None:
        shutil.copytree(self.setting.half, self.workdir)


def signalled(trial: Try, number: signal.Signals, codes: set[int]) -> str:
    process = trial.setting.start(trial.workdir)
    time.sleep(trial.moment())
    process.send_signal(number)
    code, _, errors = ended(process)
    check(code in codes, f"it ended with {code}: {errors[-300:]}")
    if saved := re.search(r"after step (\d+), which is saved", errors):
        folder = trial.workdir / "checkpoints" / saved[1]
        check(folder.is_dir(), f"step {saved[1]} was reported saved and is not there")
        return "stopped after a step, which is there"
    return "had ended already" if code == 0 else "killed" if code == -9 else "ended before a step was saved"


def kill(trial: Try) -> str:
    """kill -9 at any moment."""
    return signalled(trial, signal.SIGKILL, {-9, 0})


def terminate(trial: Try) -> str:
    """SIGTERM at any moment."""
    # Before Python has the handler in place, a signal does what it does to any process.
    return signalled(trial, signal.SIGTERM, {75, -15, 0})


def interrupt(trial: Try) -> str:
    """Ctrl-C at any moment."""
    return signalled(trial, signal.SIGINT, {130, -2, 1, 0})


def kill_while_saving(trial: Try) -> str:
    """kill -9 while a checkpoint is being written."""
    process = trial.setting.start(trial.workdir)
    folder, after = trial.workdir / "checkpoints", trial.drawn.randrange(1, 5)
    seen: set[str] = set()
    while process.poll() is None and len(seen) < after:
        if folder.exists():
            seen |= {path.name for path in folder.iterdir() if "tmp" in path.name}
        time.sleep(0.001)
    time.sleep(trial.drawn.uniform(0, 0.02))
    process.kill()
    ended(process)
    left = any("tmp" in path.name for path in folder.iterdir())
    return "left a half-written checkpoint" if left else "came too late"


def damaged(trial: Try, harm: Callable[[pathlib.Path], None]) -> str:
    trial.from_half()
    newest = trial.workdir / "checkpoints" / "10"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    chosen = trial.drawn.choice(files)
    harm(chosen)
    return str(chosen.relative_to(newest))


def truncated(trial: Try) -> str:
    """A file of the newest checkpoint loses its end."""
    return damaged(trial, lambda path: os.truncate(path, trial.drawn.randrange(max(1, path.stat().st_size))))


def emptied(trial: Try) -> str:
    """A file of the newest checkpoint is empty."""
    return damaged(trial, lambda path: os.truncate(path, 0))


def flipped(trial: Try) -> str:
    """One bit of a file of the newest checkpoint is another."""

    def flip(path: pathlib.Path) -> None:
        content = bytearray(path.read_bytes())
        if content:
            content[trial.drawn.randrange(len(content))] ^= 1 << trial.drawn.randrange(8)
            path.write_bytes(content)

    return damaged(trial, flip)


def removed(trial: Try) -> str:
    """A file of the newest checkpoint is gone."""
    return damaged(trial, lambda path: path.unlink())


def full_disk(trial: Try) -> str:
    """No room for a file, for a checkpoint or for anything."""
    trial.from_half()
    limit = int(10 ** trial.drawn.uniform(3, 5))
    command = trial.setting.command(trial.workdir)
    command[1:2] = ["-c", LIMITED, str(limit)]
    environment = trial.setting.environment | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    code, _, errors = ended(process)
    check(code in (0, 2), f"it ended with {code}: {errors[-300:]}")
    check(code == 0 or "error:" in errors.splitlines()[-1], f"its last line is no sentence: {errors[-300:]}")
    return "there was room" if code == 0 else "ended in a sentence"


def diverged(trial: Try) -> str:
    """A step that is not finite."""
    trial.from_half()
    done = trial.setting.run(trial.workdir, "--config.train.learning_rate=1e38")
    check(done.returncode == 3, f"it ended with {done.returncode}: {done.stderr[-300:]}")
    check(done.stderr.splitlines()[-1].startswith("error:"), "its last line is no sentence")
    return "ended with exit code 3"


def second_run(trial: Try) -> str:
    """A second run in the folder of the first."""
    first = trial.setting.start(trial.workdir)
    time.sleep(trial.moment())
    second = trial.setting.run(trial.workdir)
    code, _, errors = ended(first)
    codes = sorted((code, second.returncode))
    check(codes in ([0, 0], [0, 2]), f"they ended with {codes}: {errors[-300:]} {second.stderr[-300:]}")
    refused = errors if code else second.stderr
    check(codes == [0, 0] or "is in use by a run" in refused, f"the refused one said: {refused[-300:]}")
    return "one was refused" if codes == [0, 2] else "one came after the other"


def clock(trial: Try) -> str:
    """The clock is set back by an hour again and again."""
    folder = trial.workdir.with_name(trial.workdir.name + "_clock")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK.format(seed=trial.drawn.randrange(2**31)))
    environment = dict(trial.setting.environment)
    try:
        trial.setting.environment["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
        return signalled(trial, signal.SIGTERM, {75, -15, 0})
    finally:
        trial.setting.environment = environment


def cache(trial: Try) -> str:
    """The folder of compiled programs is deleted, cut short or closed, at any moment."""
    compiled = trial.setting.folder / "compiled"
    kept = trial.setting.folder / "compiled_before"
    shutil.copytree(compiled, kept)
    what = trial.drawn.choice(["deleted", "cut short", "closed"])
    process = trial.setting.start(trial.workdir)
    try:
        time.sleep(trial.moment())
        if what == "deleted":
            shutil.rmtree(compiled, ignore_errors=True)
        elif what == "closed":
            compiled.chmod(0o500)  # root may write all the same
        else:
            for path in compiled.iterdir():
                os.truncate(path, path.stat().st_size // 2)
        code, _, errors = ended(process)
        check(code == 0, f"it ended with {code}: {errors[-300:]}")
        trial.setting.finish(trial.workdir)
    finally:
        process.kill()
        compiled.mkdir(exist_ok=True)
        compiled.chmod(0o755)
        shutil.rmtree(compiled)
        kept.rename(compiled)
    return what


def companion(trial: Try) -> str:
    """One of two processes is killed at any moment after they have joined."""
    process = trial.setting.start(trial.workdir)
    begin = time.monotonic()
    while process.poll() is None and not (trial.workdir / "config.json").exists():
        time.sleep(0.01)
    time.sleep(trial.drawn.uniform(0, max(0.0, trial.setting.seconds - (time.monotonic() - begin))))
    if pids := children(process):
        os.kill(trial.drawn.choice(pids), signal.SIGKILL)
    code, _, errors = ended(process, within=BOUND)
    if code == 0:
        return "had ended already"
    told = "another process of this run has ended" in errors
    check(told, f"the other said nothing: {errors[-500:]}")
    return "the other ended with a sentence"


def picture(trial: Try) -> str:
    """A picture of the training data vanishes or changes at any moment, and is then put back."""
    pictures = sorted((trial.setting.folder / "pictures" / "train").rglob("*.png"))
    chosen, what = trial.drawn.choice(pictures), trial.drawn.choice(["vanished", "changed"])
    content = chosen.read_bytes()
    process = trial.setting.start(trial.workdir)
    try:
        time.sleep(trial.moment())
        if what == "vanished":
            chosen.unlink()
        else:
            chosen.write_bytes(content[: len(content) // 2])
        code, _, errors = ended(process)
    finally:
        process.kill()
        chosen.write_bytes(content)
    check(code in (0, 2), f"it ended with {code}: {errors[-300:]}")
    return f"{what}: " + ("nobody noticed" if code == 0 else "ended in a sentence")


FAULTS: dict[str, Callable[[Try], str]] = {
    "kill": kill,
    "kill_while_saving": kill_while_saving,
    "terminate": terminate,
    "interrupt": interrupt,
    "truncated": truncated,
    "emptied": emptied,
    "flipped": flipped,
    "removed": removed,
    "full_disk": full_disk,
    "diverged": diverged,
    "second_run": second_run,
    "clock": clock,
    "cache": cache,
    "companion": companion,
    "picture": picture,
}


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path)
    flags = parser.parse_args()
    if unknown := set(flags.faults.split(",")) - FAULTS.keys():
        parser.error(f"unknown faults {', '.join(sorted(unknown))}: there are {', '.join(FAULTS)}")
    report: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="faults") as temporary:
        folder, made = pathlib.Path(temporary), dict[str, Setting]()
        for fault in flags.faults.split(","):
            setting, seen, failures = setting_of(fault, folder, made), collections.Counter[str](), []
            begin = time.monotonic()
            for i in range(flags.tries):
                workdir = folder / f"{fault}_{i}"
                trial = Try(setting, workdir, random.Random(f"{flags.seed} {fault} {i}"))
                try:
                    seen[FAULTS[fault](trial)] += 1
                    setting.finish(workdir)
                except FaultError as error:
                    failures.append(f"try {i}: {error}")
                shutil.rmtree(workdir, ignore_errors=True)
            well = flags.tries - len(failures)
            print(f"{fault}: {well} of {flags.tries} ended well ({time.monotonic() - begin:.0f} s)", flush=True)
            for what, count in seen.most_common():
                print(f"  {count} x {what}")
            for failure in failures:
                print(f"  FAILED {failure}")
            report[fault] = {"tries": flags.tries, "well": well, "seen": seen, "failures": failures}
    if flags.output is not None:
        flags.output.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(each["failures"] for each in report.values()))


if __name__ == "__main__":
    sys.exit(main())
