"""The faults: each harms one small run, and says what happened."""

import os
import pathlib
import re
import shutil
import signal
import time
from collections.abc import Callable

from child_processes import children
from disturbed import ROOT, Try, check, ended
from small_runs import LIMITED

BOUND = 60  # seconds in which a process must end whose companion is gone
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


def signalled(trial: Try, number: signal.Signals, codes: set[int], **environment: str) -> str:
    process = trial.start(**environment)
    time.sleep(trial.moment())
    process.send_signal(number)
    code, errors = ended(process)
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
    process = trial.start()
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
    code, errors = ended(trial.setting.start(command, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="1e9"))
    check(code in (0, 2), f"it ended with {code}: {errors[-300:]}")
    check(code == 0 or "error:" in errors.splitlines()[-1], f"its last line is no sentence: {errors[-300:]}")
    return "there was room" if code == 0 else "ended in a sentence"


def diverged(trial: Try) -> str:
    """A step that is not finite."""
    trial.from_half()
    code, errors = trial.setting.run(trial.workdir, "--config.train.learning_rate=1e38")
    check(code == 3, f"it ended with {code}: {errors[-300:]}")
    check(errors.splitlines()[-1].startswith("error:"), "its last line is no sentence")
    return "ended with exit code 3"


def second_run(trial: Try) -> str:
    """A second run in the folder of the first."""
    first = trial.start()
    time.sleep(trial.moment())
    second_code, second_errors = trial.setting.run(trial.workdir)
    code, errors = ended(first)
    codes = sorted((code, second_code))
    check(codes in ([0, 0], [0, 2]), f"they ended with {codes}: {errors[-300:]} {second_errors[-300:]}")
    refused = errors if code else second_errors
    check(codes == [0, 0] or "is in use by a run" in refused, f"the refused one said: {refused[-300:]}")
    return "one was refused" if codes == [0, 2] else "one came after the other"


def clock(trial: Try) -> str:
    """The clock is set back by an hour again and again."""
    folder = trial.workdir.with_name(trial.workdir.name + "_clock")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK.format(seed=trial.drawn.randrange(2**31)))
    return signalled(trial, signal.SIGTERM, {75, -15, 0}, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")


def cache(trial: Try) -> str:
    """The folder of compiled programs is deleted, cut short or closed, at any moment."""
    compiled = trial.setting.folder / "compiled"
    kept = trial.setting.folder / "compiled_before"
    shutil.copytree(compiled, kept)
    what = trial.drawn.choice(["deleted", "cut short", "closed"])
    process = trial.start()
    try:
        time.sleep(trial.moment())
        if what == "deleted":
            shutil.rmtree(compiled, ignore_errors=True)
        elif what == "closed":
            compiled.chmod(0o500)  # root may write all the same
        else:
            for path in compiled.iterdir():
                os.truncate(path, path.stat().st_size // 2)
        code, errors = ended(process)
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
    process = trial.start()
    begin = time.monotonic()
    while process.poll() is None and not (trial.workdir / "config.json").exists():
        time.sleep(0.01)
    time.sleep(trial.drawn.uniform(0, max(0.0, trial.setting.seconds - (time.monotonic() - begin))))
    if pids := children(process):
        os.kill(trial.drawn.choice(pids), signal.SIGKILL)
    code, errors = ended(process, within=BOUND)
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
    process = trial.start()
    try:
        time.sleep(trial.moment())
        if what == "vanished":
            chosen.unlink()
        else:
            chosen.write_bytes(content[: len(content) // 2])
        code, errors = ended(process)
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
