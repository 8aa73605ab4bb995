"""Trains the dense network beside PyTorch's peer, from the same weights, on the same batches.

python -m stata_jax.agreement --config=configs/digits.py --steps=200 --seeds=0,1,2,3,4

Without augmentation. Losses agree to rounding until a membrane at its threshold falls to the other side of it, which
one spike sooner or later does in any two programs; `--perturb=1e-6` shows the same of ours alone.
"""

import sys
from collections.abc import Sequence

from stata_jax import cli, config
from stata_jax.errors import ConfigError

LEAST = 2.5e-7  # below it most weights round to what they were


def _agreement(argv: Sequence[str]) -> None:
    description = "Train the dense network beside PyTorch's, from the same weights, on the same batches."
    parser = cli.Parser(prog="python -m stata_jax.agreement", description=description)
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    parser.add_argument("--families", metavar="LIST", help="default: the config's")
    parser.add_argument("--seeds", metavar="LIST", default="0", help="one training each (default: 0)")
    parser.add_argument("--steps", metavar="N", type=int, default=200, help="updates of each (default: 200)")
    perturb = "also train ours from weights with relative noise of this size, such as 1e-6"
    parser.add_argument("--perturb", metavar="X", type=float, default=0.0, help=perturb)
    parser.add_argument("--output", metavar="DIR", help="where to leave agreement.json, agreement.md and agreement.png")
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    settings = cli.load_config(flags.config, flag_overrides)
    cli.at_least(flags, steps=2)
    seeds = cli.numbers("--seeds", flags.seeds, int, "whole numbers such as 0,1,2", once=True)
    families = [settings.model.family] if flags.families is None else flags.families.split(",")
    from stata_jax.models.authors import STYLES

    for family in families:
        if family not in STYLES:
            raise ConfigError(f"--families names {family!r}, but PyTorch's networks are {', '.join(STYLES)}")
    cli.each_once("--families", ",".join(families), families)
    if flags.perturb != 0 and not LEAST <= flags.perturb < 1:
        raise ConfigError(f"--perturb is {flags.perturb}, but it must be 0, or from {LEAST} to less than 1")
    folder = None if flags.output is None else config.prepare_workdir(flags.output)
    from stata_jax import build
    from stata_jax.tools import peer
    from stata_jax.tools.agreement import as_markdown, measure

    peer.check(["spikingjelly"], device="cpu")
    build.processor(settings)
    result = measure(settings, families=families, seeds=seeds, steps=flags.steps, perturb=flags.perturb)
    cli.show("agreement", result, as_markdown(result), folder=folder)
    if folder is not None:
        from stata_jax.tools import figures
        from stata_jax.tools.agreement_plot import agreement_figure

        figures.save(folder / "agreement.png", agreement_figure(result))


main = cli.command(_agreement)

if __name__ == "__main__":
    sys.exit(main())
