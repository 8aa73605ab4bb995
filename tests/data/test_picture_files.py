"""Which pictures are found where folders are linked, or cannot be read."""

import errno
import os

import pytest
from picture_folders import png, write

from stata_jax.data.protocol import DataError
from stata_jax.data.readers import picture_files

FILES = {"ant/0.png": png(0), "ant/deep/1.png": png(1), "bee/2.png": png(2)}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "train", FILES)


def found(folder):
    pictures, others = picture_files.of_classes(folder, {"ant": 0, "bee": 1})
    return [(pictures[i]["file_name"].decode(), pictures[i]["label"]) for i in range(len(pictures))], others


def link(place, to):
    try:
        place.symlink_to(to, target_is_directory=True)
    except OSError as error:
        pytest.skip(f"this system makes no links: {error}")


PLAIN = [("ant/0.png", 0), ("ant/deep/1.png", 0), ("bee/2.png", 1)]


@pytest.mark.parametrize("place", ["ant/loop", "ant/deep/loop", "ant/a", "bee/loop"])
@pytest.mark.parametrize("to", ["ant", "."])
def test_links_that_lead_back_multiply_no_pictures(folder, place, to):
    link(folder / place, folder / to)
    extra = [("bee/loop/0.png", 1), ("bee/loop/deep/1.png", 1)] if (place, to) == ("bee/loop", "ant") else []
    assert found(folder) == (PLAIN + extra, 0)  # a link to another class is no loop


def test_links_to_elsewhere_are_followed_once(folder, tmp_path):
    write(tmp_path / "elsewhere", {"3.png": png(3), "notes.txt": b""})
    for name in ("b", "a", "deep/c"):
        link(folder / "ant" / name, tmp_path / "elsewhere")
    link(folder / "ant" / "again", folder / "ant" / "deep")
    assert found(folder) == (sorted([*PLAIN, ("ant/a/3.png", 0)]), 1)
    link(tmp_path / "linked", folder)  # the whole of it may be a link
    assert found(tmp_path / "linked") == found(folder)


@pytest.mark.parametrize("closed", ["bee", "ant/deep"])
def test_a_folder_that_cannot_be_read_is_named(folder, closed, monkeypatch):
    scandir = os.scandir

    def refuse(place):
        if os.fspath(place) == str(folder / closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"^the folder {folder}/{closed} cannot be read: Permission denied$"):
        found(folder)


def test_the_folder_of_classes_too_is_named_where_it_cannot_be_read(folder, monkeypatch):
    def refuse(place):
        raise OSError(errno.EIO, os.strerror(errno.EIO), place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"^the folder {folder} cannot be read: Input/output error$"):
        picture_files.class_names(folder)
