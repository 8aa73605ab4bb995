"""Multiply-accumulates (MACs) of one image, layer by layer, from the sizes of a model alone."""

import math
from collections.abc import Sequence

from stata_jax.pruning.placement import kept_tokens

_KERNEL = 3 * 3  # taps of each convolution of the patch embedding


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
      ValueError: If a size is below 1, `keep_rate` is outside (0, 1], or `prune_at` names a block twice or one that
        is not there.

    Source: STATA, Section 4.2 and Algorithm 1.
    """
    if tokens < 1 or depth < 1:
        raise ValueError(f"tokens and depth must be at least 1, got {tokens} and {depth}")
    if not 0.0 < keep_rate <= 1.0:
        raise ValueError(f"keep_rate must be in (0, 1], got {keep_rate}; 1 keeps every token")
    if len(set(prune_at)) != len(prune_at) or any(not 0 <= block < depth for block in prune_at):
        raise ValueError(f"prune_at must name different blocks from 0 to {depth - 1}, got {tuple(prune_at)}")
    extra = int(anchor)
    counts = []
    for block in range(depth):
        before = tokens
        if block in prune_at:
            tokens = kept_tokens(tokens, keep_rate)
        counts.append((before + extra, tokens + extra))
    return tuple(counts)


def count_macs(
    *,
    family: str,
    image_size: int,
    channels: int,
    timesteps: int,
    dim: int,
    depth: int,
    heads: int,
    mlp_ratio: int,
    pooling: str,
    num_classes: int,
    keep_rate: float,
    prune_at: Sequence[int],
    anchor: bool,
) -> dict[str, int]:
    """Multiply-accumulates of one image over all timesteps, by layer.

    Every matmul counts as if its input were dense; multiply by the firing rate of the input for synaptic operations.
    Everything but the head is counted at each of the `timesteps`. That holds for the first convolution too: it sees
    the same static image each time, but the literature counts it each time. Not counted: normalisation, neurons,
    pooling and the ranking of tokens (at most one `1 x n` matmul per head where a block prunes).

    Patch embedding: a 3x3 convolution `channels -> D/8` at full resolution, then four more, `D/8 -> D/4 -> D/2 -> D ->
    D`; where `pooling[i - 1]` is "1", the image is halved before convolution `i`. Block, with `n` tokens in attention
    and `m` in the MLP, `d = D/h`: q, k, v and projection `n D^2` each; attention `2 n^2 D` as `(Q K^T) V` or `2 n D d`
    as `Q (K^T V)`, whichever is less, or `2 n D` as sums and masks in the Spike-driven Transformer; MLP `2 m r D^2`.
    Head: `D * classes`, in the Spike-driven Transformer at each timestep.

    Args:
      family: `spikformer`, `spikingformer` or `sdt`.
      image_size: Height and width of the image in pixels.
      channels: Channels of the image.
      timesteps: T.
      dim: Token width D, a multiple of 8 and of `heads`.
      depth: Number of blocks, L.
      heads: Attention heads, h.
      mlp_ratio: Hidden width of the MLP over D, r.
      pooling: Four digits, 1 where the image is halved; e.g. "0011" or "1111".
      num_classes: Outputs of the head.
      keep_rate: Share of the patch tokens that a pruning block keeps, in (0, 1].
      prune_at: Blocks that prune, counted from 0; empty for a dense model.
      anchor: Whether there is an anchor token.

    Returns:
      MACs under "stem/conv0" to "stem/conv4"; for each block l "block{l}/attention/" q, k, v, map, value and
      projection, and "block{l}/mlp/" up and down; "head". "map" is the first of the two attention matmuls (`Q K^T`,
      `K^T V` or the sum of `K * V`) and "value" the second; one choice holds for both.

    Raises:
      ValueError: If a size is below 1, sizes do not divide, or `pooling` or the pruning options are malformed.
    """
    sizes = {
        "image_size": image_size,
        "channels": channels,
        "timesteps": timesteps,
        "dim": dim,
        "depth": depth,
        "heads": heads,
        "mlp_ratio": mlp_ratio,
        "num_classes": num_classes,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if dim % math.lcm(8, heads):
        raise ValueError(f"dim must be a multiple of 8 and of heads = {heads}, got {dim}")
    if len(pooling) != 4 or set(pooling) - {"0", "1"}:
        raise ValueError(f'pooling must be four digits 0 or 1 such as "0011", got {pooling!r}')

    macs: dict[str, int] = {}
    side = image_size
    widths = (channels, dim // 8, dim // 4, dim // 2, dim, dim)
    for layer in range(5):
        if layer and pooling[layer - 1] == "1":
            side = (side + 1) // 2  # a 3x3 max-pool of stride 2 and padding 1 rounds up
        macs[f"stem/conv{layer}"] = timesteps * _KERNEL * widths[layer] * widths[layer + 1] * side**2

    counts = tokens_per_block(tokens=side**2, depth=depth, keep_rate=keep_rate, prune_at=prune_at, anchor=anchor)
    for block, (attention_tokens, mlp_tokens) in enumerate(counts):
        linear = timesteps * attention_tokens * dim**2
        each = 1 if family == "sdt" else min(attention_tokens, dim // heads)
        matmul = timesteps * attention_tokens * dim * each
        hidden = timesteps * mlp_tokens * mlp_ratio * dim**2
        attention = f"block{block}/attention"
        macs |= {f"{attention}/{name}": linear for name in ("q", "k", "v")}
        macs |= {f"{attention}/map": matmul, f"{attention}/value": matmul, f"{attention}/projection": linear}
        macs |= {f"block{block}/mlp/up": hidden, f"block{block}/mlp/down": hidden}
    macs["head"] = dim * num_classes * (timesteps if family == "sdt" else 1)
    return macs
