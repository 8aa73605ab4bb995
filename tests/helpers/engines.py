"""The ways in which JAX divides a batch over devices, for tests that all of them give the same."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
ENGINES = ("pmap", "shard_map", "shard_map_unchecked", "jit")


def mesh():
    """All devices, along one axis."""
    return Mesh(np.array(jax.devices()), (AXIS,))


def specs(axes):
    """Where arrays are divided: along an axis by number, or nowhere for None; whole trees alike."""
    return jax.tree.map(
        lambda axis: PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS),
        axes,
        is_leaf=lambda axis: axis is None,
    )


def run(engine, function, arguments, axes, out_axes):
    """Calls `function(axis_name, *arguments)` on all devices, and waits for it.

    Args:
      engine: One of `ENGINES`.
      function: Takes the name of the device axis, None for `jit`, and the arguments.
      arguments: Arrays, or trees of them.
      axes: For each argument, the axis along which it is divided, or None.
      out_axes: The same for what the function returns, a tuple.
    """
    if engine == "pmap":
        found = _by_pmap(function, arguments, axes, out_axes)
    elif engine == "jit":
        placed = [
            jax.device_put(argument, NamedSharding(mesh(), spec))
            for argument, spec in zip(arguments, specs(axes), strict=True)
        ]
        found = jax.jit(lambda *given: function(None, *given))(*placed)
    else:
        checked = {"check_vma": engine == "shard_map"}
        mapped = jax.shard_map(
            lambda *given: function(AXIS, *given),
            mesh=mesh(),
            in_specs=specs(axes),
            out_specs=specs(out_axes),
            **checked,
        )
        found = jax.jit(mapped)(*arguments)
    return jax.device_get(jax.block_until_ready(found))


def _by_pmap(function, arguments, axes, out_axes):
    count = jax.device_count()

    def divided(x, axis):
        return np.stack(np.split(np.asarray(x), count, axis=axis))

    def joined(x, axis):
        return np.asarray(x)[0] if axis is None else np.concatenate(list(np.asarray(x)), axis=axis)

    given = [
        x if axis is None else jax.tree.map(lambda leaf, axis=axis: divided(leaf, axis), x)
        for x, axis in zip(arguments, axes, strict=True)
    ]
    mapped = jax.pmap(
        lambda *given: function(AXIS, *given),
        axis_name=AXIS,
        in_axes=tuple(None if axis is None else 0 for axis in axes),
    )
    found = jax.block_until_ready(mapped(*given))
    return tuple(
        jax.tree.map(lambda leaf, axis=axis: joined(leaf, axis), x) for x, axis in zip(found, out_axes, strict=True)
    )
