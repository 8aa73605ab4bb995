"""Normalisation as the tests of layers see it: its variables, its equation, and running a layer with it."""

import functools

import jax
import numpy as np


def normal(*shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def statistics(channels, seed=5):
    """Variables of a BatchNorm, none of them trivial."""
    scale, bias, mean, var = np.random.RandomState(seed).rand(4, channels).astype(np.float32) + 0.5
    return {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": mean, "var": var}}


def normalise(x, params, mean, var):
    return (x - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"]


@functools.partial(jax.jit, static_argnames=("layer", "train"))
def run(layer, variables, x, *, train):
    return layer.apply(variables, x, train=train, mutable=["batch_stats"])
