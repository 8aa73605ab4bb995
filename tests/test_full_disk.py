"""A disk that fills up while a run writes: one sentence, and nothing of what is whole is lost."""

import errno
import os
import shutil
import subprocess
import sys
import types

import jax
import pytest
from small_runs import CONFIG, FLAGS, LIMITED, assert_same_state, final_state, run, untimed

from stata_jax.train.disk import full_disk, quiet_when_full


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run whose last steps are undone: what it needs to go on is compiled already."""
    workdir = tmp_path_factory.mktemp("begun")
    assert run(workdir, "--config.checkpoint.keep=3") == 0
    (workdir / "summary.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / "12")
    return workdir


@pytest.mark.parametrize("limit", [20_000, 3_000])  # too little for a checkpoint, and for anything
def test_a_run_on_a_full_disk_ends_in_one_sentence(begun, limit):
    pytest.importorskip("resource")
    before, lines = final_state(begun), [line for line in untimed(begun) if line["step"] <= 10]
    command = [sys.executable, "-c", LIMITED, str(limit), "stata_jax.main"]
    command += [f"--config={CONFIG}", f"--workdir={begun}", *FLAGS]
    environment = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}  # read, but not written to
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2, done.stderr
    *shown, error = done.stderr.splitlines()
    assert error.startswith(f"error: {begun} cannot be written any more (File too large): the last whole checkpoint is")
    assert "Traceback" not in done.stderr and len(shown) < 12
    assert_same_state(jax.tree.leaves(final_state(begun)), jax.tree.leaves(before))
    assert untimed(begun)[: len(lines)] == lines


def test_one_hook_is_left_however_many_errors_there_are():
    hooks = []
    for _ in range(3):
        with pytest.raises(OSError, match="full"), quiet_when_full():
            raise OSError("full")
        hooks.append(sys.unraisablehook)
    assert hooks == hooks[:1] * 3
    told = types.SimpleNamespace(exc_type=RuntimeError, exc_value=RuntimeError("Event loop is closed"))
    sys.unraisablehook(told)  # not passed on, or pytest would fail of it


def test_a_full_disk_is_told_through_all_layers():
    plain = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        try:
            raise plain
        except OSError as error:
            raise ValueError("saving failed") from error
    except ValueError as error:
        assert full_disk(error) == "No space left on device"
    assert full_disk(ValueError("RESOURCE_EXHAUSTED: Failed to write: Disk quota exceeded")) == "Disk quota exceeded"
    assert full_disk(OSError(errno.EACCES, "Permission denied")) is None
