"""Shows where the time of a training step goes on a processor, and how long each part would take at best.

python -m stata_jax.roofline --model=spikingformer_4_384 --keep_rate=1 --config.train.cpu_devices=2
"""

import sys
from collections.abc import Sequence

from stata_jax import cli, config
from stata_jax.tools.roofline import as_markdown
from stata_jax.tools.roofline_run import measure


def _roofline(argv: Sequence[str]) -> None:
    description = "Show where the time of a training step goes on a processor, beside the least time of each part."
    parser = cli.Parser(prog="python -m stata_jax.roofline", description=description)
    parser.add_argument("--model", metavar="NAME", help="a published model, e.g. spikingformer_4_384 (needed)")
    parser.add_argument("--keep_rate", metavar="RATE", type=float, default=1.0, help="gamma (default: 1)")
    parser.add_argument("--batch_size", metavar="N", type=int, default=16, help="images a step (default: 16)")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="timed and profiled steps (default: 5)")
    parser.add_argument("--output", metavar="DIR", help="where to leave roofline.json and roofline.md")
    flags, flag_overrides = cli.parse(parser, argv, required="model")
    cli.at_least(flags, rounds=2)
    result = measure(
        flags.model,
        keep_rate=flags.keep_rate,
        batch_size=flags.batch_size,
        rounds=flags.rounds,
        overrides=config.parse_overrides(config.defaults(), flag_overrides),
    )
    cli.show("roofline", result, as_markdown(result), folder=flags.output)


main = cli.command(_roofline)

if __name__ == "__main__":
    sys.exit(main())
