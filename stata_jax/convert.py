"""Converts checkpoints from the authors' PyTorch models to ours and back.

python -m stata_jax.convert --family=spikformer --input=checkpoint.pth.tar --output=runs/spikformer \
        --heads=12 --timesteps=4
python -m stata_jax.convert --to=safetensors --input=runs/spikformer --output=spikformer.safetensors
"""

import sys
from collections.abc import Sequence

from stata_jax import cli, config
from stata_jax.errors import ConfigError
from stata_jax.paths import expand
from stata_jax.tools.convert import export_checkpoint, import_checkpoint


def _convert(argv: Sequence[str]) -> None:
    description = "Convert checkpoints from the authors' PyTorch models to ours and back."
    parser = cli.Parser(prog="python -m stata_jax.convert", description=description)
    parser.add_argument("--input", metavar="PATH", help="their file, or with --to=safetensors the folder of a run")
    parser.add_argument("--output", metavar="PATH", help="the folder to write, or with --to=safetensors the file")
    parser.add_argument("--family", metavar="NAME", help="spikformer, spikingformer or sdt")
    parser.add_argument("--heads", metavar="N", type=int, help="number of attention heads")
    parser.add_argument("--timesteps", metavar="T", type=int, help="number of timesteps")
    parser.add_argument("--to", metavar="FORMAT", default="orbax", help="orbax (default) or safetensors")
    parser.add_argument("--step", metavar="N", type=int, help="which checkpoint to write back (default: the newest)")
    flags, flag_overrides = cli.parse(parser, argv, required="input")
    if flags.output is None:
        raise ConfigError(f"--output is missing; --help shows how to use {parser.prog}")
    source, target = (expand(path).absolute() for path in (flags.input, flags.output))
    if flags.to == "safetensors":
        for name in ("family", "heads", "timesteps"):
            if getattr(flags, name) is not None or flag_overrides:
                raise ConfigError(f"--{name} and --config.KEY=VALUE say nothing with --to=safetensors: leave them out")
        export_checkpoint(source, target, step=flags.step)
    elif flags.to != "orbax":
        raise ConfigError(f"--to is {flags.to!r}, but it must be orbax or safetensors")
    elif flags.family is None:
        raise ConfigError("--family is missing: it must be spikformer, spikingformer or sdt")
    else:
        overrides = config.parse_overrides(config.defaults(), flag_overrides)
        settings = import_checkpoint(
            source, target, family=flags.family, heads=flags.heads, timesteps=flags.timesteps, overrides=overrides
        )
        print(f"wrote {settings.model.family}-{settings.model.depth}-{settings.model.dim} to {target}")


main = cli.command(_convert)

if __name__ == "__main__":
    sys.exit(main())
