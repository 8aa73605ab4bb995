"""Draws a batch before and after its augmentation.

    python -m stata_jax.contact_sheet --config=configs/digits.py --output=sheet.png

Rows come in pairs: a training batch of the config's data as it is, and below what the network gets, with normalisation
taken back. Recordings have a row each, some timesteps side by side, on-events red and off-events blue.
"""

import os
import sys
from collections.abc import Sequence

from ml_collections import ConfigDict

from stata_jax import cli
from stata_jax.errors import ConfigError
from stata_jax.paths import expand

_IMAGES = 32
_RECORDINGS = 6  # each takes rows of its own


def draw(settings: ConfigDict, output: str | os.PathLike[str], *, epoch: int = 0) -> str:
    """Writes the contact sheet of the first batch of an epoch.

    Args:
      settings: A checked config.
      output: The PNG to write.
      epoch: From 0.

    Returns:
      A sentence on what was written.

    Raises:
      ConfigError: If the file cannot be written.
    """
    import jax
    import numpy as np

    from stata_jax import build
    from stata_jax.data.augment.pipeline import augment
    from stata_jax.streams import Stream, stream_key
    from stata_jax.tools.sheets import contact_sheet

    source = build.source(settings)
    options = build.augment_options(settings, steps_per_epoch=source.steps_per_epoch)
    batch = source.train_batch(epoch, 0)
    shown = _RECORDINGS if len(source.image_shape) == 4 else _IMAGES
    key = jax.random.fold_in(stream_key(settings.seed, Stream.PICTURES), epoch)
    step = epoch * source.steps_per_epoch
    program = jax.jit(augment, static_argnames="options")
    images = build.sized(batch["image"], settings.data.image_size)
    augmented, _ = program(key, images, batch["label"], step, options=options)
    before, after = np.asarray(images)[:shown], np.asarray(augmented)[:shown]
    if options.mean:
        after = after * np.asarray(options.std, np.float32) + np.asarray(options.mean, np.float32)
    title = f"{settings.name}, epoch {epoch}: each pair of rows before and after"
    try:
        contact_sheet(before, after, expand(output), title=title)
    except OSError as error:
        raise ConfigError(f"cannot write {output} ({error}): name another file with --output") from error
    return f"{output}: {len(before)} of a batch of {len(batch['label'])}, before and after"


def _draw(argv: Sequence[str]) -> None:
    description = "Draw a training batch before and after its augmentation."
    parser = cli.Parser(prog="python -m stata_jax.contact_sheet", description=description)
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    parser.add_argument("--output", metavar="FILE", default="contact_sheet.png", help="the PNG (contact_sheet.png)")
    parser.add_argument("--epoch", type=int, default=0, help="the epoch whose first batch to draw, from 0 (0)")
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    settings = cli.load_config(flags.config, flag_overrides)
    if not 0 <= flags.epoch < settings.train.epochs:
        raise ConfigError(f"--epoch must be from 0 to {settings.train.epochs - 1} (train.epochs), got {flags.epoch}")
    print(draw(settings, flags.output, epoch=flags.epoch))


main = cli.command(_draw)

if __name__ == "__main__":
    sys.exit(main())
