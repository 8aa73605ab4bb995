"""From published or prepared files to batches: exactly, and never half."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from cifar_files import binary_files, joined, random_batches, tar_gz, unpack, write_cifar10
from PIL import Image
from tfds_files import as_tfrecord

from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError, Source
from stata_jax.data.readers import cifar_files
from stata_jax.data.sources.cifar import open_cifar

OPTIONS = {"source": "cifar10", "batch_size": 4, "eval_batch_size": 3, "seed": 0}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(cifar_files, "_URL", "file:///no/such/folder/")


def make(**changes) -> Source:
    return open_cifar(SourceOptions(**OPTIONS | changes))


def manual(folder: Path) -> Path:
    return folder / "downloads" / "manual"


def whole_test_set(source) -> tuple[np.ndarray, np.ndarray]:
    """All test images and labels."""
    batches = [source.test_batch(step) for step in range(source.test_steps)]
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return whole["image"][whole["mask"]], whole["label"][whole["mask"]]


def assert_holds(source, batches: dict[str, tuple]) -> None:
    """The source has the images of the batches: the test ones in order, the training ones in any."""
    images, labels = whole_test_set(source)
    for found, expected in zip((images, labels), joined(batches, "test"), strict=True):
        np.testing.assert_array_equal(found, expected)
    images, labels = joined(batches, "train")
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    shown = [source.train_batch(0, step) for step in range(source.steps_per_epoch)]
    for batch in shown:
        assert [known[np.asarray(image).tobytes()] for image in batch["image"]] == batch["label"].tolist()
    assert len({np.asarray(image).tobytes() for batch in shown for image in batch["image"]}) == len(labels)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below the folder, with its time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_is_read_as_it_is_published(tmp_path, packed):
    batches = write_cifar10(manual(tmp_path))
    if not packed:
        unpack(manual(tmp_path) / "cifar-10-python.tar.gz")
    before = contents(tmp_path)
    source = make(data_dir=str(tmp_path))
    assert isinstance(source, Source)
    assert (source.train_examples, source.test_examples, source.num_classes) == (20, 7, 10)
    assert source.image_shape == (32, 32, 3)
    assert_holds(source, batches)
    assert contents(tmp_path) == before  # nothing is prepared


def test_a_folder_of_batches_may_itself_be_named_or_lie_in_the_data_folder(tmp_path):
    batches = write_cifar10(tmp_path)
    unpack(tmp_path / "cifar-10-python.tar.gz")
    for changes in (
        {"data_dir": str(tmp_path)},
        {"data_dir": str(tmp_path / "other"), "manual_dir": str(tmp_path / "cifar-10-batches-py")},
    ):
        assert_holds(make(**changes), batches)


def test_cifar100_has_the_fine_labels(tmp_path):
    batches = random_batches(("train", "test"), (8, 5), 100)
    path = tmp_path / "archives" / "cifar-100-binary.tar.gz"
    tar_gz(path, binary_files(batches, folder="cifar-100-binary", classes=100))
    source = make(source="cifar100", data_dir=str(tmp_path / "data"), manual_dir=str(path.parent))
    assert source.num_classes == 100
    assert_holds(source, batches)


def test_fewer_examples_than_there_are(tmp_path):
    batches = write_cifar10(manual(tmp_path))
    source = make(data_dir=str(tmp_path), train_examples=8, test_examples=3)
    assert (source.train_examples, source.test_examples, source.steps_per_epoch) == (8, 3, 2)
    np.testing.assert_array_equal(whole_test_set(source)[0], joined(batches, "test")[0][[0, 2, 4]])
    with pytest.raises(DataError, match=r"data.train_examples is 21, but the data set has 20 of them"):
        make(data_dir=str(tmp_path), train_examples=21)


def test_a_missing_archive_is_explained(tmp_path):
    with pytest.raises(DataError) as caught:
        make(data_dir=str(tmp_path))
    wanted = "put cifar-10-python.tar.gz or cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, "
    assert f"{wanted}packed or unpacked, into {manual(tmp_path)}, or name with data.data_dir a" in str(caught.value)
    assert "file:///no/such/folder/cifar-10-python.tar.gz could not be downloaded" in str(caught.value)


def test_a_download_with_another_checksum_is_not_used(tmp_path, monkeypatch):
    batches = write_cifar10(tmp_path / "server")
    monkeypatch.setattr(cifar_files, "_URL", f"{(tmp_path / 'server').as_uri()}/")
    with pytest.raises(DataError, match="instead of the published c58f30108f718f92721af3b95e74349a"):
        make(data_dir=str(tmp_path))
    assert not contents(manual(tmp_path))
    md5 = hashlib.md5((tmp_path / "server" / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    published = dataclasses.replace(cifar_files.CIFAR10, md5=md5)
    monkeypatch.setitem(cifar_files.LAYOUTS, "cifar10", published)
    assert_holds(make(data_dir=str(tmp_path)), batches)


def test_a_truncated_archive_is_told_and_a_good_one_then_works(tmp_path):
    batches = write_cifar10(manual(tmp_path))
    path = manual(tmp_path) / "cifar-10-python.tar.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{path} is truncated or damaged"):
        make(data_dir=str(tmp_path))
    path.write_bytes(whole)
    assert_holds(make(data_dir=str(tmp_path)), batches)


class Official(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stands in for TFDS's own builder, which needs TensorFlow: the same name, version and features."""

    name = "cifar10"
    VERSION = tfds.core.Version("3.0.2")
    batches: dict[str, tuple]

    def _info(self):
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split):
        for i, (image, label) in enumerate(zip(*joined(self.batches, split), strict=True)):
            yield i, {"id": f"{split}_{i}", "image": Image.fromarray(image), "label": label}


class StataCifar10(Official, skip_registration=True):
    """What older versions of this package prepared."""

    name = "stata_cifar10"


def prepare(folder: Path, builder_class: type[Official] = Official) -> dict[str, tuple]:
    batches = random_batches(("data_batch_1", "test_batch"), (20, 6), 10, seed=5)
    builder = builder_class(data_dir=folder, file_format="array_record")
    builder.batches = batches
    builder.download_and_prepare()
    return batches


def test_what_tfds_has_prepared_is_used_as_it_is(tmp_path):
    write_cifar10(manual(tmp_path))  # other images, which nobody should look at
    batches = prepare(tmp_path)
    before = contents(tmp_path / "cifar10")
    source = make(data_dir=str(tmp_path))
    assert (source.train_examples, source.test_examples) == (20, 6)
    images, labels = whole_test_set(source)  # TFDS has shuffled them
    expected = {image.tobytes(): label for image, label in zip(*joined(batches, "test"), strict=True)}
    assert {image.tobytes(): label for image, label in zip(images, labels, strict=True)} == expected
    assert contents(tmp_path / "cifar10") == before


def test_what_an_older_version_has_prepared_is_used_where_there_is_no_archive(tmp_path):
    prepared = prepare(tmp_path, StataCifar10)
    found = whole_test_set(make(data_dir=str(tmp_path)))[0]
    assert {image.tobytes() for image in found} == {image.tobytes() for image in joined(prepared, "test")[0]}
    published = write_cifar10(manual(tmp_path))
    assert_holds(make(data_dir=str(tmp_path)), published)


def test_prepared_data_that_was_damaged_is_not_used(tmp_path):
    prepare(tmp_path)
    folder = tmp_path / "cifar10" / "3.0.2"
    shard = next(folder.glob("*train*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"train split of {folder} cannot be read"):
        make(data_dir=str(tmp_path))
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard} is missing: delete {folder}"):
        make(data_dir=str(tmp_path))


def test_what_tfds_has_prepared_as_tfrecord_is_used_too(tmp_path):
    batches = prepare(tmp_path)
    as_tfrecord(tmp_path / "cifar10" / "3.0.2")
    images, _ = whole_test_set(make(data_dir=str(tmp_path)))
    assert {image.tobytes() for image in images} == {image.tobytes() for image in joined(batches, "test")[0]}
    assert "tensorflow" not in sys.modules


def test_data_that_tfds_has_converted_is_used(tmp_path):
    batches = prepare(tmp_path)
    path = tmp_path / "cifar10" / "3.0.2" / "dataset_info.json"
    converted = '"alternativeFileFormats": ["array_record"], "fileFormat": "tfrecord"'
    path.write_text(path.read_text().replace('"fileFormat": "array_record"', converted))
    assert "alternative" in path.read_text()
    images, _ = whole_test_set(make(data_dir=str(tmp_path)))
    assert {image.tobytes() for image in images} == {image.tobytes() for image in joined(batches, "test")[0]}


WITHOUT = """
import sys
sys.modules["array_record"] = None  # importing it is then an ImportError
from stata_jax.data.sources.cifar import open_cifar
from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError

try:
    source = open_cifar(SourceOptions(source="cifar10", data_dir=sys.argv[1], batch_size=4, eval_batch_size=3, seed=0))
    print(source.test_batch(0)["image"].tobytes().hex())
except DataError as error:
    print("told:", error)
"""


def without_array_record(folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_array_record_archives_and_tfrecords_are_read_and_the_rest_is_told(tmp_path):
    """The package does not exist for Windows and some Macs."""
    images = joined(write_cifar10(manual(tmp_path / "published")), "test")[0]
    assert without_array_record(tmp_path / "published") == images[:3].tobytes().hex()
    prepare(tmp_path / "prepared")
    folder = tmp_path / "prepared" / "cifar10" / "3.0.2"
    told = without_array_record(tmp_path / "prepared")
    assert told.startswith(f"told: {folder}, stored as array_record, needs the package array_record, which cannot be")
    assert told.endswith("install it, or name another data.data_dir")
    as_tfrecord(folder)
    assert len(without_array_record(tmp_path / "prepared")) == 2 * 3 * 32 * 32 * 3
