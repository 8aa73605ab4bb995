"""Memory of the process: on a CPU, kept from one step to the next."""

import ctypes
import sys

# Names of glibc's `mallopt`, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
    """Has the C library keep the memory that it gets, instead of giving it back after each step.

    A step on a CPU allocates its temporaries anew each time. By default glibc returns so large a block to the system
    at once, and the next step pays for a page fault on every 4 kB of it: a quarter of the step's time. Kept, it pays
    once. The price is that the process holds on to the most that it has ever needed.

    Call it before JAX is imported: heaps that its threads have already made stay. It does nothing with other
    C libraries. All of the process allocates so from then on, also what runs on the host beside an accelerator.

    Returns:
      Whether the C library does so now.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # No blocks of their own from the system, no trimming of the heap, and one heap for all threads.
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1), mallopt(_ARENA_MAX, 1)])
