"""A picture that is damaged is left out; one that cannot be read, for whatever reason, is not taken for damaged."""

import errno
import os
from pathlib import Path

import pytest
from picture_folders import png, write

from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError
from stata_jax.data.sources.image_folder import open_image_folder

OPTIONS = {"image_size": 8, "channels": 1, "crop_scale": (1.0, 1.0), "batch_size": 2, "eval_batch_size": 2, "seed": 0}
NAMES = [f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("ant", "bee") for i in range(2)]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, {name: png(i) for i, name in enumerate(NAMES)})


def make(folder, workers=0):
    return open_image_folder(SourceOptions(**OPTIONS, workers=workers, path=str(folder), num_classes=2))


def all_batches(source):
    try:
        for step in range(2):
            source.train_batch(0, step)
            source.test_batch(step)
    finally:
        source.close()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("lost", ["train/ant/1.png", "val/bee/0.png"])
def test_a_picture_that_is_gone_is_an_error(folder, workers, lost, capsys):
    source = make(folder, workers)
    (folder / lost).unlink()
    with pytest.raises(DataError, match=rf"^{folder}/{lost} cannot be read: No such file or directory$"):
        all_batches(source)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ESTALE, errno.EIO])
def test_an_error_of_reading_is_told_once_and_the_next_pass_sees_all(folder, code, monkeypatch, capsys):
    source, whole = make(folder), Path.read_bytes

    def fail(path):
        if path == folder / "val" / "bee" / "0.png":
            raise OSError(code, os.strerror(code), str(path))
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        message = rf"^{folder}/val/bee/0\.png cannot be read: {os.strerror(code)}$"
        with pytest.raises(DataError, match=message):
            all_batches(source)
        with pytest.raises(DataError, match=message):
            make(folder)
    all_batches(source)
    assert capsys.readouterr().err == ""
