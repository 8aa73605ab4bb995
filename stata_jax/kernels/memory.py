"""Memory of the process: on a CPU, kept from one step to the next, in a heap without holes."""

import ctypes
import sys

# glibc keeps a list for each size below this, so that smaller holes cost little.
_SMALL = 1 << 10

_keeps = False  # whether this process does

# Names of glibc's `mallopt`, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
    """Has the C library keep the memory that it gets, instead of giving it back after each step.

    A step on a CPU allocates its temporaries anew each time. By default glibc returns so large a block to the system
    at once, and the next step pays for a page fault on every 4 kB of it: a quarter of the step's time. Kept, it pays
    once. The price is that the process holds on to the most that it has ever needed, until `close_holes`.

    Call it before JAX is imported: heaps that its threads have already made stay. It does nothing with other
    C libraries. All of the process allocates so from then on, also what runs on the host beside an accelerator.

    Returns:
      Whether the C library does so now.
    """
    global _keeps
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:
        return False
    # No blocks of their own from the system, no trimming of the heap, and one heap for all threads.
    _keeps = all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1), mallopt(_ARENA_MAX, 1)])
    return _keeps


def close_holes() -> int:
    """Takes the holes in the heap out of use, and gives their memory back to the system.

    What compiles a training step leaves tens of thousands of free blocks of all sizes between what it keeps, and glibc
    walks along lists of these for every block that it hands out from then on: up to a third of the steps of a small
    network. So all holes are allocated, never to be freed; their whole pages have been given back before, and what is
    lost is addresses, which count where these are limited (`ulimit -v`). What is needed next comes from the end of the
    heap, and pays for its pages anew.

    Call it when something large has been compiled. It does nothing before `keep_memory`, with other C libraries, and
    with glibc before 2.33.

    Returns:
      How many bytes of addresses were taken out of use.
    """
    library = _c_library()
    if (
        not _keeps
        or library is None
        or not all(hasattr(library, name) for name in ("malloc_trim", "mallinfo2", "sbrk"))
    ):
        return 0
    library.malloc.restype = library.sbrk.restype = ctypes.c_void_p
    library.malloc.argtypes, library.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    library.malloc_trim.argtypes, library.sbrk.argtypes = [ctypes.c_size_t], [ctypes.c_ssize_t]
    library.mallinfo2.restype = _HeapInfo
    library.malloc_trim(0)
    end = library.sbrk(0)  # first: other threads may add to the heap meanwhile, and what is new is no hole
    heap: _HeapInfo = library.mallinfo2()
    end -= heap.keepcost
    size, taken = 1 << 26, 0
    while size >= _SMALL and taken < heap.fordblks:
        block = library.malloc(size)
        if block and block < end:
            taken += size
        else:
            library.free(block)
            size //= 2
    return taken


class _HeapInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`: here for free bytes in all, `fordblks`, and at the end of the heap, `keepcost`."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names)


def _c_library() -> ctypes.CDLL | None:
    """The C library by its name, so that an allocator that replaces its own is left alone; None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
