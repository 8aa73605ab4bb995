"""Reading tar archives to their end, and fetching them: what is cut short or altered is never taken for whole."""

import contextlib
import hashlib
import http.client
import os
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stata_jax.data.protocol import DataError
from stata_jax.data.readers.archives import check_size

_CHUNK = 1 << 20  # bytes read at once
_TIMEOUT = 30  # seconds without an answer


def members(file: IO[bytes], *, name: str) -> Iterator[tuple[str, bytes]]:
    """Goes through the files of a tar archive, plain or compressed by gzip.

    A tar archive ends with a block of zeros. Python's `tarfile` also stops, without a word, where an archive is cut
    off between two files or a header is damaged; the missing block gives that away. The rest is read too, which makes
    gzip compare its checksum.

    Args:
      file: The archive, seekable.
      name: What to call it in messages.

    Yields:
      The path of each file, and its contents.

    Raises:
      DataError: If the archive is truncated or damaged.
    """
    with _told(name), tarfile.open(fileobj=file) as archive:
        for member in _files(archive, name):
            try:
                check_size(member.name, member.size)
            except ValueError as error:
                raise DataError(f"{name} cannot be read: {error}") from error
            contents = archive.extractfile(member)
            assert contents is not None
            yield member.name, contents.read()


def places(file: IO[bytes], *, name: str) -> Iterator[tuple[str, int, int]]:
    """Says where the files of a plain tar archive lie in it, reading no more than the headers; see `members`.

    Yields:
      The path of each file, the place of its first byte, and its length.
    """
    with _told(name), tarfile.open(fileobj=file, mode="r:") as archive:
        for member in _files(archive, name):
            yield member.name, member.offset_data, member.size


def _files(archive: tarfile.TarFile, name: str) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        if member.isfile():
            yield member
        archive.members = []  # type: ignore[attr-defined]  # or it remembers them all
    stream = archive.fileobj
    assert stream is not None
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{name} is truncated or damaged: it breaks off after {archive.offset} bytes")
    while stream.read(_CHUNK):
        pass


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns what damage raises into a DataError."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{name} is truncated or damaged ({error}): get it again") from error


def fetch(url: str, path: Path, *, md5: str) -> None:
    """Downloads a file; it appears at its place whole and checked, or not at all.

    Args:
      url: Where it is published.
      path: Where it goes; the folder is made where it is missing.
      md5: Its published MD5 checksum.

    Raises:
      DataError: If it cannot be had, or has another checksum.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, part.open("wb") as file:
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != md5:
            raise DataError(f"{url} has the MD5 checksum {digest.hexdigest()} instead of the published {md5}")
        part.replace(path)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise DataError(f"{url} could not be downloaded ({error})") from error
    finally:
        part.unlink(missing_ok=True)
