"""The least work of a step against sums by hand, and the rows that operations belong to."""

import pytest

from stata_jax.models.registry import FAMILIES
from stata_jax.tools.roofline import (
    BOTH,
    LIF,
    MATMULS,
    NORM,
    OTHER,
    UPDATE,
    WAITS,
    Work,
    as_markdown,
    as_rows,
    required,
    row_of,
)

SIZES = dict(timesteps=2, dim=16, depth=2, heads=2, mlp_ratio=4, pooling="0011")
SIZES |= dict(num_classes=5, keep_rate=0.5, prune_at=(0,), anchor=True)
B, T, D = 3, 2, 16
PIXELS = [64, 64, 64, 16, 4]  # of each convolution's result
CHANNELS = [3, 2, 4, 8, 16, 16]
ATTENTION, MLP = (5, 3), (3, 3)  # tokens of each block, with the anchor


def work(family, *, static=True, devices=1):
    image = (8, 8, 3) if static else (T, 8, 8, 3)
    return required(FAMILIES[family](**SIZES), image, batch_size=B, devices=devices, parameters=1000)


@pytest.mark.parametrize("static", [True, False])
def test_matmuls_of_the_stem(static):
    once = 1 if static else T
    first = 2 * 2 * once * B * 64 * 9 * 3 * 2  # no gradient of the image
    others = sum(3 * 2 * T * B * PIXELS[i] * 9 * CHANNELS[i] * CHANNELS[i + 1] for i in range(1, 5))
    weights = [9 * CHANNELS[i] * CHANNELS[i + 1] * 4 for i in range(5)]
    image, made = once * B * 64 * 3, once * B * 64 * 2
    moved = 4 * image + weights[0] + 4 * made + 4 * image + 4 * made + weights[0]
    for i in range(1, 5):
        into, made = T * B * PIXELS[i] * CHANNELS[i], T * B * PIXELS[i] * CHANNELS[i + 1]
        moved += into + weights[i] + 4 * made  # forward
        moved += 4 * made + weights[i] + 4 * into  # the gradient of the input
        moved += into + 4 * made + weights[i]  # and of the weight
    assert work("spikformer", static=static)["stem", MATMULS] == Work(first + others, moved)


@pytest.mark.parametrize("family", ["spikformer", "spikingformer", "sdt"])
def test_matmuls_of_the_blocks(family):
    done = work(family)
    n, m = (T * B * sum(tokens) * D for tokens in (ATTENTION, MLP))
    terms = [1 if family == "sdt" else min(tokens, D // 2) for tokens in ATTENTION]
    small = sum(2 * T * B * tokens * D * each for tokens, each in zip(ATTENTION, terms, strict=True))  # map and value
    assert done["attention", MATMULS].flops == 3 * 2 * (4 * n * D + small)
    heads = 3 * n + (1 if family == "sdt" else 4) * n + 3 * n + 4 * n + 3 * 4 * n  # q, k, v and result; and gradients
    assert done["attention", MATMULS].bytes == 4 * (2 * 3 * 4 * D * D + 2 * n + 4 * n + 3 * 4 * n) + heads
    assert done["MLP", MATMULS].flops == 3 * 2 * 2 * m * 4 * D
    up = 3 * 4 * 2 * 4 * D * D + 2 * m + 4 * m + 3 * 4 * 4 * m  # weights of both blocks, x thrice, the result thrice
    down = 3 * 4 * 2 * 4 * D * D + 2 * 4 * m + 4 * 4 * m + 3 * 4 * m
    assert done["MLP", MATMULS].bytes == up + down


N = T * B * sum(ATTENTION) * D


@pytest.mark.parametrize(
    ("family", "joined", "alone", "lif"),
    [("spikformer", 4, 0, N), ("spikingformer", 3, 1, 2 * N), ("sdt", 3, 1, N + 2 * T * B * D)],
)
def test_neurons_and_normalisations_of_attention(family, joined, alone, lif):
    """Values read or written, each 4 bytes, and a byte for a spike: the matmul twice, the spikes; both twice again."""
    done = work(family)
    assert done["attention", BOTH].bytes == joined * (4 * (2 + 4 + 1) + 1) * N
    assert done.get(("attention", NORM), Work()).bytes == alone * 4 * (3 + 5) * N
    assert done["attention", LIF].bytes == (4 * 4 + 1) * lif
    assert (("stem", LIF) in done) == (family == "sdt")


def test_each_device_has_weights_of_its_own():
    one, two = work("sdt"), work("sdt", devices=2)
    assert one[UPDATE].bytes == 7 * 4 * 1000 and two[UPDATE].bytes == 2 * one[UPDATE].bytes
    assert two["MLP", MATMULS].bytes - one["MLP", MATMULS].bytes == 2 * 2 * 3 * 4 * 4 * D * D
    assert two["MLP", MATMULS].flops == one["MLP", MATMULS].flops


@pytest.mark.parametrize(
    ("scope", "row"),
    [
        ("jit(f)/jvp(M)/stem/stem.fire/conv2.fire/conv2.fire_in_training/while", ("stem", MATMULS)),
        ("jit(f)/jvp(M)/stem/stem.fire/conv2.fire/conv2.fire_in_training/norm.fire_in_training/while", ("stem", BOTH)),
        ("jit(f)/jvp(M)/stem/conv0.fire/norm.fire_in_training/matmul/conv_general_dilated", ("stem", MATMULS)),
        ("jit(f)/M/stem/conv0.fire/norm.fire_in_training/transpose(jvp(matmul))/conv", ("stem", MATMULS)),
        ("jit(f)/transpose(jvp(M))/stem/stem.convolve/conv4/norm/norm._run/add", ("stem", NORM)),
        ("jit(f)/jvp(M)/stem/stem.pool/while", ("stem", OTHER)),
        ("jit(f)/jvp(M)/block0/attention/lif_in/while", ("attention", LIF)),
        ("jit(f)/jvp(M)/block10/mlp/down/dot_general", ("MLP", MATMULS)),
        ("jit(f)/jvp(M)/block10/align/dot_general", UPDATE),
        ("jit(f)/add", UPDATE),
        ("", UPDATE),
    ],
)
def test_rows_of_operations(scope, row):
    assert row_of(scope) == row


def test_the_table():
    done = {("MLP", MATMULS): Work(4e9, 1e9), ("MLP", LIF): Work(0, 3e9), ("MLP", NORM): Work(0, 1e9)}
    seconds = {("MLP", LIF): 0.25, ("MLP", MATMULS): 0.5, WAITS: 0.25}
    rows = as_rows(done, seconds, flops_s=1e10, bytes_s=1e10)
    assert [(row["least_s"], row["bound"], row["share"]) for row in rows] == [
        (0.4, "matmuls", 0.5),
        (0.3, "memory", 0.25),
        (None, None, 0.25),
        (0.1, "memory", 0.0),
    ]
    facts = {"model": "m", "keep_rate": 0.2, "batch_size": 8, "device": "1 x cpu", "jax": "0.10", "step_s": 1.1}
    lines = as_markdown(facts | {"rows": rows, "flops_s": 1e10, "bytes_s": 1e10}).splitlines()
    assert lines[5] == "| MLP | matmuls | 4.0 G | 1.00 GB | 400 ms | matmuls | 500 ms | 50 % |"
    assert lines[6] == "| MLP | LIF | | 3.00 GB | 300 ms | memory | 250 ms | 25 % |"
    assert lines[7] == "| all | waiting for each other | | | | | 250 ms | 25 % |"
    assert lines[-2:] == ["at least 800 ms in all, 1000 ms taken by operations", "a step: 1100 ms"]
    slower = as_markdown(facts | {"rows": rows, "flops_s": 1e10, "bytes_s": 1e10, "step_s": 0.9})
    assert slower.splitlines()[-1].startswith("(operations took longer while they were profiled")
