"""Attention behind a pruning, whose sum over fewer tokens may be made up for."""

import functools

import jax
import numpy as np
import pytest

from stata_jax.models.registry import FAMILIES

SIZE = dict(num_classes=5, timesteps=3, dim=32, depth=2, heads=4, attention_scale=0.5)
IMAGES = np.random.default_rng(0).uniform(size=(4, 16, 16, 3)).astype(np.float32)
SHARE = {True: 17 / 8, False: 16 / 7}  # 16 patches, 7 are kept; the anchor counts


def spikes_of(family, *, anchor, **settings):
    """The spikes of both blocks' attention, of a network that prunes in the first."""
    model = FAMILIES[family](**SIZE, anchor=anchor, keep_rate=0.4, prune_at=(0,), metric="l1", **settings)
    variables = jax.jit(model.init)(jax.random.key(1), IMAGES)
    # By the statistics of the batch, with which all layers fire.
    apply = jax.jit(functools.partial(model.apply, train=True, mutable=["intermediates", "batch_stats"]))
    collected = apply(variables, IMAGES)[1]["intermediates"]
    return [collected[f"block{l}"]["attention"]["spikes"][0] for l in range(2)]


def fire(current):
    """LIF neurons of time constant 2 and threshold 0.5, in a loop."""
    membrane, spikes = np.zeros(current.shape[1:]), []
    for x in current:
        membrane = membrane + (x - membrane) / 2
        spikes.append(membrane >= 0.5)
        membrane = np.where(spikes[-1], 0, membrane)
    return np.stack(spikes).astype(np.float32)


def attended(q, k, v, scale):
    """Attention head by head, and its neurons."""
    out = np.zeros(v.shape)
    for h in range(4):
        of = slice(8 * h, 8 * h + 8)
        for t, b in np.ndindex(*q.shape[:2]):
            out[t, b, :, of] = q[t, b, :, of] @ k[t, b, :, of].T @ v[t, b, :, of] * scale
    return fire(out)


@pytest.mark.parametrize("anchor", [False, True])
@pytest.mark.parametrize("family", ["spikformer", "spikingformer"])
def test_the_sum_behind_a_pruning_is_made_up_for(family, anchor):
    first, second = spikes_of(family, anchor=anchor, rescale=True)
    for spikes, scale in (first, 0.5), (second, 0.5 * SHARE[anchor]):
        q, k, v = (np.asarray(spikes[name], np.float64) for name in "qkv")
        assert 0 < q.mean() < 1
        np.testing.assert_array_equal(spikes["attended"], attended(q, k, v, scale))
    assert second["attended"].shape[2] == 7 + anchor


@pytest.mark.parametrize("anchor", [False, True])
def test_the_sum_of_masks_is_made_up_for(anchor):
    first, second = spikes_of("sdt", anchor=anchor, rescale=True)
    for spikes, share in (first, 1), (second, SHARE[anchor]):
        kv = np.asarray(spikes["k"] * spikes["v"], np.float64).sum(axis=2, keepdims=True) * share
        np.testing.assert_allclose(spikes["kv_sum"], kv, rtol=1e-6)
        np.testing.assert_array_equal(spikes["kv_mask"], fire(np.asarray(spikes["kv_sum"])))


@pytest.mark.parametrize("family", ["spikformer", "spikingformer", "sdt"])
def test_the_paper_s_constant_is_the_default(family):
    # One spike reaches a threshold of 0.5, where sums of the Spike-driven Transformer need no scale.
    settings = dict(anchor=False, attention_threshold=0.75 if family == "sdt" else 0.5)
    plain, rescaled = (spikes_of(family, **settings, rescale=rescale)[1] for rescale in (False, True))
    name = "kv_mask" if family == "sdt" else "attended"
    np.testing.assert_array_equal(plain["q"], rescaled["q"])
    assert plain[name].mean() < rescaled[name].mean()
