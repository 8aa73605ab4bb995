"""Pictures that are files: in a folder a class, or in a plain tar archive. Only their names are held in memory."""

import contextlib
import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stata_jax.data.protocol import DataError
from stata_jax.data.readers import pictures
from stata_jax.data.readers.tar import places


class _Names:
    """Many texts in one, since a million of them would take 100 MB, in each process."""

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._text, self._ends = b"".join(encoded), np.cumsum([0, *map(len, encoded)])

    def __getitem__(self, number: int) -> str:
        return os.fsdecode(self._text[self._ends[number] : self._ends[number + 1]])


class Folder(Sequence[Any]):
    """The pictures below a folder, as examples `image` (the bytes of the file), `label` and `file_name`."""

    def __init__(self, folder: Path, names: Sequence[str], labels: Sequence[int]) -> None:
        """Keeps the files: their names within the folder, and their labels."""
        self.folder, self._names, self._labels = folder, _Names(names), np.asarray(labels, np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: Any) -> Any:
        """Reads one file."""
        name = self._names[int(number)]
        contents = (self.folder / name).read_bytes()
        return {"image": contents, "label": int(self._labels[number]), "file_name": name.encode(errors="replace")}

    def where(self, number: int) -> str:
        """The path of a picture."""
        return str(self.folder / self._names[number])


class Tar(Sequence[Any]):
    """The pictures in a plain tar archive, read from there; see `Folder`."""

    def __init__(self, path: Path, label_of: Callable[[str], int]) -> None:
        """Looks through the archive.

        Args:
          path: Of the archive.
          label_of: From the name of a file to its label.

        Raises:
          DataError: If the archive is truncated or damaged, or empty.
        """
        with path.open("rb") as file:
            found = list(places(file, name=str(path)))
        if not found:
            raise DataError(f"there is no file in {path}: get it again")
        names, self._starts, self._sizes = zip(*found, strict=True)
        self.path, self._names, self._labels = path, _Names(names), [label_of(name) for name in names]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: Any) -> Any:
        """Reads one file."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._starts[number])
            contents = file.read(self._sizes[number])
        return {"image": contents, "label": self._labels[number], "file_name": self._names[int(number)].encode()}

    def where(self, number: int) -> str:
        """The name of a picture and the path of the archive."""
        return f"{self._names[number]} in {self.path}"


def class_names(folder: Path) -> list[str]:
    """The folders in a folder, sorted as text; hidden ones are none.

    Raises:
      DataError: If the folder cannot be read.
    """
    with _told(folder), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def find(folder: Path) -> tuple[list[str], int]:
    """Looks for pictures by the endings of their names, in a folder and those in it.

    Args:
      folder: Where to look. Links to folders are followed, but no folder is looked through twice, nor one that this one
        is in; hidden files and folders are passed over.

    Returns:
      Their names within the folder, sorted, and the number of other files.

    Raises:
      DataError: If a folder cannot be read, since its pictures would be missing.
    """
    known, found, others = pictures.extensions(), [], 0
    seen = {str(place) for place in Path(os.path.realpath(folder)).parents}
    pending = [(False, "")]  # whether it is a link comes first: a folder goes by the name of its own place
    while pending:
        _, within = heapq.heappop(pending)
        place = folder / within
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        with _told(place), os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = os.path.join(within, entry.name)
                if entry.is_dir():
                    heapq.heappush(pending, (entry.is_symlink(), name))
                elif os.path.splitext(name)[1].lower() in known:
                    found.append(name)
                else:
                    others += 1
    return sorted(found), others


@contextlib.contextmanager
def _told(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what reading a folder raises into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror or error}") from error


def of_classes(folder: Path, labels: dict[str, int]) -> tuple[Folder, int]:
    """The pictures of a folder with a folder a class.

    Args:
      folder: Where they are.
      labels: By name of the class; a class may have no folder.

    Returns:
      The pictures, class by class, and the number of files that are not named like pictures.

    Raises:
      DataError: If a folder cannot be read.
    """
    names: list[str] = []
    numbers: list[int] = []
    others = 0
    for name, label in labels.items():
        with _told(folder / name):
            there = (folder / name).is_dir()
        found, other = find(folder / name) if there else ([], 0)
        names += [os.path.join(name, file) for file in found]
        numbers += [label] * len(found)
        others += other
    return Folder(folder, names, numbers), others
