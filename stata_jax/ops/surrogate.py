"""The spike function and the surrogate that stands in for its derivative."""

import jax


def spike(potential: jax.Array) -> jax.Array:
    """Fires where the potential over the threshold is not negative: `1 if u >= 0 else 0` (the step function of Eq. 2).

    Args:
      potential: `u = H - V_th`, of any shape.

    Returns:
      0 or 1 for each element, in the type of `potential`.
    """
    return (potential >= 0).astype(potential.dtype)


def sigmoid_slope(potential: jax.Array, *, alpha: float) -> jax.Array:
    """Slope of a sigmoid, used as the derivative of `spike`: `alpha s(alpha u) (1 - s(alpha u))`.

    Args:
      potential: `u = H - V_th`, of any shape.
      alpha: Steepness of the sigmoid; the slope at the threshold is `alpha / 4`.

    Returns:
      The slope, in the shape and type of `potential`.
    """
    sigmoid = jax.nn.sigmoid(alpha * potential)
    return alpha * sigmoid * (1 - sigmoid)
