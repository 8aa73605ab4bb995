"""From a config to the data of a run: its source, and what is done to a batch before the network sees it."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from stata_jax.config.values import named
from stata_jax.data.augment import pipeline
from stata_jax.data.frame_size import BORDER, is_possible, resize
from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import Source
from stata_jax.errors import ConfigError
from stata_jax.registries import SOURCES
from stata_jax.train.state import time_major
from stata_jax.train.step import Augment, Prepare


def source(config: ConfigDict) -> Source:
    """The data.

    Raises:
      ConfigError: If the config names none, the data is missing or damaged, or it does not suit the config.
    """
    if config.data.source == "none":
        raise ConfigError(
            "data.source is 'none', so there are no images (a converted checkpoint brings none): name a source, for "
            "example --config.data.source=digits"
        )
    try:
        opened = SOURCES[config.data.source](source_options(config))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(
            f"the data of data.source {config.data.source} cannot be read or written ({error}): look at data.data_dir, "
            "data.manual_dir, data.path and the free space on the disk"
        ) from error
    _check_fit(config, opened)
    return opened


def source_options(config: ConfigDict) -> SourceOptions:
    """What the data set of a config is opened with."""
    data = config.data
    return SourceOptions(
        **named(SourceOptions, data, data.digits),
        crop_scale=config.augment.crop_scale,
        timesteps=config.model.timesteps,
        seed=config.seed,
        batch_size=config.train.batch_size,
        eval_batch_size=config.eval.batch_size,
        threshold=data.sensor.threshold,
        noise_hz=data.sensor.noise,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def checked_source(config: ConfigDict, given: Source) -> Source:
    """A source from Python, as it is.

    Args:
      config: The config of the run.
      given: The source.

    Raises:
      ConfigError: If it is no source, or its images or batches are not those that the config describes.
    """
    if not isinstance(given, Source):
        missing = [name for name in dir(Source) if not name.startswith("_") and not hasattr(given, name)]
        raise ConfigError(f"the source lacks {', '.join(missing)}, see stata_jax.data.protocol.Source")
    _check_fit(config, given)
    wanted = image_shape(config)
    if len(given.image_shape) != len(wanted) or given.image_shape[:-3] != wanted[:-3]:
        raise ConfigError(f"the source has images of shape {given.image_shape}, but by the config they are {wanted}")
    if given.steps_per_epoch < 1 or given.test_steps < 1:
        raise ConfigError("the source has no whole batch to train on, or none to test on: lower train.batch_size")
    for part, batch in (("train", given.train_batch(0, 0)), ("eval", given.test_batch(0))):
        needed = ("image", "label") if part == "train" else ("image", "label", "mask")
        if missing := [name for name in needed if name not in batch]:
            method = "train_batch" if part == "train" else "test_batch"
            raise ConfigError(f"what {method} of the source returns lacks {', '.join(missing)}")
        size = len(batch["label"])
        share = config[part].batch_size // jax.process_count()
        if size != share:
            whose = "" if share == config[part].batch_size else f" ({share} in each of {jax.process_count()} processes)"
            raise ConfigError(
                f"{part}.batch_size is {config[part].batch_size}{whose}, but the source has batches of {size}"
            )
    return given


def _check_fit(config: ConfigDict, source: Source) -> None:
    """Raises ConfigError where the images are not those that the config describes."""
    data = config.data
    *_, height, width, channels = source.image_shape
    can_change = SOURCES.kind(data.source) == "recordings" and height == width and is_possible(height, data.image_size)
    if (height, width) != (data.image_size, data.image_size) and not can_change:
        raise ConfigError(
            f"data.image_size is {data.image_size}, but {data.source} has {height}x{width} pixels"
            + (
                f", which must be a multiple of it, or differ from it by 2 or {2 * BORDER}"
                if SOURCES.kind(data.source) == "recordings"
                else ""
            )
        )
    if channels != data.channels:
        raise ConfigError(f"data.channels is {data.channels}, but {data.source} has {channels}")
    if source.num_classes > data.num_classes:
        raise ConfigError(f"data.num_classes is {data.num_classes}, but {data.source} has {source.num_classes} classes")


def image_shape(config: ConfigDict) -> tuple[int, ...]:
    """Shape of one example when it is prepared: (H, W, C), or (T, H, W, 2) for a recording."""
    data = config.data
    image = (data.image_size, data.image_size, data.channels)
    return (config.model.timesteps, *image) if SOURCES.kind(data.source) == "recordings" else image


def augment_options(config: ConfigDict, *, steps_per_epoch: int) -> pipeline.AugmentOptions:
    """What is done to a training batch; epochs become steps."""
    values = named(pipeline.AugmentOptions, config.augment, config.data)
    return pipeline.AugmentOptions(mix_off_step=config.augment.mix_off_epoch * steps_per_epoch, **values)


def augment(config: ConfigDict, *, steps_per_epoch: int) -> Augment:
    """What makes a training batch of what the source gives."""
    options = augment_options(config, steps_per_epoch=steps_per_epoch)

    def sized_and_augmented(
        key: jax.Array, images: jax.Array, labels: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return pipeline.augment(key, sized(images, config.data.image_size), labels, step, options=options)

    return sized_and_augmented


def prepare(config: ConfigDict) -> Prepare:
    """What makes a test batch of what the source gives."""
    options = augment_options(config, steps_per_epoch=1)
    return lambda images: pipeline.prepare(sized(images, config.data.image_size), options=options)


def model_input(config: ConfigDict) -> Callable[[jax.Array], jax.Array]:
    """From images as the source gives them to those that a model takes: prepared, and recordings time-major."""
    return lambda images: time_major(prepare(config)(images))


def sized(images: jax.Array, size: int) -> jax.Array:
    """Recordings in frames of `size` pixels; images, which come in their size, as they are."""
    return images if images.ndim == 4 or images.shape[2] == size else resize(images, size=size)
