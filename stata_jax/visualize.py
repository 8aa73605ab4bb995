"""Draws which tokens several runs keep of the same test images.

    python -m stata_jax.visualize runs/random runs/l1 runs/stata --output=kept.png

A column for each image, a row for each run. A patch is the paler the fewer timesteps keep it behind the last pruning.
"""

import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

from stata_jax import cli
from stata_jax.config.options import OPTIONS
from stata_jax.errors import ConfigError
from stata_jax.paths import expand
from stata_jax.train import reuse

_IMAGES = 10
_SAME = ("model.pooling", "model.timesteps")
_MAY_DIFFER = ("data.data_dir", "data.manual_dir", "data.train_examples", "data.num_classes", "data.workers")


def draw(
    workdirs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    images: int = _IMAGES,
    overrides: Mapping[str, object] | None = None,
) -> str:
    """Writes the picture of the tokens that runs keep of the first test images.

    Args:
      workdirs: Folders of runs, on the same data.
      output: The PNG to write.
      images: How many images.
      overrides: Values by dotted key that differ from the runs' configs, such as another folder of the data.

    Returns:
      A sentence on what was written.

    Raises:
      ConfigError: If a folder holds no run, a run keeps all tokens, or the runs' images differ.
    """
    settings = [reuse.settings_for(workdir, overrides) for workdir in workdirs]
    for workdir, each in zip(workdirs, settings, strict=True):
        for key in [*_SAME, *(key for key in OPTIONS if key.startswith("data.") and key not in _MAY_DIFFER)]:
            if each[key] != settings[0][key]:
                raise ConfigError(f"{workdir} has {key}={each[key]}, but {workdirs[0]} has {settings[0][key]}")

    import numpy as np

    from stata_jax import build
    from stata_jax.streams import Stream, stream_key
    from stata_jax.tools.pictures import draw_beside
    from stata_jax.tools.sheets import still_pictures
    from stata_jax.train.report import look, patches_across

    for workdir, each in zip(workdirs, settings, strict=True):
        if not build.placement(each)[0]:
            raise ConfigError(f"{workdir} keeps all tokens, so that there is nothing to draw: leave it out")
    build.processor(settings[0])
    source = build.source(settings[0])
    batch = np.asarray(source.test_batch(0)["image"][:images])
    kept = {}
    for name, workdir, each in zip(_names(workdirs), workdirs, settings, strict=True):
        variables, _ = reuse.read_variables(workdir)
        _, positions = look(each, variables, batch, key=stream_key(each.seed, Stream.TESTS))
        kept[name] = positions[max(positions)]
    side = patches_across(settings[0])
    try:
        draw_beside(expand(output), still_pictures(batch), kept, grid=(side, side))
    except OSError as error:
        raise ConfigError(f"cannot write {output} ({error}): name another file with --output") from error
    return f"{output}: {len(batch)} test images, tokens kept by {', '.join(kept)}"


def _names(workdirs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """What tells the folders apart: their paths without the parts that all have in common at their ends."""
    paths = [pathlib.Path(expand(workdir)).absolute().parts for workdir in workdirs]
    if len(paths) == 1:
        return [paths[0][-1]]
    backwards = _without_common_start([path[::-1] for path in _without_common_start(paths)])
    return ["/".join(path[::-1]) for path in backwards]


def _without_common_start(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    while all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    return paths


def _visualize(argv: Sequence[str]) -> None:
    description = "Draw which tokens runs keep of the same test images."
    parser = cli.Parser(prog="python -m stata_jax.visualize", description=description)
    parser.add_argument("workdirs", metavar="RUN", nargs="*", help="folders of runs on the same data")
    parser.add_argument("--output", metavar="FILE", default="kept.png", help="the PNG (kept.png)")
    parser.add_argument("--images", metavar="N", type=int, default=_IMAGES, help=f"how many test images ({_IMAGES})")
    flags, flag_overrides = cli.parse(parser, argv, required="output")
    cli.at_least(flags, images=1)
    if not flags.workdirs:
        raise ConfigError("name at least one RUN, the folder of a run")
    cli.each_once("RUN", ",".join(flags.workdirs), flags.workdirs)
    from stata_jax import config

    overrides = config.parse_overrides(reuse.read_settings(flags.workdirs[0]), flag_overrides)
    print(draw(flags.workdirs, flags.output, images=flags.images, overrides=overrides))


main = cli.command(_visualize)

if __name__ == "__main__":
    sys.exit(main())
