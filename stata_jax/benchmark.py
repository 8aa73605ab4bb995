"""Times training and inference of a published model, dense against pruned, in one run on one machine.

python -m stata_jax.benchmark --model=spikingformer_4_384 --keep_rates=1,0.2 --batch_size=16

`--peer=spikingjelly` times the same network in PyTorch, dense, in turns with ours.
"""

import sys
from collections.abc import Sequence

from stata_jax import cli, config
from stata_jax.tools.bench import as_markdown, measure


def _benchmark(argv: Sequence[str]) -> None:
    description = "Time training and inference of a published model, dense against pruned."
    parser = cli.Parser(prog="python -m stata_jax.benchmark", description=description)
    parser.add_argument("--model", metavar="NAME", help="a published model, e.g. spikingformer_4_384 (needed)")
    parser.add_argument("--keep_rates", metavar="LIST", default="1,0.2", help="the first is the base (default: 1,0.2)")
    parser.add_argument("--batch_size", metavar="N", type=int, default=16, help="images a step (default: 16)")
    parser.add_argument("--rounds", metavar="N", type=int, default=10, help="timings of each (default: 10)")
    in_a_row = "calls a timing, as training does not wait for each step (default: 1)"
    parser.add_argument("--in_a_row", metavar="N", type=int, default=1, help=in_a_row)
    parser.add_argument("--modes", metavar="LIST", default="train,infer", help="train, infer or both (default)")
    choices = "values of train.kernels to compare, e.g. auto,plain,auto-max_pool"
    parser.add_argument("--kernels", metavar="LIST", help=choices)
    parser.add_argument("--peer", metavar="LIST", help="also time PyTorch: spikingjelly, spikingjelly_compiled or both")
    parser.add_argument("--output", metavar="DIR", help="where to leave benchmark.json and benchmark.md")
    flags, flag_overrides = cli.parse(parser, argv, required="model")
    keep_rates = cli.numbers("--keep_rates", flags.keep_rates, float, "numbers such as 1,0.2")
    cli.at_least(flags, rounds=1, in_a_row=1)
    kernels = [] if flags.kernels is None else flags.kernels.split(",")
    cli.each_once("--kernels", ",".join(kernels), kernels)
    result = measure(
        flags.model,
        keep_rates=keep_rates,
        batch_size=flags.batch_size,
        rounds=flags.rounds,
        in_a_row=flags.in_a_row,
        modes=flags.modes.split(","),
        peers=[] if flags.peer is None else flags.peer.split(","),
        kernels=kernels,
        overrides=config.parse_overrides(config.defaults(), flag_overrides),
    )
    cli.show("benchmark", result, as_markdown(result), folder=flags.output)


main = cli.command(_benchmark)

if __name__ == "__main__":
    sys.exit(main())
