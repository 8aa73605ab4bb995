"""Where tokens are pruned, where attention maps are aligned, and how many tokens are kept: plain integers."""

import math

# `keep_rate * n` may come out a rounding error above a whole number (0.07 * 100 is 7.000000000000001), and the ceiling
# would then keep a token too many. The slack is far above such errors and far below 1/n.
_SLACK = 1e-9


def kept_tokens(n: int, keep_rate: float) -> int:
    """Number of patch tokens that a pruning block keeps, `ceil(keep_rate * n)`.

    The count depends on shapes alone, so every array keeps a static shape. At least one token is kept.

    Args:
      n: Patch tokens that reach the block, without the anchor.
      keep_rate: Share of them to keep, gamma, in (0, 1].

    Returns:
      The number of kept patch tokens, between 1 and `n`.

    Raises:
      ValueError: If `n` is below 1 or `keep_rate` is outside (0, 1].

    Source: STATA, Section 4.2 and Algorithm 1.
    """
    if n < 1:
        raise ValueError(f"the number of patch tokens must be at least 1, got {n}")
    if not 0.0 < keep_rate <= 1.0:
        raise ValueError(f"keep_rate must be in (0, 1], got {keep_rate}; 1 keeps every token")
    return max(1, math.ceil(keep_rate * n - _SLACK))


def prune_positions(depth: int) -> tuple[int, ...]:
    """Blocks that prune, `P_I = {floor(L/3), floor(L/3) + 3, ...} < L`, counted from 0.

    Args:
      depth: Number of blocks, L.

    Returns:
      Block indices in ascending order.

    Raises:
      ValueError: If `depth` is below 1.

    Source: STATA, Section 4.2.
    """
    _check_depth(depth)
    return tuple(range(depth // 3, depth, 3))


def align_positions(depth: int) -> tuple[int, ...]:
    """Blocks whose attention maps are aligned, `P_a = P_r = {0, floor(L/3) + 1, L - 1}`, counted from 0.

    Duplicates and indices that a shallow model does not have are left out: `(0,)` for L = 1, `(0, 1)` for L = 2.

    Args:
      depth: Number of blocks, L.

    Returns:
      Block indices in ascending order.

    Raises:
      ValueError: If `depth` is below 1.

    Source: STATA, Sections 4.3 and 4.4.
    """
    _check_depth(depth)
    return tuple(sorted({block for block in (0, depth // 3 + 1, depth - 1) if block < depth}))


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ValueError(f"the number of blocks must be at least 1, got {depth}")
