"""Files in a folder, a `.zip` or a `.tar.gz`, read one at a time in the order in which they lie there."""

import pathlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

# What reading a damaged archive raises. zipfile has RuntimeError for a file that is encrypted, NotImplementedError,
# which is one, for a compression that it does not know, and others for headers that make no sense.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, struct.error, ValueError)


LARGEST = 2**30  # bytes of a file in an archive, when unpacked: more than any of the data sets has


def read_files(path: pathlib.Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Reads the files whose names are wanted.

    Args:
      path: a folder, a zip file (named `*.zip`), or else a tar file of any compression.
      wanted: says of each file's name, relative and with `/`, whether to read it; asked once for every file.

    Yields:
      Names and contents.

    Raises:
      ValueError: the archive is cut off or damaged, or a file in it is larger than `LARGEST`.
    """
    read = _read_folder if path.is_dir() else _read_zip if path.suffix == ".zip" else _read_tar
    files = read(path, wanted)
    while True:
        try:
            file = next(files)
        except StopIteration:
            return
        except _DAMAGE as error:
            reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
            raise ValueError(
                f"{path} is cut off or damaged ({reason}): delete it, then fetch or make it again"
            ) from error
        yield file


def list_files(path: pathlib.Path) -> list[str]:
    """Names of all files, as in `read_files`; a tar file has to be read for it, the others have not."""
    names: list[str] = []
    for _ in read_files(path, lambda name: names.append(name) or False):  # type: ignore[func-returns-value]
        pass
    return names


def check_size(name: str, size: int) -> None:
    """Raises ValueError where a file in an archive is larger than `LARGEST`, by what the archive says of it."""
    if size > LARGEST:
        raise ValueError(f"{name} in it would be {size} bytes, of {LARGEST} at most")


def _read_folder(path: pathlib.Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and wanted(name):
            yield name, file.read_bytes()


def _read_zip(path: pathlib.Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and wanted(member.filename):
                check_size(member.filename, member.file_size)
                yield member.filename, archive.read(member)


def _read_tar(path: pathlib.Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and wanted(member.name):
                check_size(member.name, member.size)
                file = archive.extractfile(member)
                assert file is not None  # it is a file
                yield member.name, file.read()
        if not archive.getnames():
            raise tarfile.ReadError("there is no file in it")
        assert archive.fileobj is not None  # it is open
        while archive.fileobj.read(2**20):  # to its end, where the checksum of the compressed data is
            pass
