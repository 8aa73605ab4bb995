"""Counts ACs, MACs and energy of a run with rates measured on its test set, and shows them as a table."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stata_jax.train import reuse

if TYPE_CHECKING:
    from stata_jax.tools.energy import Layer

# Other ways to count than the published one, see `layer_operations`; the first is for static images alone.
ALTERNATIVES = {
    "first convolution once": {"once": True},
    "attention in the cheaper order": {"cheaper": True},
    "sums of spikes as MACs": {"sums_as_macs": True},
}


def measure(
    workdir: str | os.PathLike[str], *, overrides: Mapping[str, object] | None = None, step: int | None = None
) -> dict[str, Any]:
    """Measures firing rates on the whole test set, and counts with them.

    Args:
      workdir: Folder of a run.
      overrides: Values by dotted key that differ from the run's config, such as `{"sparsity.keep_rate": 0.4}`.
      step: Which checkpoint; None for the newest.

    Returns:
      JSON values: what was measured, and under `models` the counts of the model `as trained` and, if it has an anchor
      or drops tokens, of the same weights `dense`, without both. ACs, MACs and energy are of one image, and apart.

    Raises:
      ConfigError: If the folder holds no such checkpoint, or the overrides do not fit it.
    """
    settings = reuse.settings_for(workdir, overrides)

    import jax  # only now that the flags are right: it takes seconds
    import jax.numpy as jnp

    from stata_jax import build, speed
    from stata_jax.evaluate import check_fit
    from stata_jax.streams import Stream, stream_key
    from stata_jax.tools.energy import layer_operations
    from stata_jax.tools.operations import matmuls
    from stata_jax.tools.rates import mean_rates
    from stata_jax.train.state import time_major

    speed.split_processor(1, threads=settings.train.cpu_threads)  # it works on one device, whatever the config says
    speed.tune()
    source, model = build.source(settings), build.model(settings)
    as_input = jax.jit(build.model_input(settings))
    images = jax.eval_shape(time_major, jax.ShapeDtypeStruct((1, *build.image_shape(settings)), jnp.float32))
    variables, at = reuse.read_variables(workdir, step=step)
    check_fit(variables, jax.eval_shape(model.init, jax.random.key(0), images))
    ways = {way: how for way, how in ALTERNATIVES.items() if len(images.shape) == 4 or "once" not in how}
    models = {"as trained": model}
    if model.anchor or model.prune_at:
        models["dense"] = model.clone(anchor=False, keep_rate=1.0, prune_at=())
    counts, steps = {}, range(source.test_steps)
    for name, each in models.items():
        batches = (batch | {"image": as_input(batch["image"])} for batch in map(source.test_batch, steps))
        rates = mean_rates(each, variables, batches, key=stream_key(settings.seed, Stream.TESTS))
        counted = matmuls(each, build.image_shape(settings))
        counts[name] = _summary(layer_operations(rates, counted)) | {
            "alternatives": {
                way: _summary(layer_operations(rates, counted, **options)) for way, options in ways.items()
            }
        }
    return {
        "name": settings.name,
        "step": at,
        "images": source.test_examples,
        "family": settings.model.family,
        "timesteps": settings.model.timesteps,
        "keep_rate": settings.sparsity.keep_rate,
        "models": counts,
    }


def _summary(layers: "Sequence[Layer]") -> dict[str, Any]:
    """Layers and totals as JSON values."""
    from stata_jax.tools.energy import totals

    rows = []
    for layer in layers:
        of_layer = totals([layer])
        rows.append(dataclasses.asdict(layer) | {kind: of_layer[kind] for kind in ("ac", "mac")})
    return {"layers": rows, **totals(layers)}


def as_markdown(result: Mapping[str, Any]) -> str:
    """The result as a table, with a line of totals for each way to count."""
    models = result["models"]
    columns = " | ".join(f"{name}: MACs if dense | input rate | ACs or MACs" for name in models)
    lines = [
        f"{result['name']}: {result['family']}, T {result['timesteps']}, keep rate {result['keep_rate']:g}, step "
        f"{result['step']}; one image, mean of {result['images']} test images",
        "",
        f"| layer | kind | {columns} |",
        f"|---|---|{'---|' * 3 * len(models)}",
    ]
    for rows in zip(*(count["layers"] for count in models.values()), strict=True):
        cells = [
            f"{row['macs'] / 1e6:.4f} M | {row['rate']:.4f} | {(row['ac'] + row['mac']) / 1e6:.4f} M" for row in rows
        ]
        lines.append(f"| {rows[0]['name']} | {rows[0]['kind']} | {' | '.join(cells)} |")
    lines += ["", f"total: {_totals(models)}"]
    for way in next(iter(models.values()))["alternatives"]:
        other = {name: count["alternatives"][way] for name, count in models.items()}
        if any(other[name]["layers"] != models[name]["layers"] for name in models):
            lines.append(f"{way}: {_totals(other)}")
    return "\n".join(lines)


def _totals(counts: Mapping[str, Mapping[str, Any]]) -> str:
    """The totals of one way to count: of each model, and how the first compares with the second."""
    parts = [
        f"{name} {count['ac'] / 1e6:.4f} M AC, {count['mac'] / 1e6:.4f} M MAC, {count['energy_mj']:.4g} mJ"
        for name, count in counts.items()
    ]
    if "dense" in counts:
        ours, dense = counts["as trained"], counts["dense"]
        units = {"ac": "ACs", "mac": "MACs", "energy_mj": "energy"}
        # A network that never fires has no ACs to compare with.
        shares = [f"{100 * ours[key] / dense[key]:.1f} % of the {unit}" for key, unit in units.items() if dense[key]]
        parts.append(", ".join(shares))
    return "; ".join(parts)
