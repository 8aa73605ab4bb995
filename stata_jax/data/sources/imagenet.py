"""ImageNet as a source of batches."""

from stata_jax.data.picture_source import PictureOptions, PictureSource, make_source
from stata_jax.data.readers.tfds_store import folders

_CLASSES = 1000


def open_imagenet(options: PictureOptions, *, data_dir: str, manual_dir: str) -> PictureSource:
    """Opens ImageNet, in whichever form it is there: see `imagenet_forms`.

    Args:
      options: What becomes of the pictures.
      data_dir: Folder of prepared data, "" for TFDS's own.
      manual_dir: Folder of archives or of `train` and `val`, "" for `<data_dir>/downloads/manual`.

    Returns:
      A source that is tested on the validation images. Where there are only those, it can do nothing else.

    Raises:
      DataError: If the data is missing, damaged or too small.
      ValueError: If a batch does not divide over the processes.
    """
    from stata_jax.data.readers.imagenet_forms import find_splits  # imports TFDS

    train, test = find_splits(*folders(data_dir, manual_dir))
    return make_source(train, test, options, num_classes=_CLASSES)
