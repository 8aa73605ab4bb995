"""Every operation of a model with operands for it: for the tests of kernels against plain ones, and of many devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

BATCH = 8
SEQUENCE = (4, BATCH, 3, 6)  # (T, B, N, C)


class Case(NamedTuple):
    """An operation.

    Attributes:
      function: Takes `Operations`, the name of the device axis or None, and the operands; returns an array.
      operands: Arrays.
      axes: For each operand the axis of the batch, or None. The result has the batch where the first one has it.
    """

    function: Callable[..., Any]
    operands: list[np.ndarray]
    axes: list[int | None]


def numbers(*shape):
    """Currents about the threshold, the same for a shape."""
    return (1.5 * np.random.RandomState(sum(shape)).randn(*shape) + 0.7).astype(np.float32)


def spikes(*shape):
    return (np.random.RandomState(sum(shape) + 1).rand(*shape) < 0.4).astype(np.float32)


def fired(ops, axis_name, x, *layers, kind="linear", counts=False, repeats=1):
    """The spikes of `matmul_norm_lif`, of all layers beside each other; three operands a layer."""
    layers = list(zip(layers[::3], layers[1::3], layers[2::3], strict=True))
    done = ops.matmul_norm_lif(
        getattr(ops, kind), x, layers, repeats=repeats, axis_name=axis_name, counts=counts, tau=1.5, threshold=0.8
    )
    return jnp.concatenate([spikes for spikes, _, _ in done], axis=-1)


def layer(*shape, seed=0):
    """Kernel, scale and bias."""
    random = np.random.RandomState(sum(shape) + seed)
    kernel, scale, bias = random.randn(*shape), random.rand(shape[-1]) + 0.5, random.randn(shape[-1])
    return [array.astype(np.float32) for array in (kernel / np.sqrt(kernel[..., 0].size), scale, bias)]


def read(ops, _, x, spikes):
    def sums(spikes, factor, nothing):
        assert nothing is None
        return jnp.sum(spikes * factor, axis=-1)

    x, seen = ops.read_beside(sums, x, (spikes,), jnp.arange(3, dtype=spikes.dtype), None)
    return x * seen[..., None]


LAYER = [None] * 3
CASES = {
    **{f"lif, T {t}": Case(lambda ops, _, x: ops.lif(x), [numbers(t, BATCH, 3, 5)], [1]) for t in (1, 2, 4, 5, 16, 17)},
    "lif, constants": Case(
        lambda ops, _, x: ops.lif(x, tau=1.5, threshold=0.4, reset=-0.5, alpha=8.0), [numbers(*SEQUENCE)], [1]
    ),
    "plif": Case(lambda ops, _, x, leak: ops.plif(x, leak), [numbers(*SEQUENCE), np.float32(0.6)], [1, None]),
    "normalize": Case(
        lambda ops, axis_name, x, *given: ops.normalize(x, *given, axis_name=axis_name)[0],
        [numbers(*SEQUENCE), numbers(6) ** 2 + 0.5, numbers(6)],
        [1, None, None],
    ),
    "matmul_norm_lif": Case(fired, [numbers(*SEQUENCE), *layer(6, 5)], [1, *LAYER]),
    "matmul_norm_lif, rematerialised": Case(fired, [numbers(*SEQUENCE), *layer(6, 9)], [1, *LAYER]),
    "matmul_norm_lif, of counts": Case(
        lambda *given: fired(*given, counts=True), [spikes(5, BATCH, 3, 40), *layer(40, 40)], [1, *LAYER]
    ),
    "matmul_norm_lif, three layers": Case(
        lambda *given: fired(*given, counts=True),
        [spikes(*SEQUENCE), *layer(6, 6), *layer(6, 6, seed=1), *layer(6, 6, seed=2)],
        [1, *LAYER, *LAYER, *LAYER],
    ),
    "matmul_norm_lif, a still image": Case(
        lambda *given: fired(*given, kind="convolve", repeats=4),
        [numbers(1, BATCH, 4, 6, 3), *layer(3, 3, 3, 5)],
        [1, *LAYER],
    ),
    "linear": Case(lambda ops, _, x, w: ops.linear(x, w), [numbers(*SEQUENCE), numbers(6, 5)], [1, None]),
    "linear, of counts": Case(
        lambda ops, _, x, w: ops.linear(x, w, counts=True), [spikes(*SEQUENCE), numbers(6, 5)], [1, None]
    ),
    "convolve": Case(
        lambda ops, _, x, w: ops.convolve(x, w), [numbers(2, BATCH, 3, 5, 2), numbers(3, 3, 2, 4)], [1, None]
    ),
    "convolve, of counts": Case(
        lambda ops, _, x, w: ops.convolve(x, w, counts=True),
        [spikes(2, BATCH, 4, 6, 5), numbers(3, 3, 5, 4)],
        [1, None],
    ),
    "convolve, large": Case(
        lambda ops, _, x, w: ops.convolve(x, w),
        [0.05 * numbers(1, BATCH, 16, 16, 32), 0.05 * numbers(3, 3, 32, 33)],
        [1, None],
    ),
    "max_pool": Case(lambda ops, _, x: ops.max_pool(x), [numbers(2, BATCH, 4, 6, 5)], [1]),
    "max_pool, of spikes": Case(lambda ops, _, x: ops.max_pool(x, spikes=True), [spikes(5, BATCH, 4, 6, 5)], [1]),
    "max_pool, of many spikes": Case(lambda ops, _, x: ops.max_pool(x, spikes=True), [spikes(9, BATCH, 2, 2, 3)], [1]),
    "max_filter": Case(lambda ops, _, x: ops.max_filter(x), [spikes(BATCH, 5, 6, 5)], [0]),
    "attention, by map": Case(
        lambda ops, _, *qkv: ops.attention(*qkv, heads=2, scale=0.125), [spikes(4, BATCH, 3, 8)] * 3, [1, 1, 1]
    ),
    "attention, by sum": Case(
        lambda ops, _, *qkv: ops.attention(*qkv, heads=2, scale=0.125), [spikes(4, BATCH, 9, 8)] * 3, [1, 1, 1]
    ),
    "multiply": Case(lambda ops, _, *xy: ops.multiply(*xy), [spikes(*SEQUENCE), spikes(4, BATCH, 1, 6)], [1, 1]),
    "read_beside": Case(read, [numbers(4, BATCH, 3), spikes(4, BATCH, 3)], [1, 1]),
}
