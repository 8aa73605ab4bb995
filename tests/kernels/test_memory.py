"""Tests of stata_jax.kernels.memory in processes of their own."""

import json
import subprocess
import sys

import pytest

from stata_jax.kernels import memory

PROGRAM = """
import resource
from stata_jax.kernels.memory import keep_memory
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
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_memory()
    assert memory.close_holes() == 0


HOLES = """
import ctypes, json, resource
from stata_jax.kernels.memory import close_holes, keep_memory
kept = keep_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
sizes = [2000 + 997 * i % 60000 for i in range(4000)]
blocks = [library.malloc(size) for size in sizes]
for block, size in zip(blocks, sizes):
    ctypes.memset(block, 1, size)
for block in blocks[::2]:
    library.free(block)
before = resident()
taken, less = close_holes(), before - resident()
again = close_holes()
beyond = all(library.malloc(size) > max(blocks) for size in sizes[::2])
whole = all(ctypes.string_at(block, size) == bytes([1]) * size for block, size in zip(blocks[1::2], sizes[1::2]))
print(json.dumps([kept, sum(sizes[::2]), taken, less, again, beyond, whole]))
"""


@pytest.mark.skipif(not hasattr(memory._c_library(), "mallinfo2"), reason="another C library than glibc from 2.33 on")
def test_closed_holes_hold_little_memory_and_are_not_used_again():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    kept, freed, taken, less, again, beyond, whole = json.loads(done.stdout)
    assert kept
    assert 0.9 * freed < taken
    assert 0.5 * freed < less  # whole pages without an address that marks a block
    assert again < 0.01 * taken
    assert beyond and whole
