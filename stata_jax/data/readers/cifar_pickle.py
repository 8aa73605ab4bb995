"""A pickled batch of CIFAR, whichever Python and NumPy wrote it, read without running anything that the file names.

The published batches are of Python 2 and NumPy 1, in protocol 2. Who writes them again has other names for the same
things: NumPy 2 calls `numpy.core` `numpy._core`, Python 3 writes bytes in protocols 0 to 2 as a call of
`_codecs.encode`, and protocol 5 makes arrays by `_frombuffer`. All other names are refused.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar

_WHOLE_NUMBERS = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))


def _dtype(name: Any, *flags: Any) -> np.dtype:
    text = name.decode("ascii") if isinstance(name, bytes) else name
    if text not in _WHOLE_NUMBERS:
        raise pickle.UnpicklingError(f"it holds an array of {text!r}, which no batch does")
    return np.dtype(text, *flags)


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"it holds bytes in {encoding!r}, which no batch does")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _no_bytes() -> bytes:
    return b""


def _sealed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, without attributes that a pickle could set."""
    return function.__call__  # type: ignore[operator]


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _sealed(_dtype),
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): scalar,
    ("numpy.core.numeric", "_frombuffer"): _sealed(_from_buffer),
    ("_codecs", "encode"): _sealed(_encode),
    ("__builtin__", "bytes"): _sealed(_no_bytes),  # b"", as Python 3 writes it in protocols 0 to 2
}


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays of whole numbers and plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch does") from None


def load(contents: bytes) -> dict[bytes, Any]:
    """Unpickles a batch.

    Args:
      contents: Of the file.

    Returns:
      Its values; their names are bytes, as in the published files, whether they were written as bytes or as text.

    Raises:
      Exception: Of whatever kind, if it is not a dict of numbers, arrays, text and containers of them.
    """
    batch = _Unpickler(io.BytesIO(contents), encoding="bytes").load()
    if not isinstance(batch, dict):
        raise pickle.UnpicklingError(f"it is a {type(batch).__name__} instead of a dict")
    return {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}
