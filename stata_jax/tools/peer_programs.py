"""The benchmark's peers from a config: what they need of it, and what it must not ask of them."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax.config.checks import refuse_other
from stata_jax.tools import peer as peers

# What peers do not do, by what it is when it is off.
_PLAIN = {"train.loss": "cross_entropy", "train.grad_clip": 0.0, "augment.mixup": 0.0}


def check(names: Sequence[str], settings: ConfigDict) -> None:
    """Raises before anything is compiled if one of the peers cannot do the same as we do.

    Args:
      names: Keys of `stata_jax.tools.peer.PEERS`.
      settings: A checked config.

    Raises:
      ConfigError: If a peer is unknown, its packages are missing, or the config trains in a way that peers do not.
    """
    if not names:
        return
    refuse_other(settings, _PLAIN, "with --peer it must be")
    peers.check(names, device=_device())


def leave_memory() -> None:
    """Has JAX take an accelerator's memory as it needs it, not most of it at once, unless the environment says so.

    Call it before JAX is asked for a device.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def prepare(peer: str, settings: ConfigDict, mode: str) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Makes one program of a peer on random images: our network without token sparsification.

    Args:
      peer: A key of `stata_jax.tools.peer.PEERS`.
      settings: A checked config; its sparsity and alignment do not matter here.
      mode: `train` or `infer`.

    Returns:
      A call that starts it and returns what to wait for, and what is known of it.

    Raises:
      ConfigError: If the peer cannot run.
    """
    return peers.prepare(
        peer,
        mode=mode,
        network=network_of(settings),
        batch_size=settings.train.batch_size,
        image_size=settings.data.image_size,
        learning_rate=settings.train.learning_rate,
        weight_decay=settings.train.weight_decay,
        label_smoothing=settings.augment.label_smoothing,
        dtype=settings.model.dtype,
        device=_device(),
    )


def network_of(settings: ConfigDict) -> dict[str, Any]:
    """The fields of `stata_jax.tools.peer_models.Settings`."""
    network: dict[str, Any] = settings.model.to_dict()
    del network["dtype"]
    return network | {"num_classes": settings.data.num_classes, "channels": settings.data.channels}


def _device() -> str:
    import jax

    return "cuda" if jax.default_backend() == "gpu" else "cpu"
