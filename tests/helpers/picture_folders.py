"""Folders of small pictures, a folder a class."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def png(value: int, *, width: int = 20, height: int = 16) -> bytes:
    """A grey picture of one value."""
    file = io.BytesIO()
    Image.fromarray(np.full((height, width), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files by their names within a folder."""
    for name, contents in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)
    return folder


def split(counts: dict[str, int], *, start: int = 0) -> dict[str, bytes]:
    """Pictures `class/number.png`, each of one grey: `start`, `start + 1` and so on."""
    names = [f"{name}/{i}.png" for name, count in counts.items() for i in range(count)]
    return {name: png(start + i) for i, name in enumerate(names)}
