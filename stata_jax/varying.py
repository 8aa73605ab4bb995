"""Which arrays differ from device to device, where `jax.shard_map` keeps account of it.

There a gradient must differ over the same device axes as what it belongs to, and the carry of a loop over the same ones
before and after each turn. So functions with a gradient of their own take operands that are `alike`, and a carry starts
as an array like the data, `jnp.zeros_like` or `jnp.full_like`.
"""

from collections.abc import Iterable
from typing import Any

import jax


def alike(*trees: Any) -> Any:
    """Arrays as they are, each of which JAX takes to differ over all device axes that any of them differs over.

    A weight that is the same on all devices so gets as its gradient the sum over the devices, in `jax.shard_map` with
    `check_vma`. Everywhere else JAX keeps no account, and nothing happens.

    Args:
      *trees: Arrays, or trees of them.

    Returns:
      The same trees.
    """
    axes = {name for leaf in jax.tree.leaves(trees) for name in jax.typeof(leaf).manual_axis_type.varying}
    return varying(trees, axes) if axes else trees


def varying(tree: Any, axes: Iterable[str]) -> Any:
    """Arrays as they are, which JAX takes to differ over these device axes, where it keeps account."""
    # An axis of `jax.vmap` has a name too, but no account is kept of it, and a cast over it is refused.
    wanted = set(axes) & set(jax.sharding.get_abstract_mesh().manual_axes)

    def cast(x: jax.Array) -> jax.Array:
        missing = tuple(sorted(wanted - jax.typeof(x).manual_axis_type.varying))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(cast, tree)
