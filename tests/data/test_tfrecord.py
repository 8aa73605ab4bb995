"""TFRecord files written byte by byte."""

import pickle

import pytest
from tfds_files import tfrecord

from stata_jax.data.protocol import DataError
from stata_jax.data.readers.tfrecord import TfRecords, index_records

FILES = [[b"one", b"", b"three" * 1000], [], [bytes(range(256))]]


def write(folder, files):
    paths = [folder / f"{i}.tfrecord" for i in range(len(files))]
    for path, records in zip(paths, files, strict=True):
        path.write_bytes(tfrecord(records))
    return paths


def test_records_are_read_by_number_across_files(tmp_path):
    examples = TfRecords(write(tmp_path, FILES), bytes)
    expected = [record for records in FILES for record in records]
    assert len(examples) == 4
    assert [examples[i] for i in (3, 1, 0, 2)] == [expected[i] for i in (3, 1, 0, 2)]
    assert list(pickle.loads(pickle.dumps(examples))) == expected


def test_a_file_cut_short_is_noticed_but_between_two_records(tmp_path):
    (path,) = write(tmp_path, [[b"first", b"second"]])
    contents = path.read_bytes()
    ends = [0, 12 + 5 + 4, len(contents)]
    for length in range(len(contents) + 1):
        path.write_bytes(contents[:length])
        if length in ends:
            assert len(index_records(path)) == ends.index(length)
        else:
            with pytest.raises(DataError, match=f"{path} is truncated or damaged"):
                index_records(path)


def test_another_file_is_none(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"no records at all" * 10)
    with pytest.raises(DataError, match=f"{path} is truncated or damaged"):
        index_records(path)
