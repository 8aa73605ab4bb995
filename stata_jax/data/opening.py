"""Opens each data set by the options that its function names."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import Source


def digits(options: SourceOptions) -> Source:
    """Cluttered digits."""
    from stata_jax.data.source import make_source

    return make_source(**_named(make_source, options))


def digits_dvs(options: SourceOptions) -> Source:
    """Recordings of cluttered digits."""
    from stata_jax.data.digits_dvs import RecordingOptions, open_digit_recordings

    recordings = RecordingOptions(**_named(RecordingOptions, options))
    return open_digit_recordings(options=recordings, **_named(open_digit_recordings, options))


def cifar(options: SourceOptions) -> Source:
    """CIFAR-10 or CIFAR-100."""
    from stata_jax.data.cifar import open_cifar

    return open_cifar(options.source, **_named(open_cifar, options))


def imagenet(options: SourceOptions) -> Source:
    """ImageNet, whose pictures are read in colour."""
    from stata_jax.data.imagenet import open_imagenet
    from stata_jax.data.picture_source import PictureOptions

    pictures = PictureOptions(**_named(PictureOptions, dataclasses.replace(options, channels=3)))
    return open_imagenet(pictures, **_named(open_imagenet, options))


def image_folder(options: SourceOptions) -> Source:
    """Pictures of one's own."""
    from stata_jax.data.image_folder import open_image_folder
    from stata_jax.data.picture_source import PictureOptions

    return open_image_folder(PictureOptions(**_named(PictureOptions, options)), **_named(open_image_folder, options))


def recordings(options: SourceOptions) -> Source:
    """Recordings of one of the published event data sets."""
    from stata_jax.data.prepared import open_recordings

    return open_recordings(options.source, **_named(open_recordings, options))


def _named(function: Callable[..., Any], options: SourceOptions) -> dict[str, Any]:
    """The options that a function or a class has parameters for."""
    return {name: getattr(options, name) for name in inspect.signature(function).parameters if hasattr(options, name)}
