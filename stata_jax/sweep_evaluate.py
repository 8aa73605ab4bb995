"""Evaluates a checkpoint as `stata_jax.evaluate` does, and leaves the result as JSON."""

import pathlib
import sys
from collections.abc import Sequence

from stata_jax import cli, config, reuse


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code, see `cli.run`."""
    return cli.run(_evaluate, argv, interrupted="interrupted")


def _evaluate(argv: Sequence[str]) -> None:
    parser = cli.Parser(prog="python -m stata_jax.sweep_evaluate", description="Evaluate a checkpoint, as JSON.")
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (needed)")
    parser.add_argument("--output", metavar="FILE", help="where to leave the result (needed)")
    flags, flag_overrides = cli.parse(parser, argv, required="workdir")
    if flags.output is None:
        raise config.ConfigError("--output is missing: name a file")
    workdir = pathlib.Path(flags.workdir).expanduser().absolute()
    overrides = config.parse_overrides(reuse.read_settings(workdir), flag_overrides)

    from stata_jax.evaluate import evaluate
    from stata_jax.training.metrics import write_json

    write_json(flags.output, evaluate(workdir, overrides=overrides))


if __name__ == "__main__":
    sys.exit(main())
