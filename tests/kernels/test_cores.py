"""Tests of stata_jax.kernels.cores in processes of their own."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from stata_jax.kernels.cores import split_processor

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import os, jax
from stata_jax.kernels.cores import split_processor
{before}
split = split_processor({count}, threads={threads})
print(split, jax.local_device_count(), os.environ.get("NPROC"))
"""


def run(count, *, threads=0, before=""):
    program = PROGRAM.format(count=count, threads=threads, before=before)
    env = {name: value for name, value in os.environ.items() if name != "NPROC"}  # without that of conftest.py
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()


def test_a_processor_becomes_several_devices_of_one_thread():
    assert run(3) == ["True", "3", "1"]


def test_one_device_leaves_everything_as_it_is():
    assert run(1) == ["False", "1", "None"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_device_has_as_many_threads_as_asked_for(count):
    assert run(count, threads=1) == ["True", str(count), "1"]
    assert run(count, threads=3) == ["True", str(count), "3"]


def test_devices_that_are_in_use_stay():
    assert run(3, before="jax.numpy.zeros(1)") == ["False", "1", "None"]
    assert run(1, threads=1, before="jax.numpy.zeros(1)") == ["False", "1", "None"]
    jax.local_device_count()
    assert not split_processor(2)


CHECK = """
import warnings, jax
warnings.simplefilter("error")
from stata_jax import build, config
{before}
build.processor(config.load("digits", {{"train.cpu_devices": {count}, "train.cpu_threads": {threads}}}))
print(jax.local_device_count())
"""


@pytest.mark.parametrize(
    ("before", "count", "threads", "said"),
    [
        ("", 2, 1, "2"),
        (
            "jax.local_device_count()",
            2,
            1,
            "ConfigError: train.cpu_devices is 2, but JAX has been used in this process",
        ),
        ("jax.config.update('jax_num_cpu_devices', 2); jax.local_device_count()", 2, 0, "2"),
        ("jax.config.update('jax_num_cpu_devices', 2); jax.local_device_count()", 1, 0, "2"),  # as JAX was told
        ("build.processor(config.load('digits', {'train.cpu_devices': 2})); jax.local_device_count()", 2, 1, "2"),
        (
            "build.processor(config.load('digits', {'train.cpu_devices': 2})); jax.local_device_count()",
            1,
            1,
            "ConfigError: train.cpu_devices is 1, but JAX has been used in this process already, and sees the "
            "processor as 2",
        ),
        ("jax.local_device_count()", 1, 3, "UserWarning: train.cpu_threads is 3, but JAX has been used"),
    ],
)
def test_devices_that_come_too_late_are_named(before, count, threads, said):
    program = CHECK.format(before=before, count=count, threads=threads)
    env = {name: value for name, value in os.environ.items() if name != "NPROC"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=env)
    assert said in (done.stdout + done.stderr).splitlines()[-1]


@pytest.mark.parametrize(
    ("program", "flags", "size"),
    [
        ("main", ["--config=configs/digits.py"], 16),
        ("benchmark", ["--model=sdt_2_256", "--batch_size=8"], 8),
        ("scaling", ["--model=sdt_2_256", "--vary=batch_size", "--values=8,16"], 8),
    ],
)
def test_programs_work_on_as_many_devices_as_the_config_says(program, flags, size, tmp_path):
    """A batch that does not divide over them ends in one sentence, before anything is compiled."""
    flags = [*flags, "--config.train.cpu_devices=3", *([f"--workdir={tmp_path}"] if program == "main" else [])]
    command = [sys.executable, "-m", f"stata_jax.{program}", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: train.batch_size is {size}, which does not divide over 3 devices\n"
