"""Files of PyTorch weights: `.npz` and `.safetensors`, and `.pth` with the help of torch, which is optional."""

import argparse
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

_WRAPPINGS = ("state_dict", "model", "model_state_dict", "net", "state_dict_ema", "model_ema")  # the first counts
_PREFIXES = ("module", "_orig_mod", "model")  # DataParallel, torch.compile, and a model within another
_LARGEST = 2**33  # bytes of a file's arrays when unpacked: twice what a billion parameters have
_PROFILED = ("total_ops", "total_params")  # buffers that thop leaves in every module


class StateFileError(ValueError):
    """A file of weights that cannot be read; the message is one sentence for the user."""


def read_state(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a state dict, bare or under a key such as `state_dict` or `model`.

    Prefixes that wrappers of a model put before its names, such as `module._orig_mod.`, are dropped, and so are thop's
    counters.

    Args:
      path: A file ending in `.npz`, `.safetensors`, or anything else that `torch.load` reads, such as `.pth.tar`.

    Returns:
      Arrays by the authors' names.

    Raises:
      StateFileError: If there is no such file, it is damaged, holds no weights or two of one name, or torch is needed
        and missing.
    """
    if not path.is_file():
        raise StateFileError(f"there is no file {path}")
    reader = {".npz": _read_npz, ".safetensors": _read_safetensors}.get(path.suffix, _read_torch)
    try:
        content = reader(path)
        for key in _WRAPPINGS:
            content = content[key] if isinstance(content.get(key), Mapping) else content
        state = {str(name): _as_array(value) for name, value in content.items() if hasattr(value, "shape")}
    except StateFileError:
        raise
    except Exception as error:  # what a damaged, unsafe or foreign file raises depends on where it is so
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StateFileError(f"{path} cannot be read as {path.suffix}: {reason}") from error
    state = {name: array for name, array in state.items() if name.rpartition(".")[2] not in _PROFILED}
    if not state:
        raise StateFileError(f"{path} holds no weights, but {', '.join(map(str, content)) or 'nothing'}")
    bare: dict[str, np.ndarray] = {}
    for name, array in state.items():
        if bare.setdefault(_bare(name), array) is not array:
            raise StateFileError(f"{path} holds {_bare(name)} twice, with and without a prefix of wrappers")
    return bare


def _bare(name: str) -> str:
    """A name without the prefixes of wrappers, at its front or, of a part that is wrapped on its own, within it."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _PREFIXES:
        parts.pop(0)
    return ".".join(part for part in parts if part not in ("module", "_orig_mod"))


def _as_array(value: Any) -> np.ndarray:
    """An array, or a tensor of torch; half precision becomes float32."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def write_safetensors(state: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
    """Writes arrays by name; a file that was there before is replaced when the new one is whole."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        save_file(dict(state), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_npz(path: pathlib.Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _LARGEST:
        raise StateFileError(f"{path} would be {unpacked} bytes unpacked, of {_LARGEST} at most")
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_safetensors(path: pathlib.Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(path))


def _read_torch(path: pathlib.Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise StateFileError(
            f"{path} needs PyTorch to be read: pip install torch, or save it as .npz or .safetensors"
        ) from error
    # Only arrays and plain values are read, no code. The authors' trainer saves its flags beside the weights.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return dict(torch.load(path, map_location="cpu", weights_only=True))
