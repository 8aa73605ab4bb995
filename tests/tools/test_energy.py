"""Operations and energy against a hand count, published figures, and the matmuls that a program really has."""

import functools

import jax
import numpy as np
import pytest

from stata_jax.models.registry import FAMILIES, create_model
from stata_jax.tools.energy import (
    AC,
    MAC,
    Layer,
    energy_mj,
    layer_operations,
    model_operations,
    total,
    totals,
)
from stata_jax.tools.operations import count_macs, matmuls
from stata_jax.tools.purity import matmuls_of
from stata_jax.tools.rates import mean_rates

TINY = dict(
    family="spikingformer",
    image=(8, 8, 2),
    timesteps=3,
    dim=16,
    depth=1,
    heads=2,
    mlp_ratio=4,
    pooling="0110",
    num_classes=5,
    keep_rate=0.5,
    prune_at=(0,),
    anchor=True,
)
RATES = {
    "stem/conv1": 0.5,
    "stem/conv2": 0.25,
    "stem/conv3": 0.125,
    "stem/conv4": 0.75,
    "block0/attention/q": 0.2,
    "block0/attention/k": 0.2,
    "block0/attention/v": 0.2,
    "block0/spikes/q": 0.3,
    "block0/spikes/k": 0.4,
    "block0/spikes/v": 0.1,
    "block0/attention/projection": 0.6,
    "block0/mlp/up": 0.7,
    "block0/mlp/down": 0.8,
    "head": 0.9,
}


def matmuls_of_tiny(family, image, **sizes):
    return matmuls(FAMILIES[family](**sizes), image)


def operations(change=None, **options):
    layers = layer_operations(RATES, matmuls_of_tiny(**TINY | (change or {})), **options)
    return {layer.name: layer for layer in layers}


def test_hand_count():
    # 8x8 pixels become 2x2 = 4 patches; with the anchor 5 tokens, and ceil(4 / 2) + 1 = 3 after the pruning. d_h = 8.
    expected = {
        "stem/conv0": (MAC, 3 * 9 * 2 * 2 * 64),
        "stem/conv1": (AC, 3 * 9 * 2 * 4 * 64 * 0.5),
        "stem/conv2": (AC, 3 * 9 * 4 * 8 * 16 * 0.25),
        "stem/conv3": (AC, 3 * 9 * 8 * 16 * 4 * 0.125),
        "stem/conv4": (AC, 3 * 9 * 16 * 16 * 4 * 0.75),
        "block0/attention/q": (AC, 3 * 5 * 256 * 0.2),
        "block0/attention/k": (AC, 3 * 5 * 256 * 0.2),
        "block0/attention/v": (AC, 3 * 5 * 256 * 0.2),
        "block0/attention/map": (AC, 3 * 2 * 5 * 8**2 * 0.1),  # T h n d_h^2 min(r_k, r_v)
        "block0/attention/value": (AC, 3 * 2 * 5 * 8**2 * 0.3),  # T h n d_h^2 r_q
        "block0/attention/projection": (AC, 3 * 5 * 256 * 0.6),
        "block0/mlp/up": (AC, 3 * 3 * 16 * 64 * 0.7),
        "block0/mlp/down": (AC, 3 * 3 * 16 * 64 * 0.8),
        "head": (MAC, 16 * 5),
    }
    layers = layer_operations(RATES, matmuls_of_tiny(**TINY))
    assert [layer.name for layer in layers] == list(expected)
    assert [layer.kind for layer in layers] == [kind for kind, _ in expected.values()]
    np.testing.assert_allclose([layer.operations for layer in layers], [count for _, count in expected.values()])
    mac, ac = (sum(count for of, count in expected.values() if of == kind) for kind in (MAC, AC))
    assert (total(layers, MAC), total(layers, AC)) == pytest.approx((mac, ac))
    assert energy_mj(layers) == pytest.approx((4.6e-12 * mac + 0.9e-12 * ac) * 1e3)


def test_the_spike_driven_transformer_sums_masks_and_has_spikes_before_the_head():
    layers, others = operations(dict(family="sdt")), operations()
    changed = {name for name in layers if layers[name] != others[name]}
    assert changed == {"block0/attention/map", "block0/attention/value", "head"}
    assert layers["block0/attention/map"].operations == pytest.approx(3 * 5 * 16 * 0.1)
    assert layers["block0/attention/value"].operations == pytest.approx(3 * 5 * 16 * 0.3)
    assert layers["head"] == Layer("head", 3 * 16 * 5, 0.9, AC)
    assert operations(dict(family="sdt"), cheaper=True, sums_as_macs=True) == layers


def test_other_ways_to_count():
    default, once = operations(), operations(once=True)
    assert once["stem/conv0"].operations * 3 == default["stem/conv0"].operations
    assert {name for name in once if once[name] != default[name]} == {"stem/conv0"}
    cheaper = operations(cheaper=True)  # (Q K^T) V: 5 tokens are fewer than 8 channels
    assert cheaper["block0/attention/map"].operations == pytest.approx(3 * 2 * 5 * 5 * 8 * 0.3)  # min(r_q, r_k)
    assert cheaper["block0/attention/value"].operations == pytest.approx(3 * 2 * 5 * 5 * 8 * 0.1)  # r_v
    many = dict(image=(16, 16, 2))  # 17 tokens: the order of the published formula
    assert operations(many, cheaper=True) == operations(many)


def test_sums_of_spikes_are_spikes_or_macs():
    spikformer = dict(family="spikformer")
    assert operations(spikformer) == operations() == operations(sums_as_macs=True)
    as_macs = operations(spikformer, sums_as_macs=True)
    sums = [f"block0/{name}" for name in ("attention/q", "attention/k", "attention/v", "mlp/up")]
    assert [name for name, layer in as_macs.items() if layer.kind == MAC] == ["stem/conv0", *sums, "head"]
    assert as_macs["block0/mlp/up"].operations == 3 * 3 * 16 * 64


@pytest.mark.parametrize(
    ("name", "gmac", "gac", "millijoules"),
    [("spikingformer_8_512", 0.3473, 6.5175, 7.46), ("spikingformer_8_768", 0.5210, 12.514, 13.66)],
)
def test_published_figures(name, gmac, gac, millijoules):
    """The MACs, and the energy that follows from the published ACs, of the Spikingformer authors' logs."""
    model = create_model(name)
    names = ["attention/q", "attention/k", "attention/v", "attention/projection", "mlp/up", "mlp/down"]
    names += [f"spikes/{name}" for name in "qkv"]
    rates = {f"block{l}/{name}": 0.1 for l in range(8) for name in names} | {f"stem/conv{i}": 0.1 for i in range(1, 5)}
    layers = layer_operations(rates, matmuls(model, (224, 224, 3)))
    mac = total(layers, MAC)
    assert mac == pytest.approx(gmac * 1e9, abs=5e4)
    assert mac == layers[0].macs + layers[-1].macs
    assert energy_mj([Layer("all", int(mac), 1.0, MAC), Layer("all", int(gac * 1e9), 1.0, AC)]) == pytest.approx(
        millijoules, abs=0.005
    )


def test_published_operations_are_acs_alone():
    """The dense row of the paper's Table 2, 22.09 G and 21.48 mJ: the energy leaves no room for MACs among them."""
    first = count_macs(create_model("spikformer_8_512"), (224, 224, 3))["stem/conv0"]
    assert first == pytest.approx(0.3468e9, abs=5e4)
    counts = totals([Layer("spikes", int(22.09e9), 1.0, AC), Layer("images", first, 1.0, MAC)])
    assert counts == {"ac": 22.09e9, "mac": first, "energy_mj": pytest.approx(21.48, abs=0.005)}


SIZE = dict(num_classes=5, timesteps=2, dim=16, heads=2, attention_scale=2.0)


@functools.cache
def example(family, pruned, recording, dvs_mode=False):
    """A model whose neurons fire, and images."""
    changes = dict(anchor=True, keep_rate=0.2, prune_at=(0,), depth=2) if pruned else dict(depth=1)
    changes |= dict(dvs_mode=True) if dvs_mode else {}
    model = FAMILIES[family](**SIZE, pooling="1001", **changes)
    shape = (3, 4, 16, 16, 2) if recording else (4, 16, 16, 1)
    images = np.random.default_rng(0).uniform(size=shape).astype(np.float32)

    def raise_gain(path, leaf):
        return leaf + 1.5 if jax.tree_util.keystr(path).endswith("['scale']") else leaf

    return model, jax.tree_util.tree_map_with_path(raise_gain, jax.jit(model.init)(jax.random.key(0), images)), images


CASES = [(family, pruned, False, False) for family in FAMILIES for pruned in (False, True)]
CASES += [("spikformer", True, True, False), ("sdt", True, True, True)]


@pytest.mark.parametrize(("family", "pruned", "recording", "dvs_mode"), CASES)
def test_counts_and_rates_are_those_of_the_program(family, pruned, recording, dvs_mode):
    """Against the operands and shapes of each matmul that the compiled model has."""
    model, variables, images = example(family, pruned, recording, dvs_mode)

    def logits(variables, images):
        return model.apply(variables, images, train=True, mutable=["batch_stats"])[0][0]

    traced = {matmul.name: matmul for matmul in matmuls_of(logits, variables, images)}
    traced.pop("block0/scores", None)  # the ranking is not counted
    options = dict(cheaper=True) if recording else dict(cheaper=True, once=True)
    layers = {layer.name: layer for layer in model_operations(model, variables, images, train=True, **options)}
    attention = {f"block{l}/attention/{name}" for l in range(model.depth) for name in ("map", "value")}
    assert layers.keys() - traced.keys() == (attention if family == "sdt" else set())
    assert traced.keys() <= layers.keys()
    timesteps = 3 if recording else 2
    for name, matmul in traced.items():
        layer = layers[name]
        # The literature takes the mean over time before the head, the program after it.
        times = timesteps if name == "head" and family != "sdt" else 1
        assert matmul.macs == 4 * layer.macs * times, name
        assert (layer.kind == MAC) == ("real numbers" in matmul.inputs and name not in attention), name
        if name.endswith("/map"):
            assert layer.rate == pytest.approx(min(matmul.rates), rel=1e-5), name
        elif name.endswith("/value"):  # spikes and an integer matmul of two spikes
            spikes = matmul.rates[matmul.inputs.index("binary")]
            assert layer.rate == pytest.approx(spikes, rel=1e-5), name
        elif layer.kind == AC:
            assert layer.rate == pytest.approx(matmul.rates[0], rel=1e-5), name
            assert 0 < layer.rate < 2


def test_a_recording_has_its_own_timesteps():
    model, variables, images = example("spikformer", True, True)
    layers = model_operations(model, variables, images, train=True)
    assert layers[0].operations == 3 * 9 * 2 * 2 * 16 * 16
    with pytest.raises(ValueError, match="a recording has other frames"):
        model_operations(model, variables, images, once=True)


def test_mistakes():
    rates = {name: rate for name, rate in RATES.items() if name != "block0/mlp/up"}
    with pytest.raises(ValueError, match="rates has no block0/mlp/up"):
        layer_operations(rates, matmuls_of_tiny(**TINY))
    model, variables, _ = example("spikingformer", False, False)
    with pytest.raises(ValueError, match="no image"):
        mean_rates(model, variables, [])
