"""Trains one config: `python -m stata_jax.main --config=configs/digits.py --config.sparsity.keep_rate=0.4`.

Flags only. Everything that the user can get wrong is checked before JAX is imported.
"""

import pathlib
from collections.abc import Sequence

from stata_jax import cli, config, stopping


def _train(argv: Sequence[str]) -> None:
    parser = cli.Parser(prog="python -m stata_jax.main", description="Train a model, or go on with its training.")
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (default: runs/ and the config's name)")
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    settings = cli.load_config(flags.config, flag_overrides)
    default = pathlib.Path("runs") / settings.name
    workdir = config.prepare_workdir(default if flags.workdir is None else flags.workdir)

    with stopping.on_signals():
        from stata_jax import build  # imports JAX, which takes seconds: only now that the flags are right
        from stata_jax.train import train

        build.processor(settings)
        train(settings, workdir)


main = cli.command(_train, interrupted="interrupted: the same command resumes the run from its last checkpoint")

if __name__ == "__main__":
    cli.leave(main())
