"""Tests of stata_jax.tools.operations against hand counts, matmuls and published figures."""

import math

import flax.linen as nn
import numpy as np
import pytest

from stata_jax.models.block import BlockConfig
from stata_jax.models.layers import LayerConfig
from stata_jax.models.registry import FAMILIES
from stata_jax.models.spikformer import Spikformer
from stata_jax.tools.operations import SUMS, count_macs, matmuls, tokens_per_block
from stata_jax.tools.roofline import MATMULS, required

TINY = dict(
    family="spikingformer",
    image=(8, 8, 2),
    timesteps=3,
    dim=16,
    depth=2,
    heads=2,
    mlp_ratio=4,
    pooling="0110",
    num_classes=5,
    keep_rate=0.5,
    prune_at=(0,),
    anchor=True,
)
LARGE = dict(
    family="spikingformer",
    image=(224, 224, 3),
    timesteps=4,
    dim=768,
    depth=8,
    heads=12,
    mlp_ratio=4,
    pooling="1111",
    num_classes=1000,
    keep_rate=0.2,
    prune_at=(2, 5),
    anchor=True,
)


def macs_of(family, image, **options):
    return count_macs(FAMILIES[family](**options), image)


def test_tokens_of_eight_blocks():
    counts = tokens_per_block(tokens=196, depth=8, keep_rate=0.2, prune_at=(2, 5), anchor=True)
    assert counts == ((197, 197), (197, 197), (197, 41), (41, 41), (41, 41), (41, 9), (9, 9), (9, 9))


def test_tokens_without_anchor_and_with_an_exact_product():
    # 0.07 * 100 is a rounding error above 7, which must not keep an eighth token.
    assert tokens_per_block(tokens=100, depth=2, keep_rate=0.07, prune_at=(0,), anchor=False) == ((100, 7), (7, 7))


def test_tokens_of_a_dense_model():
    assert tokens_per_block(tokens=64, depth=3, keep_rate=0.2, prune_at=(), anchor=False) == ((64, 64),) * 3
    assert tokens_per_block(tokens=64, depth=3, keep_rate=1.0, prune_at=(1,), anchor=True) == ((65, 65),) * 3


def test_hand_count():
    # 8x8 pixels become 2x2 = 4 patches; with the anchor 5 tokens, and ceil(4 / 2) + 1 = 3 from the first MLP on.
    # Attention takes min(n, d) with d = 8: (Q K^T) V in both blocks.
    expected = {
        "stem/conv0": 3 * (9 * 2 * 2 * 64),
        "stem/conv1": 3 * (9 * 2 * 4 * 64),
        "stem/conv2": 3 * (9 * 4 * 8 * 16),
        "stem/conv3": 3 * (9 * 8 * 16 * 4),
        "stem/conv4": 3 * (9 * 16 * 16 * 4),
        "block0/attention/q": 3 * (5 * 256),
        "block0/attention/k": 3 * (5 * 256),
        "block0/attention/v": 3 * (5 * 256),
        "block0/attention/map": 3 * (5 * 5 * 16),
        "block0/attention/value": 3 * (5 * 5 * 16),
        "block0/attention/projection": 3 * (5 * 256),
        "block0/mlp/up": 3 * (3 * 16 * 64),
        "block0/mlp/down": 3 * (3 * 64 * 16),
        "block1/attention/q": 3 * (3 * 256),
        "block1/attention/k": 3 * (3 * 256),
        "block1/attention/v": 3 * (3 * 256),
        "block1/attention/map": 3 * (3 * 3 * 16),
        "block1/attention/value": 3 * (3 * 3 * 16),
        "block1/attention/projection": 3 * (3 * 256),
        "block1/mlp/up": 3 * (3 * 16 * 64),
        "block1/mlp/down": 3 * (3 * 64 * 16),
        "head": 16 * 5,
    }
    assert macs_of(**TINY) == expected


def test_attention_takes_the_cheaper_order():
    def matmul_macs(a, b):
        return math.prod(a.shape) * b.shape[1]

    for tokens, width in ((5, 8), (65, 8)):
        q = k = v = np.zeros((tokens, width))
        map_first = (matmul_macs(q, k.T), matmul_macs(q @ k.T, v))
        context_first = (matmul_macs(k.T, v), matmul_macs(q, k.T @ v))
        cheaper = min(map_first, context_first, key=sum)
        options = dict(
            TINY, timesteps=1, image=(8, 8, 2) if tokens == 5 else (32, 32, 2)
        )  # 4 or 64 patches, 2 heads of width 8
        macs = macs_of(**options)
        assert (macs["block0/attention/map"], macs["block0/attention/value"]) == (2 * cheaper[0], 2 * cheaper[1])


def test_attention_without_a_map():
    macs, dense = macs_of(**(TINY | dict(family="sdt"))), macs_of(**TINY)
    assert macs["block0/attention/map"] == 3 * 5 * 16  # one per token and channel
    assert macs["head"] == 3 * 16 * 5
    matmuls = {f"block{l}/attention/{name}" for l in (0, 1) for name in ("map", "value")}
    assert {name for name in macs if macs[name] != dense[name]} == matmuls | {"head"}


def test_first_convolution_of_the_largest_model():
    assert macs_of(**LARGE)["stem/conv0"] == pytest.approx(0.5202e9, rel=1e-4)


def test_speed_up_of_the_largest_model():
    dense = sum(macs_of(**(LARGE | dict(keep_rate=1.0))).values())
    sparse = sum(macs_of(**LARGE).values())
    assert dense / sparse == pytest.approx(1.6, abs=0.03)


def test_dense_count_of_a_cifar_model():
    # Linear layers of a block: 12 D^2 a token. The stem: a sum over its five convolutions at 32, 32, 32, 16, 8 pixels.
    macs = macs_of(
        **(
            LARGE
            | dict(image=(32, 32, 3), dim=384, depth=4, pooling="0011", num_classes=100, prune_at=(), anchor=False)
        )
    )
    linear = sum(count for name, count in macs.items() if "/attention/" in name or "/mlp/" in name)
    linear -= sum(macs[f"block{block}/attention/{name}"] for block in range(4) for name in ("map", "value"))
    assert linear == 4 * 4 * 64 * 12 * 384**2
    stem = 9 * (3 * 48 * 1024 + 48 * 96 * 1024 + 96 * 192 * 1024 + 192 * 384 * 256 + 384 * 384 * 64)
    assert sum(count for name, count in macs.items() if name.startswith("stem")) == 4 * stem


def test_a_recording_brings_its_timesteps():
    assert macs_of(**TINY | dict(image=(5, 8, 8, 2)))["stem/conv0"] == 5 * 9 * 2 * 2 * 64


class Bottleneck(nn.Module):
    """An MLP of three layers, the last of which takes the sum of residuals and of spikes."""

    config: LayerConfig
    block: BlockConfig

    @nn.compact
    def __call__(self, x, *, train):
        y = x
        for width, name in ((self.block.dim // 2, "down"), (self.block.dim // 2, "across"), (self.block.dim, "up")):
            y = self.config.linear(width, name, use_bias=False).fire(y, self.config.lif(name), train=train)
        return x + y


class Narrow(Spikformer):
    """A family of one's own."""

    mlp_class = Bottleneck


def test_a_new_family_declares_nothing():
    narrow = Narrow(num_classes=5, timesteps=3, dim=16, depth=1, heads=2)
    found = {each.name: each for each in matmuls(narrow, (8, 8, 1))}
    assert {name: found[f"block0/mlp/{name}"].macs for name in ("down", "across", "up")} == {
        "down": 3 * 4 * 16 * 8,
        "across": 3 * 4 * 8 * 8,
        "up": 3 * 4 * 8 * 16,
    }
    assert {name for name, each in found.items() if each.takes == SUMS} == {
        *(f"block0/attention/{name}" for name in "qkv"),
        "block0/mlp/down",
    }
    work = required(narrow, (8, 8, 1), batch_size=2, devices=1, parameters=1)
    assert work["MLP", MATMULS].flops == 3 * 2 * 2 * 3 * 4 * (2 * 16 * 8 + 8 * 8)
