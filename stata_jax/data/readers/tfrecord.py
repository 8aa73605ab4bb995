"""TFRecord files without TensorFlow, by random access: the format in which TFDS prepares unless it is told otherwise.

A file is a run of records: the length of the data (8 bytes, little-endian), a checksum of the length (4 bytes), the
data, a checksum of the data (4 bytes); https://www.tensorflow.org/tutorials/load_data/tfrecord. The checksums, CRC-32C,
are not compared: Python has no fast one.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stata_jax.data.protocol import DataError

_HEADER, _FOOTER = 12, 4  # bytes around the data of a record


def index_records(path: Path) -> np.ndarray:
    """Finds the records of a file, reading no more than their headers.

    Args:
      path: The file.

    Returns:
      Start and length of each record's data, (N, 2) int64, in bytes.

    Raises:
      DataError: If the file is truncated, or no TFRecord file.
    """
    size, place, found = path.stat().st_size, 0, []
    with path.open("rb", buffering=0) as file:
        while place < size:
            file.seek(place)
            header = file.read(_HEADER)
            (length,) = struct.unpack("<Q", header[:8]) if len(header) == _HEADER else (size,)
            start = place + _HEADER
            place = start + length + _FOOTER
            if place > size:
                raise DataError(f"{path} is truncated or damaged: a record at byte {start} reaches beyond its end")
            found.append((start, length))
    return np.array(found, np.int64).reshape(-1, 2)


class TfRecords(Sequence[Any]):
    """The examples of some TFRecord files, in order."""

    def __init__(self, paths: Sequence[Path], decode: Callable[[bytes], Any]) -> None:
        """Looks through the files; `decode` turns the data of a record into an example."""
        indices = [index_records(path) for path in paths]
        self._paths, self._decode = tuple(paths), decode
        self._places = np.concatenate(indices)
        self._files = np.repeat(np.arange(len(paths)), [len(index) for index in indices])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: Any) -> Any:
        """Reads and decodes one example."""
        start, length = self._places[number].tolist()
        with self._paths[self._files[number]].open("rb", buffering=0) as file:
            file.seek(start)
            return self._decode(file.read(length))
