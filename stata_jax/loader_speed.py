"""How fast the data of a config is: `python -m stata_jax.loader_speed --config=configs/cifar10.py`.

Makes training batches one after the other as a run asks for them, without training on them. A run is held up by its
data where this is not well above the speed of its training step, which `--workdir` shows beside it.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence

from ml_collections import ConfigDict

from stata_jax import cli
from stata_jax.errors import ConfigError
from stata_jax.paths import expand


def measure(settings: ConfigDict, *, batches: int) -> float:
    """Makes training batches, after a first one that starts threads and compiles.

    Args:
      settings: A checked config.
      batches: How many to time, at least 1.

    Returns:
      Training images per second in this process.
    """
    import jax

    from stata_jax import build
    from stata_jax.data.protocol import Source

    source: Source = build.source(settings)
    steps = source.steps_per_epoch
    jax.block_until_ready(source.train_batch(0, 0))
    images, begin = 0, time.perf_counter()
    for number in range(1, batches + 1):
        batch = jax.block_until_ready(source.train_batch(*divmod(number, steps)))
        images += len(batch["label"])
    return images / (time.perf_counter() - begin)


def trained_at(workdir: str | os.PathLike[str]) -> float:
    """The speed of a run: the median over the lines of its `metrics.jsonl`.

    Args:
      workdir: Folder of the run.

    Returns:
      Training images per second.

    Raises:
      ConfigError: If the folder holds no such lines.
    """
    path = expand(workdir) / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): name the folder of a run") from error
    speeds = [line["train/images_per_second"] for line in lines if "train/images_per_second" in line]
    if not speeds:
        raise ConfigError(f"{path} holds no training speed yet: let the run go on for train.log_every steps")
    return statistics.median(speeds)


def _report(argv: Sequence[str]) -> None:
    description = "Measure how many training images per second the data of a config delivers."
    parser = cli.Parser(prog="python -m stata_jax.loader_speed", description=description)
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    parser.add_argument("--batches", metavar="N", type=int, default=50, help="batches to time (default: 50)")
    parser.add_argument("--workdir", metavar="DIR", help="the folder of a run, whose training speed to compare with")
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    cli.at_least(flags, batches=1)
    settings = cli.load_config(flags.config, flag_overrides)
    used = trained_at(expand(flags.workdir)) if flags.workdir else None
    made = measure(settings, batches=flags.batches)
    print(f"{settings.data.source}: {made:,.0f} images/s from the source, {flags.batches} batches")
    if used is not None:
        print(f"training: {used:,.0f} images/s in {flags.workdir}; the source is {made / used:.1f} times as fast")


main = cli.command(_report)

if __name__ == "__main__":
    sys.exit(main())
