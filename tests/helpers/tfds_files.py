"""Data sets as TFDS prepares them with TensorFlow."""

import struct
from pathlib import Path

import tensorflow_datasets as tfds


def tfrecord(records: list[bytes]) -> bytes:
    """The bytes of a TFRecord file; its checksums are left zero."""
    return b"".join(struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4) for data in records)


def as_tfrecord(folder: Path) -> None:
    """Turns a data set prepared as array_record into one prepared as tfrecord."""
    builder = tfds.builder_from_directory(folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    shards = {}
    for split, info in builder.info.splits.items():
        (path,) = info.filepaths
        name = path.name.replace("array_record", "tfrecord")
        shards[name] = tfrecord(list(builder.as_data_source(split, deserialize_method=raw)))
        Path(path).unlink()
    for name, contents in shards.items():
        (folder / name).write_bytes(contents)
    replace_format(folder, "tfrecord")


def replace_format(folder: Path, format_: str) -> None:
    """Changes what the data set says that it is stored as."""
    path = folder / "dataset_info.json"
    text = path.read_text()
    assert "array_record" in text
    path.write_text(text.replace("array_record", format_))
