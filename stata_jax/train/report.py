"""What a run says of itself: the lines at its start and end, its summary and its picture."""

import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stata_jax import build
from stata_jax.data.protocol import Source
from stata_jax.tools.operations import REAL, matmuls, tokens_per_block
from stata_jax.tools.pictures import draw_tokens
from stata_jax.tools.sheets import frame_pictures, still_pictures
from stata_jax.train.parallel import device_names
from stata_jax.train.state import TrainState, weights
from stata_jax.train.window import MOST_SKIPPED

_PICTURED = 8  # test images in the picture of kept tokens


def patches_across(settings: ConfigDict) -> int:
    """Patches along a side of the image."""
    return int(settings.data.image_size // 2 ** settings.model.pooling.count("1"))


def _tokens(settings: ConfigDict) -> tuple[tuple[int, int], ...]:
    """Tokens in attention and in the MLP of each block."""
    return tokens_per_block(
        tokens=patches_across(settings) ** 2,
        depth=settings.model.depth,
        keep_rate=settings.sparsity.keep_rate,
        prune_at=build.placement(settings)[0],
        anchor=settings.sparsity.anchor,
    )


def _macs(settings: ConfigDict, *, real: bool, dense: bool = False) -> int:
    """Multiply-accumulates of one image over all timesteps, in matmuls of real numbers or of spikes.

    `dense` counts the model without anchor and pruning.
    """
    model = build.model(settings)
    if dense:
        model = model.clone(anchor=False, keep_rate=1.0, prune_at=())
    counted = matmuls(model, build.image_shape(settings))
    return sum(each.macs for each in counted if (each.takes in REAL) == real)


def describe(settings: ConfigDict, source: Source, *, parameters: int) -> None:
    """Prints what runs: model, tokens per block, data and devices."""
    model, sparsity = settings.model, settings.sparsity
    tokens = "  ".join(f"{a}" if a == m else f"{a}>{m}" for a, m in _tokens(settings))
    pruned = bool(build.placement(settings)[0])
    how = f"keep rate {sparsity.keep_rate} by {sparsity.metric}" if pruned else "dense"
    anchor = "anchor token" if sparsity.anchor else "no anchor token"
    print(
        f"model    {model.family}-{model.depth}-{model.dim}, {model.heads} heads, T {model.timesteps}, "
        f"{parameters:,} parameters\n"
        f"tokens   {how}, {anchor}; per block (attention>MLP): {tokens}\n"
        f"data     {settings.data.source}, {source.train_examples} images an epoch for {settings.train.epochs} epochs, "
        f"{source.test_examples} test images\n"
        f"devices  {device_names()} ({jax.default_backend()})",
        flush=True,
    )


def summarise(
    settings: ConfigDict, accuracy: dict[str, Any], record: dict[str, Any], *, parameters: int
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
      settings: The config.
      accuracy: Of the last state on the whole test set, as `stata_jax.train.evaluation.evaluate` returns it.
      record: What the run measured on its way.
      parameters: Number of trained parameters.

    Returns:
      JSON values; times in seconds, memory in bytes. `spike_macs` are the multiply-accumulates of an image where spikes
      come in, which are as many ACs if all neurons fire; `real_macs` are its MACs. `coverage` is None where nobody
      knows where the digit is or no token is dropped, `alignment` where no maps are aligned, see `weigh_alignment`.
      `changes` are those of `stata_jax.train.conditions.changes` that the run has gone on with.
    """
    tokens = _tokens(settings)
    dense, kept = _macs(settings, real=False, dense=True), _macs(settings, real=False)
    return {
        "name": settings.name,
        "top1": accuracy["top1"],
        "top5": accuracy["top5"],
        "test_images": int(accuracy["images"]),
        "best_top1": record.get("best", {}).get("top1"),
        "best_step": record.get("best", {}).get("step"),
        "coverage": accuracy.get("coverage"),
        "coverage_chance": accuracy.get("coverage_chance"),
        "alignment": record.get("alignment"),
        "parameters": parameters,
        "tokens_attention": [a for a, _ in tokens],
        "tokens_mlp": [m for _, m in tokens],
        "changes": record.get("changes", []),
        "skipped": record.get("skipped", 0),
        "step_s": record.get("step_s"),
        "compile_s": record["compile"].get("compile_s"),
        "peak_bytes": record["compile"].get("peak_bytes"),
        "spike_macs_dense": dense,
        "spike_macs": kept,
        "spike_macs_ratio": kept / dense,
        "real_macs": _macs(settings, real=True),
        "devices": device_names(),
        "jax": jax.__version__,
    }


def look(
    settings: ConfigDict, variables: Any, images: np.ndarray, *, key: jax.Array | None = None
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """What a network says of images, and which patches it keeps of them.

    Args:
      settings: A config.
      variables: Its `params` and `batch_stats`.
      images: As the source gives them, batch first.
      key: A JAX random key, for the metric `random` alone.

    Returns:
      Predicted classes (B,), and by pruning block the patches that are kept, (T, B, K).
    """
    model, as_input = build.model(settings), build.model_input(settings)

    @jax.jit
    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, dict[int, jax.Array]]:
        logits, aux = model.apply(variables, as_input(images), key=key)
        return logits.argmax(-1), aux["positions"]

    seen: tuple[np.ndarray, dict[int, np.ndarray]] = jax.device_get(apply(variables, images))
    return seen


def draw(settings: ConfigDict, source: Source, state: TrainState, path: pathlib.Path) -> None:
    """Draws which tokens each timestep of each pruning block keeps of some test images."""
    if not build.placement(settings)[0]:
        return
    batch = source.test_batch(0)
    images = np.asarray(batch["image"][:_PICTURED])
    predictions, positions = look(settings, weights(state), images)
    draw_tokens(
        path,
        still_pictures(images),
        [(block, kept) for block, kept in sorted(positions.items())],
        grid=(patches_across(settings), patches_across(settings)),
        labels=np.asarray(batch["label"][:_PICTURED]),
        predictions=predictions,
        corners=np.asarray(batch["corner"][:_PICTURED]) if "corner" in batch else None,
        digit_size=settings.data.digits.size if "corner" in batch else None,
        frames=frame_pictures(images) if images.ndim == 5 else None,
        title=f"{settings.name}: tokens kept",
    )


def diverged(skips: bool, *, step: int, rate: float, saved: int | None, dtype: str) -> str:
    """What to say when a training is no longer finite.

    Args:
      skips: Whether updates that are not finite are left out, and there were too many.
      step: The step that was not finite, or the last of many.
      rate: The learning rate of that step.
      saved: The step of the newest checkpoint, or None.
      dtype: What the model computes in.
    """
    kept = "there is no checkpoint yet" if saved is None else f"the finite checkpoint of step {saved} is kept"
    if skips:
        return (
            f"the training has diverged: {MOST_SKIPPED} updates in a row up to step {step} were not finite and have "
            f"been left out, and {kept}; try a lower train.learning_rate or train.grad_clip=1, and look at the data"
        )
    plain = "" if dtype == "float32" else ", or in another folder model.dtype=float32"
    return (
        f"the training has diverged: at step {step}, at a learning rate of {rate:.3g}, the loss, the gradient or "
        f"what they lead to is not finite, and {kept}; try a lower train.learning_rate, train.grad_clip=1, or "
        f"train.on_nonfinite=skip where single batches are to blame{plain}"
    )


def last_words(summary: dict[str, Any], workdir: pathlib.Path) -> str:
    """What to print when all is done."""
    picture = "tokens.png, " if (workdir / "tokens.png").exists() else ""
    step = "" if summary["step_s"] is None else f", {1000 * summary['step_s']:.0f} ms a step"
    skipped = f", {summary['skipped']} updates left out that were not finite" if summary["skipped"] else ""
    return (
        f"test top-1 {100 * summary['top1']:.2f} %, top-5 {100 * summary['top5']:.2f} % "
        f"({summary['test_images']} images){step}, "
        f"{100 * summary['spike_macs_ratio']:.0f} % of the dense model's products with spikes{skipped}\n"
        f"results in {workdir}: summary.json, metrics.jsonl, {picture}checkpoints, TensorBoard events"
    )
