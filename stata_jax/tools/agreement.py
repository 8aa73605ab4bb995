"""The same training twice: our network and PyTorch's peer, from the same weights, on the same batches."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.tools.markdown import table
from stata_jax.tools.statistics import mean_interval, sample_sd

LAST = 20  # steps whose mean loss is the final loss
APART = 0.01  # relative difference of the losses of a step from which two runs are no longer the same

# What the peer does not do: it trains the dense network on images as they are.
PLAIN: dict[str, object] = {
    "sparsity.keep_rate": 1.0,
    "sparsity.anchor": False,
    "align.alpha": 0.0,
    "align.beta": 0.0,
    "augment.flip": False,
    "augment.events": False,
    "augment.crop_padding": 0,
    "augment.crop_scale": (1.0, 1.0),
    "augment.extra": "",
    "augment.randaugment_count": 0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.erasing": 0.0,
    "train.optimizer": "adamw",
    "train.loss": "cross_entropy",
    "train.grad_clip": 0.0,
    "train.accumulate": 1,
    "train.ema_decay": 0.0,
    "train.frozen": "",
    "model.dtype": "float32",
}


def measure(
    settings: ConfigDict, *, families: Sequence[str], seeds: Sequence[int], steps: int, perturb: float = 0.0
) -> dict[str, Any]:
    """Trains each family with each seed in both programs.

    Args:
      settings: A checked config, of which `PLAIN` is set aside.
      families: Names of families that the peer has.
      seeds: One training each; weights and batches follow from it.
      steps: Updates of each, of which the learning rate's cosine has as many.
      perturb: Relative standard deviation of noise on our first weights in a third training, which shows how far two
        runs get apart that differ in rounding alone; 0 for no third one.

    Returns:
      JSON values: a row for each family and seed with the losses of each step, `ours`, `torch` and perhaps `perturbed`.
    """
    from stata_jax import build
    from stata_jax.tools import profiling
    from stata_jax.train.progress import format_time

    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    for family in families:
        for seed in seeds:
            changed = config.apply_overrides(settings, PLAIN | {"model.family": family, "seed": seed})
            config.check(changed)
            source = build.source(changed)
            state = _fresh(changed, steps)
            row: dict[str, Any] = {"family": family, "seed": seed}
            row["ours"] = list(_ours(changed, state, source, steps))
            row["torch"] = list(_torch(changed, state, source, steps))
            if perturb:
                row["perturbed"] = list(_ours(changed, _noisy(state, perturb, seed), source, steps))
            row["apart_at"] = apart_at(row["ours"], row["torch"])
            rows.append(row)
            left = (time.monotonic() - began) / len(rows) * (len(families) * len(seeds) - len(rows))
            losses = f"loss {final(row['ours']):.4f}, PyTorch's {final(row['torch']):.4f}"
            print(f"{family}, seed {seed}: {losses}, {format_time(left)} left", flush=True)
    return {"steps": steps, "batch_size": settings.train.batch_size, **profiling.machine(), "rows": rows}


def final(losses: Sequence[float]) -> float:
    """The mean loss of the last steps."""
    last = losses[-LAST:]
    return sum(last) / len(last)


def apart_at(ours: Sequence[float], theirs: Sequence[float]) -> int | None:
    """The first step, counted from 1, whose losses differ by more than `APART`; None if there is none."""
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        if not abs(a - b) <= APART * abs(b):  # not finite counts as apart
            return step
    return None


def as_markdown(result: Mapping[str, Any]) -> str:
    """The result as a table with a row for each family: what the seeds agree on."""
    columns = ["family", "first loss apart by", "1 % apart at step", "final loss", "PyTorch's", "difference (95 %)"]
    perturbed = all("perturbed" in row for row in result["rows"])
    columns += ["against ours, perturbed"] * perturbed
    lines = []
    for family in dict.fromkeys(row["family"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["family"] == family]
        first = max(abs(row["ours"][0] - row["torch"][0]) / row["torch"][0] for row in rows)
        cells = [family, f"{first:.1e}", ", ".join(str(row["apart_at"] or "never") for row in rows)]
        cells += [_mean_and_sd([final(row[name]) for row in rows]) for name in ("ours", "torch")]
        for name in ("torch", "perturbed")[: 1 + perturbed]:
            between = mean_interval([final(row["ours"]) - final(row[name]) for row in rows])
            ends = "" if between.low is None else f" ({between.low:+.4f} to {between.high:+.4f})"
            cells.append(f"{between.mean:+.4f}{ends}")
        lines.append(cells)
    heading = f"{result['steps']} steps of {result['batch_size']}; {result['device']}, jax {result['jax']}"
    return "\n".join([heading, "", *table(columns, lines)])


def _mean_and_sd(values: Sequence[float]) -> str:
    sd = sample_sd(values)
    return f"{sum(values) / len(values):.4f}" + ("" if sd is None else f" ± {sd:.4f}")


def _optimizer(settings: ConfigDict, steps: int) -> tuple[Any, Any]:
    """Our optimiser and its learning rate, over so many steps."""
    from stata_jax import build

    epochs: dict[str, object] = {"train.epochs": 1, "train.cooldown_epochs": 0, "train.schedule_by": "step"}
    warmup = min(settings.train.warmup_epochs, 0.1)
    return build.optimizer(
        config.apply_overrides(settings, epochs | {"train.warmup_epochs": warmup}), steps_per_epoch=steps
    )


def _fresh(settings: ConfigDict, steps: int) -> Any:
    """The state before the first step, on the host."""
    import jax
    import jax.numpy as jnp

    from stata_jax import build
    from stata_jax.streams import Stream, stream_key
    from stata_jax.train.state import create_state

    optimizer, _ = _optimizer(settings, steps)
    images = jax.ShapeDtypeStruct((1, *build.image_shape(settings)), jnp.float32)
    key = stream_key(settings.seed, Stream.PARAMETERS)
    return jax.device_get(create_state(build.model(settings), optimizer, images, key=key))


def _noisy(state: Any, size: float, seed: int) -> Any:
    """The state with parameters that are larger or smaller by a random share."""
    import jax
    import numpy as np

    rng = np.random.default_rng(seed)
    noisy = jax.tree.map(lambda p: p * (1 + size * rng.standard_normal(p.shape)).astype(p.dtype), state.params)
    return state.replace(params=noisy)


def _ours(settings: ConfigDict, state: Any, source: Any, steps: int) -> Iterator[float]:
    """The loss of each step of our training."""
    from stata_jax import build
    from stata_jax.streams import Stream, stream_key
    from stata_jax.train import parallel

    optimizer, _ = _optimizer(settings, steps)
    step = parallel.on_all_devices(build.step(settings, optimizer, steps_per_epoch=source.steps_per_epoch))
    state, key = parallel.replicate(state), stream_key(settings.seed, Stream.UPDATES)
    for i in range(steps):
        batch = source.train_batch(*divmod(i, source.steps_per_epoch))
        state, metrics = step(state, parallel.shard({name: batch[name] for name in ("image", "label")}), key)
        yield float(metrics["loss"][0])


def _torch(settings: ConfigDict, state: Any, source: Any, steps: int) -> Iterator[float]:
    """The loss of each step of the peer, from the same weights."""
    import numpy as np
    import torch
    from spikingjelly.activation_based import functional

    from stata_jax import build
    from stata_jax.models.authors import export_state
    from stata_jax.tools.peer import adamw
    from stata_jax.tools.peer_models import Peer, Settings
    from stata_jax.tools.peer_programs import network_of
    from stata_jax.train.state import weights

    # With channels last PyTorch's normalisation rounds more, so that spikes flip; in float64 both orders agree with us.
    network = Settings(**network_of(settings), channels_last=False)
    named = export_state(weights(state), network.style, depth=network.depth)
    peer = Peer(network).train()
    missing, left_over = peer.load_state_dict({name: torch.tensor(a) for name, a in named.items()}, strict=False)
    if left_over or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"the peer has other parameters: {missing} and {left_over}")
    optimizer = adamw(peer, learning_rate=1.0, weight_decay=settings.train.weight_decay)
    _, rate = _optimizer(settings, steps)
    prepare = build.model_input(settings)
    for i in range(steps):
        batch = source.train_batch(*divmod(i, source.steps_per_epoch))
        images = torch.tensor(np.moveaxis(np.asarray(prepare(batch["image"])), -1, -3))
        for group in optimizer.param_groups:
            group["lr"] = float(rate(i))
        functional.reset_net(peer)  # membranes start from zero in every batch
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(
            peer(images).mean(0),
            torch.tensor(np.asarray(batch["label"])).long(),
            label_smoothing=settings.augment.label_smoothing,
        )
        loss.backward()
        optimizer.step()
        yield loss.item()
