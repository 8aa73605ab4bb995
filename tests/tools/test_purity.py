"""The list of matmuls: what it finds in small functions, and in each family."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.models.registry import FAMILIES
from stata_jax.tools.purity import Matmul, kind_of, matmuls_of

WEIGHT = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
BINARY = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("values", "index"),
    [([0, 0], 0), ([0, 1], 1), ([1, 1], 1), ([2, 2], 2), ([-1, 0], 2), ([0.5, 1], 3), ([0, 1e30], 2)],
)
def test_kinds(values, index):
    assert kind_of(jnp.asarray(values, jnp.float32)) == index


def matmuls(function, *data):
    return [matmul.inputs for matmul in matmuls_of(function, WEIGHT, *data)]


def test_matmuls_inside_calls_and_custom_gradients_are_found():
    @jax.custom_vjp
    def twice(x):
        return x @ x

    twice.defvjp(lambda x: (twice(x), x), lambda x, g: (g,))
    assert matmuls(lambda w, x: twice(jax.jit(jnp.dot)(x, w)), BINARY) == [("binary",), ("real numbers",) * 2]


def test_what_is_not_needed_or_has_no_data_is_left_out():
    def function(w, x):
        _ = x @ x  # never read
        return (w @ w) * x

    assert matmuls(function, BINARY) == []


def test_kinds_follow_the_data():
    def function(w, x):
        return jax.lax.conv(x.reshape(1, 1, 4, 4), w.reshape(1, 1, 4, 4), (1, 1), "SAME")

    for data, kind in ((BINARY, "binary"), (2 * BINARY, "whole numbers"), (0.5 * BINARY, "real numbers")):
        assert matmuls(function, data) == [(kind,)]
    assert matmuls(function, 0 * BINARY) == [("silent",)]


def test_rates_and_macs_of_matmuls():
    def function(w, x):
        image = jnp.stack([x, x, x], axis=-1)[None]  # 1 x 4 x 4 pixels, 3 channels
        kernel, layout = jnp.tile(w[0, 0], (3, 3, 3, 5)), ("NHWC", "HWIO", "NHWC")
        convolved = jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=layout)
        return (x @ w).sum() + jnp.einsum("ij,kj->ik", x, x[:2]).sum() + convolved.sum()

    found = matmuls_of(function, WEIGHT, BINARY)
    assert {(matmul.macs, matmul.rates) for matmul in found} == {
        (4 * 4 * 4, (0.25,)),
        (4 * 2 * 4, (0.25, 0.25)),
        (2 * 2 * 5 * 9 * 3, (0.25,)),
    }


def test_a_product_in_a_loop_is_refused():
    with pytest.raises(ValueError, match="a matmul inside scan"):
        matmuls(lambda w, x: jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=2)[0], BINARY)


def test_a_product_in_a_branch_is_refused():
    with pytest.raises(ValueError, match="a matmul inside cond"):
        matmuls(lambda w, x: jax.lax.cond(x.sum() > 1, lambda c: c @ w, lambda c: c, x), BINARY)


@functools.cache
def report(family, keep_rate):
    pruned = dict(anchor=True, keep_rate=keep_rate, prune_at=(0,)) if keep_rate < 1 else {}
    size = dict(num_classes=5, timesteps=2, dim=16, depth=2, heads=2, pooling="1100", attention_scale=2.0)
    model = FAMILIES[family](**size, **pruned)
    images = np.random.default_rng(0).uniform(size=(4, 16, 16, 1)).astype(np.float32)

    def raise_gain(path, leaf):
        return leaf + 1.5 if jax.tree_util.keystr(path).endswith("['scale']") else leaf

    variables = jax.tree_util.tree_map_with_path(raise_gain, jax.jit(model.init)(jax.random.key(0), images))

    def logits(variables, images):
        return model.apply(variables, images, train=True, mutable=["batch_stats"])[0][0]

    return matmuls_of(logits, variables, images)


RESIDUALS = [f"block{l}/{name}" for l in (0, 1) for name in ("attention/q", "attention/k", "attention/v", "mlp/up")]
SUMS = [f"block{l}/attention/value" for l in (0, 1)]


@pytest.mark.parametrize("keep_rate", [1.0, 0.2])
@pytest.mark.parametrize(
    ("family", "other"),
    [
        ("spikformer", ["stem/conv0", *SUMS, *RESIDUALS, "head"]),
        ("spikingformer", ["stem/conv0", *SUMS, "head"]),
        ("sdt", ["stem/conv0"]),
    ],
)
def test_which_matmuls_of_a_family_take_no_spikes(family, keep_rate, other):
    """All but these take spikes; those after the pruning stay as pure as they were."""
    found = report(family, keep_rate)
    assert sorted(matmul.name for matmul in found if not matmul.spike_driven) == sorted(other)
    assert not [matmul.name for matmul in found if "silent" in matmul.inputs]
    # Five convolutions, six matmuls a block, two more where there is a map, the head, and one that ranks tokens.
    assert len(found) == 5 + 2 * (6 if family == "sdt" else 8) + 1 + (keep_rate < 1)


def test_counts_of_spikes_are_whole_numbers():
    kinds = {matmul.name: matmul.inputs for matmul in report("spikingformer", 1.0)}
    assert set(kinds["block0/attention/value"]) == {"binary", "whole numbers"}
    assert kinds["block0/attention/map"] == ("binary", "binary")
    assert Matmul("x", ("binary", "whole numbers")).spike_driven is False
