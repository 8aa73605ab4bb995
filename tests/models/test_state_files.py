"""Reading files of weights: wrappings, prefixes, formats and damage."""

import argparse
import io
import sys
import types
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from stata_jax.models.state_files import StateFileError, read_state, write_safetensors

STATE = {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "w": np.array(0.5, np.float32)}


def assert_same(ours):
    assert ours.keys() == STATE.keys()
    for name, array in STATE.items():
        np.testing.assert_array_equal(ours[name], array)
        assert ours[name].shape == array.shape


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", **STATE)
    assert_same(read_state(tmp_path / "a.npz"))


def test_safetensors_there_and_back(tmp_path):
    write_safetensors(STATE, tmp_path / "new" / "a.safetensors")
    assert_same(load_file(tmp_path / "new" / "a.safetensors"))
    assert_same(read_state(tmp_path / "new" / "a.safetensors"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.", "module.model._orig_mod.module."],
)
def test_prefixes_of_wrappers_are_dropped(prefix, tmp_path):
    """Of parallel training, of torch.compile and of a model within another, in any order."""
    save_file({f"{prefix}{name}": array for name, array in STATE.items()}, tmp_path / "a.safetensors")
    assert_same(read_state(tmp_path / "a.safetensors"))


def test_a_part_may_be_wrapped_on_its_own(tmp_path):
    np.savez(tmp_path / "a.npz", **{"head._orig_mod.weight": STATE["head.weight"], "w": STATE["w"]})
    assert_same(read_state(tmp_path / "a.npz"))


def test_a_name_that_only_begins_alike_stays(tmp_path):
    np.savez(tmp_path / "a.npz", **{"models.w": np.zeros(2), "model": np.zeros(2), "block.model.w": np.zeros(2)})
    assert read_state(tmp_path / "a.npz").keys() == {"models.w", "model", "block.model.w"}


def test_two_arrays_of_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **STATE, **{"module.w": STATE["w"] + 1})
    with pytest.raises(StateFileError, match="holds w twice, with and without a prefix"):
        read_state(tmp_path / "a.npz")


def test_the_counters_of_thop_are_left_out(tmp_path):
    counters = ("total_ops", "total_params", "head.total_ops", "module.head.total_params", "a.b.c.total_ops")
    np.savez(tmp_path / "a.npz", **STATE, **{name: np.zeros(1) for name in counters})
    assert_same(read_state(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", total_ops=np.zeros(1))
    with pytest.raises(StateFileError, match="holds no weights, but total_ops"):
        read_state(tmp_path / "b.npz")


def test_of_several_wrappings_the_model_itself_counts(tmp_path, monkeypatch):
    averaged = {name: array + 1 for name, array in STATE.items()}
    (tmp_path / "a.pth").write_bytes(b"")
    for content in (
        {"state_dict_ema": averaged, "state_dict": STATE},
        {"epoch": 3, "model_state_dict": STATE, "model_ema": averaged},
        {"net": STATE},
        {"state_dict_ema": STATE},
    ):
        monkeypatch.setitem(sys.modules, "torch", FakeTorch(content))
        assert_same(read_state(tmp_path / "a.pth"))


class FakeTorch(types.ModuleType):
    """What is used of torch, so that the calls can be seen where it is not installed."""

    def __init__(self, content):
        super().__init__("torch")
        self.content, self.calls, self.safe = content, [], []
        self.serialization = types.SimpleNamespace(safe_globals=self._safe_globals)

    def _safe_globals(self, classes):
        self.safe += classes
        import contextlib

        return contextlib.nullcontext()

    def load(self, path, **options):
        self.calls.append(options)
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_pth_files_are_read_without_running_code(key, tmp_path, monkeypatch):
    wrapped = STATE if key is None else {"epoch": 3, key: {f"module.{name}": array for name, array in STATE.items()}}
    torch = FakeTorch(wrapped)
    monkeypatch.setitem(sys.modules, "torch", torch)
    (tmp_path / "a.pth.tar").write_bytes(b"")
    assert_same(read_state(tmp_path / "a.pth.tar"))
    assert torch.calls == [{"map_location": "cpu", "weights_only": True}]
    assert torch.safe == [argparse.Namespace]


@pytest.mark.torch
@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_pth_files_of_torch_itself(key, tmp_path):
    import torch

    state = {f"module.{name}": torch.from_numpy(array) for name, array in STATE.items()}
    content = state if key is None else {"epoch": 3, "args": argparse.Namespace(lr=0.1), key: state}
    torch.save(content, tmp_path / "a.pth.tar")
    assert_same(read_state(tmp_path / "a.pth.tar"))


def test_pth_files_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(StateFileError, match="needs PyTorch to be read: pip install torch"):
        read_state(tmp_path / "a.pth")


def test_mistakes_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(StateFileError, match="there is no file"):
        read_state(tmp_path / "missing.npz")
    for name in ("a.npz", "a.safetensors"):
        for content in (b"no such format", b""):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(StateFileError, match=f"{name} cannot be read as"):
                read_state(tmp_path / name)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(StateFileError, match="cannot be read as"):
        read_state(tmp_path / "array.npz")
    monkeypatch.setitem(sys.modules, "torch", FakeTorch(RuntimeError("damaged\nand more")))
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(StateFileError, match=r"cannot be read as .pth: damaged and more$"):
        read_state(tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "torch", FakeTorch({"epoch": 3}))
    with pytest.raises(StateFileError, match="holds no weights, but epoch"):
        read_state(tmp_path / "a.pth")


def test_arrays_that_would_fill_the_memory_are_refused(tmp_path):
    """Twelve gigabytes, by the entries of the archive."""
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(3), b=np.zeros(3), c=np.zeros(3))
    content, at = bytearray(path.read_bytes()), -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:  # an entry says at most four gigabytes
        content[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=r"bomb\.npz would be 12884901882 bytes unpacked, of 8589934592 at most"):
        read_state(path)


def test_a_header_does_not_get_memory_that_the_file_does_not_have(tmp_path):
    path = tmp_path / "header.npz"
    file = io.BytesIO()
    np.save(file, np.zeros(4, np.float32))
    content = file.getvalue().replace(b"'shape': (4,), ", b"'shape': (4" + b"0" * 11 + b",),")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(StateFileError, match=r"header\.npz cannot be read as \.npz"):
        read_state(path)
