"""Everything that a training run carries from step to step."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """State of a run. All random numbers follow from the seed and `step`, so no key is kept.

    Attributes:
      step: Number of updates done, int32.
      params: Trained parameters.
      batch_stats: Running statistics of the batch normalisations.
      opt_state: State of the optimiser.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any


def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, images: jax.ShapeDtypeStruct, *, key: jax.Array
) -> TrainState:
    """Makes the state before the first step.

    Args:
      model: The network.
      optimizer: The optimiser.
      images: Shape and type of a batch of images; nothing is computed on images.
      key: A JAX random key for the initial parameters.

    Returns:
      A fresh state.
    """

    def init(key: jax.Array) -> TrainState:
        variables = model.init(key, jnp.zeros((1, *images.shape[1:]), images.dtype))
        params = variables["params"]
        return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], optimizer.init(params))

    return jax.jit(init)(key)


def count_parameters(params: Any) -> int:
    """Number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
