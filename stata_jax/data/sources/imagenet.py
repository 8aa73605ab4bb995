"""ImageNet as a source of batches."""

import dataclasses

from stata_jax.data.options import SourceOptions
from stata_jax.data.picture_source import PictureSource, check_options, make_source
from stata_jax.data.readers.tfds_store import folders

_CLASSES = 1000


def open_imagenet(options: SourceOptions) -> PictureSource:
    """Opens ImageNet in colour, in whichever form it is there: see `imagenet_forms`.

    Args:
      options: Of which `manual_dir` names the folder of archives or of `train` and `val`.

    Returns:
      A source that is tested on the validation images. Where there are only those, it can do nothing else.

    Raises:
      DataError: If the data is missing, damaged or too small.
      ValueError: If a batch does not divide over the processes.
    """
    options = dataclasses.replace(options, channels=3)
    check_options(options)
    from stata_jax.data.readers.imagenet_forms import find_splits  # imports TFDS

    train, test = find_splits(*folders(options.data_dir, options.manual_dir))
    return make_source(train, test, options, num_classes=_CLASSES)
