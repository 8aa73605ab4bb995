"""Archives cut at every place, and downloads from a server of our own folder."""

import hashlib
import io
import tarfile

import pytest
from cifar_files import tar_gz
from imagenet_files import tar

from stata_jax.data.protocol import DataError
from stata_jax.data.readers import archives
from stata_jax.data.readers.tar import fetch, members, places

FILES = {"folder/a": b"a" * 700, "b": b"", "folder/c": bytes(range(256)) * 5}


def read(contents: bytes) -> dict[str, bytes]:
    return dict(members(io.BytesIO(contents), name="x.tar"))


def test_files_are_read_and_folders_are_passed_over(tmp_path):
    assert read(tar(FILES)) == FILES
    assert read(tar_gz(tmp_path / "x.tar.gz", FILES).read_bytes()) == FILES
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_bytes(b"1")
    with tarfile.open(tmp_path / "y.tar", "w") as archive:
        archive.add(tmp_path / "folder", "folder")
    assert read((tmp_path / "y.tar").read_bytes()) == {"folder/inside": b"1"}


def test_files_of_a_plain_archive_lie_where_they_are_said_to(tmp_path):
    contents = tar(FILES)
    found = {name: contents[at : at + size] for name, at, size in places(io.BytesIO(contents), name="x.tar")}
    assert found == FILES
    packed = tar_gz(tmp_path / "x.tar.gz", FILES).read_bytes()
    for wrong in (packed, contents[:1536], contents[:700]):  # where a compressed file lies says nothing
        with pytest.raises(DataError, match=r"x\.tar is truncated or damaged"):
            list(places(io.BytesIO(wrong), name="x.tar"))


def test_a_plain_archive_is_whole_or_an_error_wherever_it_is_cut():
    contents = tar(FILES)
    end = 512 + 1024 + 512 + 512 + 1536  # headers and contents in blocks of 512 bytes; then zeros
    assert contents[end:] == bytes(len(contents) - end) and any(contents[end - 512 : end])
    # TFDS's own reader and `tarfile` are silent at 1536, 2048 and other places between two files.
    for length in [*range(0, end, 100), 512, 1536, 2048, 2560, end - 1, end, end + 511]:
        with pytest.raises(DataError, match=r"x\.tar is truncated or damaged"):
            read(contents[:length])
    assert read(contents[: end + 512]) == FILES


def test_a_compressed_archive_is_whole_or_an_error_wherever_it_is_cut(tmp_path):
    contents = tar_gz(tmp_path / "x.tar.gz", FILES).read_bytes()
    for length in range(0, len(contents), 5):
        with pytest.raises(DataError, match=r"x\.tar is truncated or damaged"):
            read(contents[:length])


def test_altered_bytes_are_noticed(tmp_path):
    contents = bytearray(tar(FILES))
    contents[1536 + 3] ^= 1  # in the header of the second file
    with pytest.raises(DataError, match="breaks off after 1536 bytes"):
        read(bytes(contents))
    contents = bytearray(tar_gz(tmp_path / "x.tar.gz", FILES).read_bytes())
    contents[-6] ^= 1  # in the checksum
    with pytest.raises(DataError, match=r"x\.tar is truncated or damaged .*CRC"):
        read(bytes(contents))


def test_a_download_is_checked_before_it_appears(tmp_path):
    (tmp_path / "there").write_bytes(b"contents")
    url, target = (tmp_path / "there").as_uri(), tmp_path / "new" / "here"
    with pytest.raises(DataError, match=r"has the MD5 checksum .* instead of the published 0123"):
        fetch(url, target, md5="0123")
    assert list(target.parent.iterdir()) == []
    fetch(url, target, md5=hashlib.md5(b"contents").hexdigest())
    assert [path.name for path in target.parent.iterdir()] == ["here"]
    assert target.read_bytes() == b"contents"


def test_a_failed_download_names_the_address(tmp_path):
    with pytest.raises(DataError, match="file:///no/such/file could not be downloaded"):
        fetch("file:///no/such/file", tmp_path / "here", md5="0123")
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_would_fill_the_memory_is_refused():
    member = tarfile.TarInfo("bomb")
    member.size = archives.LARGEST + 1
    with pytest.raises(DataError, match=rf"x\.tar cannot be read: bomb in it would be {member.size} bytes"):
        read(member.tobuf())
