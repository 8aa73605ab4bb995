"""The matmuls of a model and their multiply-accumulates (MACs), layer by layer, from its traced program."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from stata_jax.models.transformer import SpikingTransformer
from stata_jax.ops.operations import PLAIN
from stata_jax.pruning.placement import kept_tokens

IMAGE, MEANS, SPIKES, SUMS = "image", "means", "spikes", "sums of spikes"
REAL = (IMAGE, MEANS)  # real numbers


def tokens_per_block(
    *, tokens: int, depth: int, keep_rate: float, prune_at: Sequence[int], anchor: bool
) -> tuple[tuple[int, int], ...]:
    """Tokens that the attention and the MLP of each block work on.

    A block of `prune_at` prunes after its attention and before its MLP: of the `n` patch tokens that reach it,
    `ceil(keep_rate * n)` go on. The anchor is never pruned and is counted in both numbers.

    Args:
      tokens: Patch tokens of the image, N.
      depth: Number of blocks, L.
      keep_rate: Share of the patch tokens that a pruning block keeps, in (0, 1].
      prune_at: Blocks that prune, counted from 0.
      anchor: Whether there is an anchor token.

    Returns:
      One pair `(attention_tokens, mlp_tokens)` a block.

    Raises:
      ValueError: If `tokens` is below 1, or `keep_rate` is outside (0, 1].

    Source: STATA, Section 4.2 and Algorithm 1.
    """
    extra = int(anchor)
    counts = []
    for block in range(depth):
        before = tokens
        if block in prune_at:
            tokens = kept_tokens(tokens, keep_rate)
        counts.append((before + extra, tokens + extra))
    return tuple(counts)


@dataclasses.dataclass(frozen=True)
class MatmulCount:
    """One matmul of a model, for one image over all timesteps.

    Attributes:
      name: By module names, such as `stem/conv0`; the two of attention are `map` (`Q K^T`, `K^T V` or the sum of
        `K * V`) and `value`.
      macs: Multiply-accumulates, were its input dense.
      takes: What enters it: `IMAGE`, `MEANS` of tokens, `SPIKES`, or `SUMS` of them. What comes from the residuals
        without neurons between counts as `SUMS`.
      inputs: Numbers that enter it, of each operand.
      outputs: Numbers that it makes; 0 for attention.
      weights: Numbers of its weight; 0 for attention.
      repeats: Timesteps that its result stands for: T for the first convolution of a static image.
      tokens: Of attention, n.
      width: Of attention, d_h; 0 where it has sums and masks instead of matmuls.
    """

    name: str
    macs: int
    takes: str
    inputs: int
    outputs: int = 0
    weights: int = 0
    repeats: int = 1
    tokens: int = 0
    width: int = 0


@functools.cache
def matmuls(model: SpikingTransformer, image_shape: tuple[int, ...]) -> tuple[MatmulCount, ...]:
    """The matmuls of a model, in their order, found by tracing it.

    Everything but the head is counted at each timestep. That holds for the first convolution too: it sees the same
    static image each time, but the literature counts it each time. A head that takes means of tokens is counted once,
    on their mean over time. Attention counts as the cheaper of `2 n^2 D`, `(Q K^T) V`, and `2 n D d_h`, `Q (K^T V)`;
    sums and masks as `2 n D`. Not counted: normalisation, neurons, pooling, biases and the ranking of tokens.

    Args:
      model: The network.
      image_shape: Of one example: (H, W, C), or (T, H, W, C) for a recording.

    Returns:
      The matmuls.
    """
    recording = len(image_shape) == 4
    timesteps = image_shape[0] if recording else model.timesteps
    kernels: dict[tuple[str, ...], tuple[int, ...]] = {}
    seen: dict[tuple[str, ...], Any] = {}  # in the order of the program

    def look(key: jax.Array, images: jax.Array) -> None:
        _, variables = model.clone(ops=PLAIN).init_with_output(key, images, mutable=True)
        weights, found = (flatten_dict(variables[name]) for name in ("params", "intermediates"))
        kernels.update({path[:-2]: leaf.shape for path, leaf in weights.items() if path[-1] == "kernel"})
        seen.update({path: jax.tree.map(jnp.shape, values[0]) for path, values in found.items()})

    batch = (timesteps, 1, *image_shape[1:]) if recording else (1, *image_shape)
    jax.eval_shape(look, jax.random.key(0), jax.ShapeDtypeStruct(batch, jnp.float32))
    found: dict[str, MatmulCount] = {}
    fired: set[tuple[str, ...]] = set()  # modules some of whose neurons have fired
    for (*modules, kind), shape in seen.items():
        parent, name = tuple(modules[:-1]), "/".join(modules)
        if kind == "rate":
            fired.add(parent)
        elif kind == "input":
            takes = SPIKES if parent in fired else SUMS if found else IMAGE
            kernel, repeats, places = kernels[tuple(modules)], timesteps // shape[0], math.prod(shape[:-1])
            weights = math.prod(kernel)
            sizes = math.prod(shape), places * kernel[-1], weights, repeats
            found[name] = MatmulCount(name, repeats * places * weights, takes, *sizes)
        elif kind == "spikes":
            projection = found.pop(f"{name}/projection", None)
            found |= {each.name: each for each in _of_attention(name, shape, heads=model.heads)}
            found |= {projection.name: projection} if projection else {}
        elif kind == "head_input":
            takes, times = (SPIKES, timesteps) if ("lif_head", "rate") in seen else (MEANS, 1)
            weights = shape[-1] * model.num_classes
            found["head"] = MatmulCount("head", times * weights, takes, math.prod(shape), weights=weights)
    return tuple(found.values())


def _of_attention(name: str, shapes: dict[str, tuple[int, ...]], *, heads: int) -> list[MatmulCount]:
    """The two matmuls of a block's attention, from the shapes (T, B, N, D) of what it has seen."""
    *_, tokens, dim = shapes["q"]
    width = 0 if "kv_mask" in shapes else dim // heads
    inputs = math.prod(shapes["q"])
    macs = inputs * (min(tokens, width) or 1)
    return [
        MatmulCount(f"{name}/{part}", macs, SPIKES, inputs, tokens=tokens, width=width) for part in ("map", "value")
    ]


def count_macs(model: SpikingTransformer, image_shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-accumulates of one image over all timesteps, by layer, see `matmuls`."""
    return {each.name: each.macs for each in matmuls(model, image_shape)}
