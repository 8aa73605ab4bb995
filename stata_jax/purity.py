"""Lists the matmuls that take other input than spikes: `python -m stata_jax.purity --config=configs/digits.py`.

For each family, dense and at the config's keep rate.
"""

import sys
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import cli, config

_IMAGES = 16


def training_images(settings: ConfigDict) -> Any:
    """Some training images as the config's models take them, the same for all of them."""
    from stata_jax import build

    return build.model_input(settings)(build.source(settings).train_batch(0, 0)["image"][:_IMAGES])


def measure(settings: ConfigDict, images: Any) -> list[Any]:
    """Looks at what goes into each matmul of a config's model while it runs on training images.

    The weights are those of the start, normalised by the batch as in training, so that neurons fire.

    Args:
      settings: A checked config.
      images: As `training_images` gives them.

    Returns:
      A `Matmul` for each matmul that the logits depend on, in their order.
    """
    import jax

    from stata_jax import build
    from stata_jax.tools.purity import matmuls_of

    model = build.model(config.apply_overrides(settings, {"train.kernels": "plain"}))  # each matmul where it stands
    variables = jax.jit(model.init)(jax.random.key(settings.seed), images)

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        (values, _), _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return values

    return matmuls_of(logits, variables, images)


def report(settings: ConfigDict) -> str:
    """The lists of all families, dense and at the config's keep rate, as text."""
    import jax

    with jax.default_device(jax.devices("cpu")[0]):  # on accelerators q, k and v would be one matmul
        return "\n".join(_lists(settings))


def _lists(settings: ConfigDict) -> list[str]:
    from stata_jax.registries import FAMILIES

    images = training_images(settings)
    lines = []
    for family in FAMILIES:
        for keep_rate in dict.fromkeys((1.0, settings.sparsity.keep_rate)):
            changes: dict[str, object] = {"model.family": family, "sparsity.keep_rate": keep_rate}
            changes["model.dvs_mode"] = settings.model.dvs_mode and family == "sdt"
            if keep_rate == 1:
                changes["sparsity.anchor"] = False
            changed = config.apply_overrides(settings, changes)
            config.check(changed)
            matmuls = measure(changed, images)
            other = [matmul for matmul in matmuls if not matmul.spike_driven]
            share = f"{len(other)} of {len(matmuls)} matmuls take other input than spikes"
            lines.append(f"{family}, keep rate {keep_rate:g}: {share}")
            lines += [f"  {matmul.name:<28} {' x '.join(matmul.inputs)}" for matmul in other]
            silent = [matmul.name for matmul in matmuls if "silent" in matmul.inputs]
            if silent:
                lines.append(f"  (no input at all on these images: {', '.join(silent)})")
    return lines


def _report(argv: Sequence[str]) -> None:
    description = "List the matmuls that take other input than spikes."
    parser = cli.Parser(prog="python -m stata_jax.purity", description=description)
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help=cli.CONFIG_HELP)
    flags, flag_overrides = cli.parse(parser, argv, required="config")
    print(report(cli.load_config(flags.config, flag_overrides)))


main = cli.command(_report)

if __name__ == "__main__":
    sys.exit(main())
