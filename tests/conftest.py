"""Settings of every test: strict dtype promotion, the CPU, one compilation cache, reproducible examples."""

import gc
import importlib.metadata
import importlib.util
import os
import pathlib
import signal
import tempfile

import hypothesis
import pytest

# By environment, before anything imports JAX: processes that a test starts get the same settings.
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Programs of tests run for a moment and compile for long: plain machine code is made in a third of the time. Flags of
# the user win; tests of bits compile as users do. A flag that a version of JAX does not know would end the process.
_QUICK = ["--xla_backend_optimization_level=0"]
if importlib.metadata.version("jax").startswith("0.10."):
    _QUICK.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*_QUICK, os.environ.get("XLA_FLAGS", "")]).strip()

# One thread: on some processors the number of threads changes the order of sums, and runs of the digits have one where
# tests start them as processes of their own. With `-n auto` there is a worker for each core.
os.environ["NPROC"] = "1"

# No deadline: the first example of a test compiles. The same examples each time: a failure repeats.
hypothesis.settings.register_profile("stata_jax", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("stata_jax")


def pytest_configure(config: pytest.Config) -> None:
    """Keeps compiled programs between tests, processes and runs; `pytest --cache-clear` empties the folder.

    Tests send Ctrl-C, which is heeded here even where the command that runs them ignores it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background commands inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cache = getattr(config, "cache", None)  # absent with -p no:cacheprovider
    folder = pathlib.Path(tempfile.gettempdir()) / "stata_jax_compiled" if cache is None else cache.mkdir("jax")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests with the mark `torch` where the extra `peer` is not installed."""
    if item.get_closest_marker("torch") and not all(map(importlib.util.find_spec, ("torch", "spikingjelly"))):
        pytest.skip('needs PyTorch and SpikingJelly: pip install ".[peer]"')


def pytest_collection_finish(session: pytest.Session) -> None:
    """Has the garbage collector leave alone what has been imported, and come less often: tracing makes many objects."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def event_files():
    """What writes small event data sets in their published layout; it imports JAX, which must not be done earlier."""
    from event_files import EventFiles

    return EventFiles


@pytest.hookimpl(optionalhook=True)  # there is no such hook where pytest-xdist is not installed
def pytest_xdist_make_scheduler(config, log):
    """Gives each worker whole modules, whose fixtures are costly, and the parity tests file by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module, _, test = nodeid.partition("::")
            return test.partition("[")[2].partition("-")[0].strip("]") if "test_parity" in module else module

    return ByModule(config, log)
