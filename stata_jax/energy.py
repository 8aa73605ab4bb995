"""ACs, MACs and theoretical energy of a run, by layer: `python -m stata_jax.energy --workdir=runs/digits`.

With firing rates measured on the test set, of the model as it was trained and of the same weights without pruning.
"""

import sys
from collections.abc import Sequence

from stata_jax import cli, config
from stata_jax.paths import expand
from stata_jax.tools.energy_run import as_markdown, measure
from stata_jax.train import reuse


def _energy(argv: Sequence[str]) -> None:
    description = "Count the ACs, the MACs and the theoretical energy of a run, with measured firing rates."
    parser = cli.Parser(prog="python -m stata_jax.energy", description=description)
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (needed)")
    parser.add_argument("--step", metavar="N", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--output", metavar="DIR", help="where to leave energy.json and energy.md")
    flags, flag_overrides = cli.parse(parser, argv, required="workdir")
    workdir = expand(flags.workdir).absolute()
    overrides = config.parse_overrides(reuse.read_settings(workdir), flag_overrides)
    result = measure(workdir, overrides=overrides, step=flags.step)
    cli.show("energy", result, as_markdown(result), folder=flags.output)


main = cli.command(_energy)

if __name__ == "__main__":
    sys.exit(main())
