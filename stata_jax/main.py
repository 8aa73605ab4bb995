"""Trains one config: `python -m stata_jax.main --config=configs/digits.py --config.sparsity.keep_rate=0.4`.

Flags only. Everything that the user can get wrong is checked before JAX is imported.
"""

import pathlib
from collections.abc import Sequence

from stata_jax import cli, config, stopping
from stata_jax.errors import ConfigError


def _train(argv: Sequence[str]) -> None:
    parser = cli.Parser(prog="python -m stata_jax.main", description="Train a model, or go on with its training.")
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (default: runs/ and the config's name)")
    joined = "this is one of several processes of the run; Slurm, Kubernetes and MPI say which, or the next three"
    parser.add_argument("--distributed", action="store_true", help=joined)
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="address of the first process")
    parser.add_argument("--num_processes", metavar="N", type=int, help="how many processes there are")
    parser.add_argument("--process_id", metavar="I", type=int, help="which of them this is, from 0")
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    which = {"coordinator": flags.coordinator, "count": flags.num_processes, "index": flags.process_id}
    if not flags.distributed and any(value is not None for value in which.values()):
        raise ConfigError("--coordinator, --num_processes and --process_id are for --distributed: give that as well")
    settings = cli.load_config(flags.config, flag_overrides)
    default = pathlib.Path("runs") / settings.name
    workdir = config.prepare_workdir(default if flags.workdir is None else flags.workdir)

    with stopping.on_signals():
        from stata_jax import build  # imports JAX, which takes seconds: only now that the flags are right
        from stata_jax.train import processes, train

        if flags.distributed:
            processes.join(**which)
        build.processor(settings)
        with processes.first_alone_speaks(), processes.watched():
            train(settings, workdir)


main = cli.command(_train, interrupted="interrupted: the same command resumes the run from its last checkpoint")

if __name__ == "__main__":
    cli.leave(main)
