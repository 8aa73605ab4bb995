"""Running the per-device steps on all devices: the one place where they are mapped."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import jax_utils

AXIS = "batch"  # name of the device axis


def on_all_devices(
    step: Callable[..., Any],
    *,
    shared: int = 1,
    donate: tuple[int, ...] = (),
    devices: Sequence[jax.Device] | None = None,
) -> Any:
    """Maps `step(state, batch, key)` over the devices: state and batch have a device axis, the key has none.

    Args:
      step: A per-device function that averages over `AXIS` itself.
      shared: How many arguments come after state and batch, which all devices share.
      donate: Arguments whose memory the result may take over.
      devices: Which devices; all of all processes if None.

    Returns:
      The mapped function, compiled at its first call or by its `lower`.
    """
    return jax.pmap(step, axis_name=AXIS, in_axes=(0, 0, *[None] * shared), donate_argnums=donate, devices=devices)


def replicate(tree: Any) -> Any:
    """Copies arrays to every device, with a leading device axis."""
    return jax_utils.replicate(tree, axis_name=AXIS)


def replicated_shapes(tree: Any) -> Any:
    """Shapes and types of `replicate(tree)`, for arrays or for shapes and types."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((devices, *x.shape), x.dtype), tree)


def first_copy(tree: Any) -> Any:
    """The first device's copy of replicated arrays."""
    return jax_utils.unreplicate(tree)


def device_names() -> str:
    """How many devices the steps run on, of all processes, and of what kind, such as `2 x cpu`."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def shard(batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Splits a batch over the devices: (B, ...) to (devices, B / devices, ...).

    Args:
      batch: Arrays with the batch axis first; B is divisible by the number of devices. One of several processes has its
        own part of the batch, and splits it over its own devices.

    Returns:
      The same arrays with a leading device axis.
    """
    devices = jax.local_device_count()
    return {name: x.reshape(devices, x.shape[0] // devices, *x.shape[1:]) for name, x in batch.items()}
