"""Tests of stata_jax.training.cores in processes of their own."""

import subprocess
import sys

import jax

from stata_jax.training.cores import split_processor

PROGRAM = """
import os, jax
from stata_jax.training.cores import split_processor
{before}
split = split_processor({count})
print(split, jax.local_device_count(), os.environ.get("NPROC"))
"""


def run(count, before=""):
    program = PROGRAM.format(count=count, before=before)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_a_processor_becomes_several_devices_of_one_thread():
    assert run(3) == ["True", "3", "1"]


def test_one_device_leaves_everything_as_it_is():
    assert run(1) == ["False", "1", "None"]


def test_devices_that_are_in_use_stay():
    assert run(3, before="jax.numpy.zeros(1)") == ["False", "1", "None"]
    jax.local_device_count()
    assert not split_processor(2)
