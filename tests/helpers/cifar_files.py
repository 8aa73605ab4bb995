"""Small CIFAR archives in the published layout, written byte by byte."""

import io
import struct
import tarfile
from pathlib import Path

import numpy as np


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _string(value: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(value)) + value


def _array(values: np.ndarray) -> bytes:
    """An array as Python 2 pickled it."""
    shape = b"(" + b"".join(_integer(n) for n in values.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(" + _string(b"u1") + _integer(0) + _integer(1) + b"tR"
    dtype += b"(" + _integer(3) + _string(b"|") + b"NNN" + _integer(-1) + _integer(-1) + _integer(0) + b"tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + _integer(0) + b"t" + _string(b"b") + b"tR"
    return empty + b"(" + _integer(1) + shape + dtype + b"\x89" + _string(values.tobytes()) + b"tb"


def pickled(batch: dict[str, object]) -> bytes:
    """A dict of uint8 arrays, lists of numbers and strings as Python 2 pickled it, in protocol 2."""
    items = b""
    for name, value in batch.items():
        items += _string(name.encode())
        if isinstance(value, np.ndarray):
            items += _array(value)
        elif isinstance(value, list):
            items += b"](" + b"".join(_integer(item) for item in value) + b"e"
        else:
            items += _string(str(value).encode())
    return b"\x80\x02}(" + items + b"u."


def planes(images: np.ndarray) -> np.ndarray:
    """Images (N, 32, 32, 3) as rows of 3072 pixels: all of red, all of green, all of blue."""
    return np.stack([np.concatenate([image[..., c].ravel() for c in range(3)]) for image in images])


def tar_gz(path: Path, files: dict[str, bytes]) -> Path:
    """Writes an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return path


def unpack(path: Path) -> Path:
    """Unpacks an archive beside itself and deletes it; returns the folder where it lay."""
    with tarfile.open(path) as archive:
        archive.extractall(path.parent, filter="data")
    path.unlink()
    return path.parent


def random_batches(names: tuple[str, ...], counts: tuple[int, ...], classes: int, seed: int = 0) -> dict[str, tuple]:
    """Random images and labels by batch; of CIFAR-100, `label // 5` stands in for the coarse label."""
    random = np.random.RandomState(seed)
    return {
        name: (random.randint(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.randint(0, classes, n))
        for name, n in zip(names, counts, strict=True)
    }


def python_files(batches: dict[str, tuple], *, folder: str, classes: int) -> dict[str, bytes]:
    """The files of a Python archive."""
    files = {f"{folder}/readme.html": b"<html>"}
    for name, (images, labels) in batches.items():
        listed = {"labels": labels.tolist()}
        if classes == 100:
            listed = {"coarse_labels": (labels // 5).tolist(), "fine_labels": labels.tolist()}
        files[f"{folder}/{name}"] = pickled({"batch_label": name, **listed, "data": planes(images)})
    return files


def binary_files(batches: dict[str, tuple], *, folder: str, classes: int) -> dict[str, bytes]:
    """The files of a binary archive."""
    files = {}
    for name, (images, labels) in batches.items():
        records = b""
        for row, label in zip(planes(images), labels, strict=True):
            records += bytes([label // 5, label] if classes == 100 else [label]) + row.tobytes()
        files[f"{folder}/{name}.bin"] = records
    return files


TEN = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


def write_cifar10(folder: Path, counts: tuple[int, ...] = (3, 4, 5, 2, 6, 7), *, seed: int = 0) -> dict[str, tuple]:
    """Writes `cifar-10-python.tar.gz` and returns what is in it."""
    batches = random_batches(TEN, counts, 10, seed)
    files = python_files(batches, folder="cifar-10-batches-py", classes=10)
    tar_gz(folder / "cifar-10-python.tar.gz", files)
    return batches


def joined(batches: dict[str, tuple], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split, in order."""
    names = [name for name in batches if name.startswith("test") == (split == "test")]
    return tuple(np.concatenate([batches[name][i] for name in names]) for i in (0, 1))  # type: ignore[return-value]
