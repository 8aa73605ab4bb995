"""Everything that a training run carries from step to step."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from stata_jax.train.compilation import jit_once


@flax.struct.dataclass
class TrainState:
    """State of a run. All random numbers follow from the seed and `step`, so no key is kept.

    Attributes:
      step: Number of steps done, int32, those among them whose update was left out.
      params: Trained parameters.
      batch_stats: Running statistics of the batch normalisations.
      opt_state: State of the optimiser.
      ema: Running averages of the parameters and of the running statistics, as `params` and `batch_stats`; None where
        none are kept.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any = None


def weights(state: TrainState) -> dict[str, Any]:
    """The `params` and `batch_stats` to evaluate with: the averages where there are any."""
    return {"params": state.params, "batch_stats": state.batch_stats} if state.ema is None else state.ema


def time_major(images: jax.Array) -> jax.Array:
    """Images as a model takes them: recordings (B, T, H, W, C) as (T, B, H, W, C), images (B, H, W, C) as they are."""
    return images.swapaxes(0, 1) if images.ndim == 5 else images


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    images: jax.ShapeDtypeStruct,
    *,
    key: jax.Array,
    ema: bool = False,
) -> TrainState:
    """Makes the state before the first step.

    Args:
      model: The network.
      optimizer: The optimiser.
      images: Shape and type of a batch, images (B, H, W, C) or recordings (B, T, H, W, C); nothing is computed on it.
      key: A JAX random key for the initial parameters.
      ema: Whether to keep running averages of the weights, which start from the initial ones.

    Returns:
      A fresh state.
    """
    result: TrainState = jit_once(initializer(model, optimizer, images, ema=ema))(key)
    return result


def initializer(
    model: nn.Module, optimizer: optax.GradientTransformation, images: jax.ShapeDtypeStruct, *, ema: bool = False
) -> Callable[[jax.Array], TrainState]:
    """What `create_state` calls, from the key to a fresh state; the arguments are the same."""

    def init(key: jax.Array) -> TrainState:
        variables = model.init(key, time_major(jnp.zeros((1, *images.shape[1:]), images.dtype)))
        kept = {name: variables[name] for name in ("params", "batch_stats")}
        opt_state = optimizer.init(kept["params"])
        return TrainState(jnp.zeros((), jnp.int32), **kept, opt_state=opt_state, ema=kept if ema else None)

    return init


def count_parameters(params: Any) -> int:
    """Number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
