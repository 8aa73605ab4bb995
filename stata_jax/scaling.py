"""Shows how time and memory grow with timesteps, tokens or batch size, dense against pruned.

python -m stata_jax.scaling --model=spikingformer_4_384 --vary=timesteps --values=1,2,4,8,16

Tokens vary by the image size. Attention takes the cheaper of `2 N^2 D` and `2 N D^2 / h` multiply-accumulates, but the
maps that training aligns have N^2 entries, so growth in tokens may exceed linear.
"""

import sys
from collections.abc import Sequence

from stata_jax import cli, config
from stata_jax.errors import ConfigError
from stata_jax.tools import growth
from stata_jax.tools.bench import MODES
from stata_jax.tools.scaling import KEYS, measure

_FLAGS = {"train.batch_size": "--batch_size", "sparsity.keep_rate": "--keep_rates"}  # instead of overrides


def _scaling(argv: Sequence[str]) -> None:
    description = "Show how time and memory grow with timesteps, tokens or batch size, dense against pruned."
    parser = cli.Parser(prog="python -m stata_jax.scaling", description=description)
    parser.add_argument("--model", metavar="NAME", help="a published model, e.g. spikingformer_4_384 (needed)")
    parser.add_argument("--vary", choices=KEYS, default="timesteps", help="what grows (default: timesteps)")
    parser.add_argument("--values", metavar="LIST", default="1,2,4,8,16", help="rising; tokens: squares such as 64,256")
    parser.add_argument("--keep_rates", metavar="LIST", default="1,0.2", help="the first is the base (default: 1,0.2)")
    parser.add_argument("--mode", choices=MODES, default="train", help="a whole step (default), or logits")
    parser.add_argument("--batch_size", metavar="N", type=int, help="images a step (default: 16)")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="timed calls of each (default: 5)")
    parser.add_argument("--output", metavar="DIR", help="where to leave scaling.json, scaling.md and scaling.png")
    flags, flag_overrides = cli.parse(parser, argv, required="model")
    overrides = config.parse_overrides(config.defaults(), flag_overrides)
    for key, flag in (_FLAGS | {KEYS[flags.vary]: "--values"}).items():
        if key in overrides:
            raise ConfigError(f"--config.{key} is set by {flag} here: leave it away")
    if flags.vary == "batch_size" and flags.batch_size is not None:
        raise ConfigError(f"--batch_size is {flags.batch_size}, but with --vary=batch_size, --values sets it")
    cli.at_least(flags, rounds=1)
    values = cli.numbers("--values", flags.values, int, "rising whole numbers, at least two, such as 1,2,4")
    if len(values) < 2 or values != sorted(set(values)) or values[0] < 1:
        raise ConfigError(f"--values is {flags.values!r}, but it must be rising whole numbers, at least two, from 1 on")
    keep_rates = cli.numbers("--keep_rates", flags.keep_rates, float, "numbers such as 1,0.2", once=True)
    folder = None if flags.output is None else config.prepare_workdir(flags.output)
    result = measure(
        flags.model,
        vary=flags.vary,
        values=values,
        keep_rates=keep_rates,
        mode=flags.mode,
        batch_size=16 if flags.batch_size is None else flags.batch_size,
        rounds=flags.rounds,
        overrides=overrides,
    )
    cli.show("scaling", result, growth.as_markdown(result), folder=folder)
    if folder is not None:
        from stata_jax.tools.growth_plot import draw_growth

        draw_growth(folder / "scaling.png", result)


main = cli.command(_scaling)

if __name__ == "__main__":
    sys.exit(main())
