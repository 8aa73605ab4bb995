"""Pickled batches of Python 2 and 3, NumPy 1 and 2, in every protocol; and pickles that are none."""

import pickle

import numpy as np
import pytest
from cifar_files import pickled, planes

from stata_jax.data.readers.cifar_files import CIFAR10, CIFAR100, read_pickled

PIXELS = planes(np.random.RandomState(0).randint(0, 256, (3, 32, 32, 3), dtype=np.uint8))
CLASSES = [7, 0, 9]


def test_the_hand_made_pickle_is_what_pickle_reads():
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    read = pickle.loads(pickled({"data": values, "labels": [1, -2], "name": "x"}), encoding="bytes")
    np.testing.assert_array_equal(read[b"data"], values)
    assert (read[b"labels"], read[b"name"]) == ([1, -2], b"x")


def as_numpy_1(contents: bytes, protocol: int) -> bytes:
    """What NumPy 1 writes: the same, of `numpy.core` instead of `numpy._core`."""
    for name in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        old = name.replace(b"_core", b"core")
        if protocol >= 4:  # a string of this length, in one frame that becomes shorter too
            name, old = (b"\x8c" + bytes([len(text)]) + text for text in (name, old))
        contents = contents.replace(name, old)
    if protocol >= 4:
        start = contents.index(b"\x95") + 1
        frame = len(contents) - start - 8
        contents = contents[:start] + frame.to_bytes(8, "little") + contents[start + 8 :]
    assert b"_core" not in contents
    return contents


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("numpy", [1, 2])
@pytest.mark.parametrize("keys", ["bytes", "text"])
@pytest.mark.parametrize("labels", ["list", "array", "small array", "array scalars"])
def test_batches_of_python_3(protocol, numpy, keys, labels):
    """As `pickle.dump(pickle.load(file, encoding=...), other, protocol)` writes a batch anew."""
    kinds = {
        "list": CLASSES,
        "array": np.array(CLASSES),
        "small array": np.array(CLASSES, np.uint8),
        "array scalars": list(np.array(CLASSES)),
    }
    batch = {"batch_label": "testing batch 1 of 1", "labels": kinds[labels], "data": PIXELS, "filenames": [b"", b"x"]}
    if keys == "bytes":
        batch = {key.encode(): value for key, value in batch.items()}
    contents = pickle.dumps(batch, protocol)
    if numpy == 1:
        contents = as_numpy_1(contents, protocol)
    pixels, classes = read_pickled(contents, CIFAR10)
    np.testing.assert_array_equal(pixels, PIXELS)
    assert classes.tolist() == CLASSES


def test_pixels_in_the_order_of_columns():
    contents = pickle.dumps({b"data": np.asfortranarray(PIXELS), b"fine_labels": CLASSES}, 5)
    np.testing.assert_array_equal(read_pickled(contents, CIFAR100)[0], PIXELS)


class Call:
    """What is pickled as the call of a function."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_refused(protocol, capsys):
    with pytest.raises(ValueError, match=r"it names (__builtin__|builtins)\.print, which no batch does"):
        read_pickled(pickle.dumps({"data": Call(print, "executed")}, protocol), CIFAR10)
    assert capsys.readouterr().out == ""


def named(module: str, name: str, arguments: bytes = b")") -> bytes:
    """A pickle that calls something by its name."""
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n" + arguments + b"R."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy._core.multiarray", "fromfile"),
        ("numpy.core.numeric", "load"),
        ("_codecs", "lookup"),
        ("_codecs", "decode"),
        ("stata_jax.data.readers.cifar_pickle", "load"),
        ("numpy.core.multiarray", "_reconstruct.__self__"),
    ],
)
def test_no_other_name_is_called(module, name):
    with pytest.raises(ValueError, match=r"it names .*, which no batch does"):
        read_pickled(named(module, name), CIFAR10)


def test_other_codecs_and_types_are_refused():
    for contents, message in (
        (named("_codecs", "encode", b"(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13t"), "holds bytes in 'rot13'"),
        (pickle.dumps({"data": np.array([{"a": 1}, None])}), "an array of 'O8', which no batch does"),
        (pickle.dumps({"data": np.zeros(2, "f4")}), "an array of 'f4'"),
        (pickle.dumps([1]), "it is a list instead of a dict"),
    ):
        with pytest.raises(ValueError, match=f"it cannot be unpickled .*{message}"):
            read_pickled(contents, CIFAR10)


def test_a_pickle_cannot_change_what_reads_the_next_one():
    """BUILD sets attributes of what it is given; the functions that a pickle may call have none to set."""
    defaults = b"(N}X\x0c\x00\x00\x00__defaults__(X\x06\x00\x00\x00latin1tst"  # (None, {"__defaults__": ("latin1",)})
    contents = b"\x80\x02c_codecs\nencode\n" + defaults + b"b."
    with pytest.raises(ValueError, match="it cannot be unpickled"):
        read_pickled(contents, CIFAR10)
    with pytest.raises(ValueError, match="missing 1 required positional argument: 'encoding'"):
        read_pickled(named("_codecs", "encode", b"X\x01\x00\x00\x00a\x85"), CIFAR10)
