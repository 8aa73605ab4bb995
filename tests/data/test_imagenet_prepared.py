"""ImageNet is prepared once from the published archives, and what tensorflow-datasets has prepared is used."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from imagenet_files import IDS, picture, train_files, validation_files, write_imagenet
from tfds_files import as_tfrecord

from stata_jax.data.options import SourceOptions
from stata_jax.data.picture_source import PictureSource
from stata_jax.data.protocol import DataError
from stata_jax.data.sources.imagenet import open_imagenet

OPTIONS = {"image_size": 16, "crop_scale": (0.08, 1.0), "batch_size": 4, "eval_batch_size": 4, "seed": 0}


def make(folder: Path, workers: int = 0) -> PictureSource:
    return open_imagenet(SourceOptions(**OPTIONS, workers=workers, data_dir=str(folder)))


def test_missing_archives_are_explained(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    message = rf"put {{}} from https://image-net.org/download-images, where one has to register, into {manual}"
    with pytest.raises(DataError, match=message.format("ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar")):
        make(tmp_path)
    write_imagenet(manual, train_files(), validation_files())
    (manual / "ILSVRC2012_img_val.tar").unlink()
    with pytest.raises(DataError, match=message.format("ILSVRC2012_img_val.tar")):
        make(tmp_path)
    assert not (tmp_path / "stata_imagenet2012").exists()


def test_a_damaged_picture_stops_the_preparation_and_a_whole_one_mends_it(tmp_path):
    manual, files = tmp_path / "downloads" / "manual", train_files()
    whole = files[IDS[2]][f"{IDS[2]}_3.JPEG"]
    files[IDS[2]][f"{IDS[2]}_3.JPEG"] = whole[:400]
    write_imagenet(manual, files, validation_files())
    with pytest.raises(DataError, match=rf"{IDS[2]}_3.JPEG in {IDS[2]}.tar in {manual}/.* is not a whole picture"):
        make(tmp_path)
    assert not any(path.is_file() for path in (tmp_path / "stata_imagenet2012").rglob("*"))
    files[IDS[2]][f"{IDS[2]}_3.JPEG"] = whole
    write_imagenet(manual, files, validation_files())
    assert make(tmp_path).train_examples == 12


KILLED = """
import os, signal, sys
from stata_jax.data.readers import jpeg
from stata_jax.data.sources.imagenet import open_imagenet
from stata_jax.data.options import SourceOptions

def check(contents):
    if len(seen) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(contents)

seen, jpeg.check = [], check
open_imagenet(SourceOptions(data_dir=sys.argv[1], image_size=16, batch_size=4, eval_batch_size=4, seed=0))
"""


def test_a_killed_preparation_is_done_again(tmp_path):
    write_imagenet(tmp_path / "downloads" / "manual", train_files(), validation_files())
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert [path.name.split(".")[0] for path in (tmp_path / "stata_imagenet2012").iterdir()] == ["incomplete"]
    assert make(tmp_path).train_examples == 12


class Official(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stands in for TFDS's own builder, which needs TensorFlow, and does not look at the pictures."""

    name = "imagenet2012"
    VERSION = tfds.core.Version("5.1.0")

    def _info(self):
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=1000),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in ("train", "validation")}

    def _generate_examples(self, split):
        for i in range(8):
            image = picture(i)[: 500 if (split, i) == ("train", 5) else None]
            yield i, {"file_name": f"{split}_{i}.JPEG", "image": image, "label": i + 600}


def test_what_tfds_has_prepared_is_used_and_a_damaged_picture_in_it_is_named(tmp_path):
    Official(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    for workers in (0, 1):  # in processes, read as tfrecord
        if workers:
            as_tfrecord(tmp_path / "imagenet2012" / "5.1.0")
        source = make(tmp_path, workers=workers)
        labels = [source.test_batch(step)["label"] for step in range(2)]
        assert sorted(np.concatenate(labels)) == list(range(600, 608))
        with pytest.raises(
            DataError, match=r"\(train_5.JPEG\) of the train split of .*5\.1\.0 cannot be decoded: [^\n]+\Z"
        ):
            for step in range(2):
                source.train_batch(0, step)
        source.close()
    assert not (tmp_path / "stata_imagenet2012").exists()
