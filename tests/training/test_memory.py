"""Tests of stata_jax.training.memory in processes of their own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from stata_jax.training.memory import keep_memory
kept = {keep} and keep_memory()
import numpy
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(1 << 24, "float32")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def run(keep):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_a_second_array_finds_the_memory_of_the_first():
    kept, faults = run(keep=True)
    if not kept:
        pytest.skip("another C library than glibc")
    _, fresh = run(keep=False)
    assert fresh > faults + 16  # NumPy asks for pages of 2 MB, where the system has them: 32 of them here


def test_other_systems_are_left_alone(monkeypatch):
    from stata_jax.training import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_memory()
