"""Batches of the CIFAR archives, against files written byte by byte."""

import numpy as np
import pytest
from cifar_files import (
    binary_files,
    joined,
    pickled,
    planes,
    python_files,
    random_batches,
    tar_gz,
    unpack,
    write_cifar10,
)

from stata_jax.data.protocol import DataError
from stata_jax.data.readers.cifar_files import CIFAR10, CIFAR100, find, read, read_binary, read_pickled

LAYOUTS = {10: CIFAR10, 100: CIFAR100}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("classes", [10, 100])
def test_what_is_published_is_found_and_read_exactly(tmp_path, classes, binary, packed):
    layout = LAYOUTS[classes]
    names = layout.train + layout.test
    batches = random_batches(names, tuple(range(3, 3 + len(names))), classes)
    write = binary_files if binary else python_files
    path = tar_gz(tmp_path / layout.archives[binary], write(batches, folder=layout.folders[binary], classes=classes))
    if not packed:
        path = unpack(path) / layout.folders[binary]
    assert find(layout, (tmp_path / "nowhere", tmp_path)) == path
    if not packed:
        assert find(layout, (path,)) == path  # as torchvision's root, and as the folder itself
    for found, split in zip(read(path, layout), ("train", "test"), strict=True):
        images, labels = joined(batches, split)
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)
        assert (found[0].dtype, found[1].dtype) == (np.uint8, np.int64)


def test_an_archive_comes_before_its_folder_and_nothing_is_nothing(tmp_path):
    path = tmp_path / CIFAR10.archives[0]
    write_cifar10(tmp_path)
    packed = path.read_bytes()
    unpack(path)
    path.write_bytes(packed)
    assert find(CIFAR10, (tmp_path,)) == path
    assert find(CIFAR100, (tmp_path,)) is None
    (tmp_path / "train").mkdir(), (tmp_path / "test").mkdir()  # folders are no batches
    assert find(CIFAR100, (tmp_path,)) is None


IMAGES = planes(np.zeros((3, 32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"data": IMAGES, "labels": [1, 2]}, r"it has 3 images, but labels int64 \(2,\)"),
        ({"data": IMAGES[:, 1:], "labels": [1, 2, 3]}, r"its data are uint8 \(3, 3071\) instead of"),
        ({"data": IMAGES[0], "labels": [1, 2, 3]}, r"its data are uint8 \(3072,\) instead of"),
        ({"labels": [1, 2, 3]}, r"it cannot be unpickled \(b'data'\)"),
        ({"data": IMAGES, "fine_labels": [1, 2, 3]}, r"it cannot be unpickled \(b'labels'\)"),
    ],
)
def test_a_batch_must_be_consistent(batch, message):
    with pytest.raises(ValueError, match=message):
        read_pickled(pickled(batch), CIFAR10)


def test_a_batch_cut_short():
    contents = pickled({"data": IMAGES, "labels": [1, 2, 3]})
    for length in (0, 10, 500, len(contents) - 1):
        with pytest.raises(ValueError, match="it cannot be unpickled"):
            read_pickled(contents[:length], CIFAR10)
    with pytest.raises(ValueError, match="its 6145 bytes are not a whole number of records of 3073 bytes"):
        read_binary(bytes(2 * 3073 - 1), CIFAR10)
    assert read_binary(bytes(2 * 3074), CIFAR100)[0].shape == (2, 3072)


def test_errors_name_the_archive_and_the_batch(tmp_path):
    batches = write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-python.tar.gz"
    files = python_files(batches, folder="x", classes=10)
    tar_gz(path, files | {"x/data_batch_3": files["x/data_batch_3"][:-9]})
    with pytest.raises(DataError, match=f"x/data_batch_3 in {path} is not a batch of the data set: it cannot be"):
        read(path, CIFAR10)
    tar_gz(path, files | {"x/test_batch": pickled({"data": IMAGES, "labels": [0, 10, 3]})})
    with pytest.raises(DataError, match=f"x/test_batch in {path} .* labels go from 0 to 10"):
        read(path, CIFAR10)
    tar_gz(path, {name: contents for name, contents in files.items() if not name.endswith(("_2", "test_batch"))})
    with pytest.raises(DataError, match=f"{path} lacks data_batch_2, test_batch"):
        read(path, CIFAR10)
