"""Trains one config: `python -m stata_jax.main --config=configs/digits.py --config.sparsity.keep_rate=0.4`.

Flags only. Everything that the user can get wrong is checked before JAX is imported.
"""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import cli, config, stopping
from stata_jax.errors import ConfigError


def parse(argv: Sequence[str]) -> tuple[ConfigDict, str | None, dict[str, Any] | None]:
    """Reads a command line.

    Args:
      argv: The command line without the program's name.

    Returns:
      The checked config, the folder of the run where one is named, and for a run on several processes what
      `stata_jax.train.processes.join` takes.

    Raises:
      ConfigError: If a flag, the config or a value is impossible.
    """
    parser = cli.Parser(prog="python -m stata_jax.main", description="Train a model, or go on with its training.")
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (default: runs/ and the config's name)")
    joined = "this is one of several processes of a run; Slurm or Kubernetes say which, or the next three flags"
    parser.add_argument("--distributed", action="store_true", help=joined)
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="address of the first process")
    parser.add_argument("--num_processes", metavar="N", type=int, help="how many processes there are")
    parser.add_argument("--process_id", metavar="I", type=int, help="which of them this is, from 0")
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    which = {"coordinator": flags.coordinator, "count": flags.num_processes, "index": flags.process_id}
    given = [value is not None for value in which.values()]
    if any(given) and not (all(given) and flags.distributed):
        raise ConfigError("--coordinator, --num_processes and --process_id go together, and with --distributed")
    if all(given):
        if not re.fullmatch(r".+:\d+", flags.coordinator):
            raise ConfigError(f"--coordinator is {flags.coordinator!r}, but it must be HOST:PORT")
        if not 0 <= flags.process_id < flags.num_processes:
            last = flags.num_processes - 1
            raise ConfigError(f"--process_id is {flags.process_id}, but --num_processes leaves 0 to {last}")
    return cli.load_config(flags.config, flag_overrides), flags.workdir, which if flags.distributed else None


def _train(argv: Sequence[str]) -> None:
    settings, named, which = parse(argv)
    workdir = config.prepare_workdir(pathlib.Path("runs") / settings.name if named is None else named)

    with stopping.on_signals():
        from stata_jax import build  # imports JAX, which takes seconds: only now that the flags are right
        from stata_jax.train import processes, train

        if which is not None:
            processes.join(**which)
        build.processor(settings)
        with processes.first_alone_speaks(), processes.watched():
            train(settings, workdir)


main = cli.command(_train, interrupted="interrupted: the same command resumes the run from its last checkpoint")

if __name__ == "__main__":
    cli.leave(main)
