"""Evaluates a run's checkpoint: `python -m stata_jax.evaluate --workdir=runs/digits [--config.KEY=VALUE ...]`."""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stata_jax import cli, config
from stata_jax.data.protocol import Source
from stata_jax.paths import expand
from stata_jax.train import reuse


def evaluate(
    workdir: str | os.PathLike[str],
    *,
    overrides: Mapping[str, object] | None = None,
    step: int | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Evaluates a checkpoint with the config beside it, on the whole test set.

    Of a run with `train.ema_decay` the averaged weights.

    Args:
      workdir: Folder of a run.
      overrides: Values by dotted key that differ from the run's config, such as `{"data.digits.clutter": 4}`.
      step: Which checkpoint; None for the newest.
      source: The data; None for that of the config. See `stata_jax.train.train`.

    Returns:
      `top1` and `top5`, shares from 0 to 1, `loss`, `images`, the `step` of the checkpoint, and where it is known how
      well the kept tokens cover the digit, see `stata_jax.train.evaluation.evaluate`.

    Raises:
      ConfigError: If the folder holds no such checkpoint, or the overrides do not fit it.
    """
    settings = reuse.settings_for(workdir, overrides)

    import jax  # only now that the flags are right: it takes seconds
    import jax.numpy as jnp

    from stata_jax import build
    from stata_jax.streams import Stream, stream_key
    from stata_jax.train import parallel
    from stata_jax.train.compilation import compile_when_called
    from stata_jax.train.evaluation import evaluate as count_hits
    from stata_jax.train.state import time_major

    build.processor(settings)
    build.check_devices(settings, parts=("eval",))
    source = build.source(settings) if source is None else build.checked_source(settings, source)
    images = jax.ShapeDtypeStruct((1, *build.image_shape(settings)), jnp.float32)
    wanted = jax.eval_shape(lambda x: build.model(settings).init(jax.random.key(0), time_major(x)), images)
    variables, at = reuse.read_variables(workdir, step=step)
    check_fit(variables, wanted)
    key = stream_key(settings.seed, Stream.TESTS)
    mapped = compile_when_called(parallel.on_all_devices(build.test_step(settings)))
    batches = (source.test_batch(i) for i in range(source.test_steps))
    accuracy = count_hits(mapped, parallel.replicate(variables), batches, key=key)
    return accuracy | {"step": at}


def check_fit(variables: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Raises where the overrides ask for a network that the checkpoint does not hold.

    Args:
      variables: What the checkpoint holds.
      wanted: Shapes of what the network of the config has.

    Raises:
      ConfigError: Naming the first array that differs.
    """
    from flax.traverse_util import flatten_dict

    have, want = (
        {name: np.shape(leaf) for name, leaf in flatten_dict(tree, sep="/").items()} for tree in (variables, wanted)
    )
    for name in sorted(have.keys() | want.keys()):
        if have.get(name) != want.get(name):
            raise config.ConfigError(
                f"the checkpoint does not fit this config: {name} has shape {have.get(name, 'none')} in the "
                f"checkpoint and {want.get(name, 'none')} by the config"
            )


def _evaluate(argv: Sequence[str]) -> None:
    parser = cli.Parser(prog="python -m stata_jax.evaluate", description="Evaluate a checkpoint of a run.")
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (needed)")
    parser.add_argument("--step", metavar="N", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--output", metavar="DIR", help="where to leave evaluate.json")
    flags, flag_overrides = cli.parse(parser, argv, required="workdir")
    workdir = expand(flags.workdir).absolute()
    settings = reuse.read_settings(workdir)
    overrides = config.parse_overrides(settings, flag_overrides)
    result = evaluate(workdir, overrides=overrides, step=flags.step)
    whose = ", averaged weights" if settings.train.ema_decay else ""
    print(
        f"step {result['step']:.0f}: test top-1 {100 * result['top1']:.2f} %, top-5 {100 * result['top5']:.2f} %, "
        f"cross entropy {result['loss']:.4f} ({result['images']:.0f} images{whose})"
    )
    for block, shares in result.get("coverage", {}).items():
        on_digit, kept = (100 * statistics.mean(shares[name]) for name in ("kept_on_digit", "digit_kept"))
        print(
            f"{block}: {on_digit:.0f} % of the kept tokens lie on the digit "
            f"({100 * result['coverage_chance']:.0f} % of all do), {kept:.0f} % of the digit's are kept"
        )
    if flags.output is not None:
        from stata_jax.train.metrics import write_json

        write_json(expand(flags.output) / "evaluate.json", result)


main = cli.command(_evaluate)

if __name__ == "__main__":
    sys.exit(main())
