"""Files in folders and archives."""

import gzip
import io
import tarfile
import zipfile

import pytest

from stata_jax.data.readers import archives
from stata_jax.data.readers.archives import list_files, read_files

FILES = {"a/1.bin": b"one" * 100, "a/b/2.bin": bytes(range(256)) * 20, "3.bin": b""}


def write(path, form):
    if form == "folder":
        for name, data in FILES.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path
    if form == "zip":
        path = path.with_suffix(".zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/", b"")
            for name, data in FILES.items():
                archive.writestr(name, data)
        return path
    path = path.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return path


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_files_are_the_same_in_every_form(tmp_path, form):
    path = write(tmp_path / "files", form)
    assert dict(read_files(path, lambda name: True)) == FILES
    assert sorted(list_files(path)) == sorted(FILES)
    assert [name for name, _ in read_files(path, "a/b/2.bin".__eq__)] == ["a/b/2.bin"]


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_named(tmp_path, form, share):
    path = write(tmp_path / "files", form)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"files\..* is cut off or damaged \(.*\): delete it, then"):
        list(read_files(path, lambda name: True))


@pytest.mark.parametrize(
    ("local", "central", "value", "reason"),
    [
        (6, 8, 1, "encrypted"),  # the flags
        (8, 10, 99, "compression method"),
        (4, 6, 99, "zip file version"),  # that is needed to read it
    ],
)
def test_a_zip_file_that_cannot_be_unpacked_is_named(tmp_path, local, central, value, reason):
    path = write(tmp_path / "files", "zip")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("a/b/2.bin").header_offset
    # In the file's own header, and in its entry of the list at the end, whose 46th byte is followed by the name.
    data[begin + local] = data[data.rindex(b"a/b/2.bin") - 46 + central] = value
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"files\.zip is cut off or damaged \(.*{reason}"):
        list(read_files(path, lambda name: True))


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_changed_byte_is_found(tmp_path, form):
    path = write(tmp_path / "files", form)
    data = bytearray(path.read_bytes())
    place = len(data) // 3
    data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is cut off or damaged"):
        list(read_files(path, lambda name: True))


def test_a_tar_cut_between_blocks_is_found(tmp_path):
    path = write(tmp_path / "files", "tar")
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:1536]))  # within the second file
    with pytest.raises(ValueError, match="is cut off or damaged"):
        list(read_files(path, lambda name: True))


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tmp_path, form):
    """A gigabyte and a byte, which takes a thousandth of that in the archive."""
    size = archives.LARGEST + 1
    if form == "zip":
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb", b"")
        content = bytearray(path.read_bytes())
        at = content.rindex(b"PK\x01\x02")  # the central directory's entry says the unpacked size
        content[at + 24 : at + 28] = size.to_bytes(4, "little")
        path.write_bytes(content)
    else:
        path = tmp_path / "bomb.tar.gz"
        member = tarfile.TarInfo("bomb")
        member.size = size
        path.write_bytes(gzip.compress(member.tobuf()))
    with pytest.raises(ValueError, match=rf"bomb in it would be {size} bytes, of {archives.LARGEST} at most"):
        list(read_files(path, lambda name: True))


def test_names_that_lead_out_of_the_archive_are_names_and_no_places(tmp_path, monkeypatch):
    """Files are read into memory: nothing is written, whatever an archive calls them, and links are passed over."""
    monkeypatch.chdir(tmp_path)
    names = ["../out", "/tmp/out", "a/../../out"]
    with zipfile.ZipFile("a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    with tarfile.open("a.tar", "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    before = sorted(path.name for path in tmp_path.parent.iterdir())
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        assert [name for name, _ in read_files(path, lambda name: True)] == names
    assert sorted(path.name for path in tmp_path.parent.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "a.zip"]
