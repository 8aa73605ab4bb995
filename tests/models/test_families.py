"""All families in all published variants: independence of batch mates, and STATA in each of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import speed
from stata_jax.kernels import fire
from stata_jax.models.rates import firing_rates
from stata_jax.models.registry import FAMILIES
from stata_jax.pruning.maps import Aligned
from stata_jax.train.losses import stata_loss

SIZE = dict(num_classes=5, timesteps=3, dim=32, depth=2, heads=4, attention_scale=1.0)
PRUNED = dict(anchor=True, keep_rate=0.4, prune_at=(0, 1))
VARIANTS = {
    "spikformer cifar": dict(family="spikformer", qkv_bias=True),
    "spikformer imagenet": dict(family="spikformer", pooling="1111"),
    "spikformer events": dict(family="spikformer", pooling="1111", attention_scale=0.25, events=True),
    "spikingformer cifar": dict(family="spikingformer"),
    "spikingformer imagenet": dict(family="spikingformer", pooling="1111"),
    "spikingformer events": dict(family="spikingformer", pooling="1111", tau=1.5, events=True),
    "sdt cifar": dict(family="sdt"),
    "sdt cifar plif": dict(family="sdt", neuron="plif"),
    "sdt imagenet": dict(family="sdt", pooling="1111"),
    "sdt gesture": dict(family="sdt", pooling="0111", events=True),
    "sdt dvs": dict(family="sdt", dvs_mode=True, events=True),
}
SMALL_PATCHES = ["spikformer cifar", "spikingformer cifar", "sdt cifar plif", "sdt dvs"]


def lively(path, leaf):
    """Weights and statistics that let every layer fire, as after training."""
    name = jax.tree_util.keystr(path)
    if name.endswith("['kernel']"):
        return leaf / jnp.std(leaf) / np.sqrt(leaf[..., 0].size)
    return leaf + 1.0 if name.endswith("['scale']") else leaf * 0.1 if name.endswith("['var']") else leaf


def make(name, **changes):
    """A model, and images for it."""
    settings = dict(VARIANTS[name])
    family, events = settings.pop("family"), settings.pop("events", False)
    model = FAMILIES[family](**SIZE | settings | changes)
    size = 4 * 2 ** model.pooling.count("1")  # 16 patches
    shape = (3, 4, size, size, 2) if events else (4, size, size, 3)
    return model, np.random.default_rng(0).uniform(size=shape).astype(np.float32)


@functools.cache
def weights(name, anchor):
    model, images = make(name, anchor=anchor)
    return jax.tree_util.tree_map_with_path(lively, jax.jit(model.init)(jax.random.key(1), images))


@functools.cache
def built(name, **changes):
    """A compiled model, its weights and the images."""
    model, images = make(name, **changes)
    return jax.jit(model.apply), weights(name, model.anchor), images


@functools.cache
def rates_of(name, **changes):
    """The firing rates of a model."""
    model, images = make(name, **changes)
    apply = jax.jit(functools.partial(model.apply, mutable=["intermediates"]))
    return firing_rates(apply(weights(name, model.anchor), images)[1]["intermediates"])


@pytest.mark.parametrize("pruned", [False, True], ids=["dense", "pruned"])
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_do_not_depend_on_batch_mates(name, pruned):
    """Neither other mates, nor their order, nor padding change an image's logits: no state leaks along the batch."""
    apply, variables, images = built(name, **(PRUNED if pruned else {}))
    logits, _ = apply(variables, images)
    rates = rates_of(name, **(PRUNED if pruned else {}))
    assert all(0 < rate < 1 for rate in rates.values()), rates
    axis = images.ndim - 4  # of the batch
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(apply(variables, np.take(images, order, axis))[0], logits[order], rtol=0, atol=1e-6)
    for filler in (0.0, 1.0):
        padded = np.array(images)
        padded[(slice(None),) * axis + (slice(1, None),)] = filler
        np.testing.assert_allclose(apply(variables, padded)[0][0], logits[0], rtol=0, atol=1e-6)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3  # images do differ


@pytest.mark.parametrize("name", SMALL_PATCHES)
def test_shapes_of_what_was_seen(name):
    apply, variables, images = built(name, **PRUNED)
    logits, aux = apply(variables, images)
    assert logits.shape == (4, 5)
    assert aux["step_logits"].shape == (3, 4, 5)
    np.testing.assert_allclose(logits, aux["step_logits"].mean(0), rtol=1e-5, atol=1e-6)
    assert [phi.shape for phi in aux["maps"]] == [(3, 4, 4, n, n) for n in (17, 8)]
    assert {l: at.shape for l, at in aux["positions"].items()} == {0: (3, 4, 7), 1: (3, 4, 3)}


@pytest.mark.parametrize("name", SMALL_PATCHES)
def test_keeping_all_tokens_by_gather_changes_nothing(name):
    dense, variables, images = built(name, anchor=True)
    apply, _, _ = built(name, anchor=True, keep_rate=0.999, prune_at=(0, 1))
    np.testing.assert_array_equal(apply(variables, images)[0], dense(variables, images)[0])


CHOICES = [
    ("spikformer cifar", dict(metric="ssa", slots="stable"), dict(match="gather", classification="tet")),
    ("spikingformer cifar", dict(metric="l1", timestep_wise=False), dict(match="gather", distance="norm")),
    ("sdt cifar plif", dict(metric="anchor"), dict(match="interpolate")),
    ("sdt dvs", dict(metric="ssa", slots="stable"), dict(match="interpolate", classification="tet")),
    ("spikformer events", dict(metric="random", slots="stable"), dict(match="interpolate")),
]


@pytest.mark.parametrize(("name", "pruning", "choices"), CHOICES, ids=[choice[0] for choice in CHOICES])
def test_all_parameters_learn_by_the_whole_loss(name, pruning, choices):
    """Every part of STATA in every family: all weights get a finite gradient, and both alignments are there."""
    options = dict(classification="cross_entropy", tet_means=1.0, tet_lambda=0.01, distance="mse") | choices
    align = Aligned(intra_at=(0, 1), inter_at=(0, 1), match=options.pop("match"))
    model, images = make(name, **PRUNED | pruning, align=align)
    variables = weights(name, True)
    targets = jax.nn.one_hot(jnp.arange(4), 5)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(params):
        (logits, aux), _ = model.apply(variables | {"params": params}, images, train=True, mutable=["batch_stats"])
        return stata_loss(logits, aux, targets, alpha=0.1, beta=0.1, **options)

    gradients, terms = gradient(variables["params"])
    assert all(0 < terms[name] < 1e3 for name in ("cross_entropy", "intra", "inter"))
    flat = jax.tree_util.tree_leaves_with_path(gradients)
    assert all(jnp.isfinite(leaf).all() for _, leaf in flat)
    # A bias before a normalisation has none.
    silent = {jax.tree_util.keystr(path): not jnp.any(leaf) for path, leaf in flat}
    assert silent == {path: path.endswith("['linear']['bias']") for path in silent}


def test_the_spike_driven_map_is_not_computed_where_nobody_reads_it():
    apply, variables, images = built("sdt cifar", **PRUNED)
    logits_only = jax.jit(lambda variables, images: apply(variables, images)[0])
    with_maps = jax.jit(lambda variables, images: apply(variables, images)[1]["maps"][0])
    shape = "3,4,4,17,17]"  # (T, B, h, N, N)
    assert shape in with_maps.lower(variables, images).compile().as_text()
    assert shape not in logits_only.lower(variables, images).compile().as_text()


@pytest.mark.parametrize("kernels", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("name", "remat"),
    [("spikformer cifar", True), ("spikingformer imagenet", False), ("sdt gesture", False), ("sdt cifar plif", False)],
)
def test_kernels_train_as_the_plain_operations_do(name, remat, kernels, monkeypatch):
    """Neurons, statistics, pools and matmuls together: the same spikes, gradients and statistics."""
    monkeypatch.setattr(fire, "NEXT_TO_NOTHING", 0)  # else all matmuls are rematerialised
    variables = weights(name, True)

    @functools.partial(jax.jit, static_argnames="model")
    def step(params, model):
        def loss(params):
            given = variables | {"params": params}
            collections = ["batch_stats", "intermediates"]
            (logits, _), updates = model.apply(given, images, train=True, mutable=collections)
            spikes = [updates["intermediates"][f"block{l}"]["attention"]["spikes"] for l in range(2)]
            rates = firing_rates(updates["intermediates"])
            return jnp.sum(jnp.square(logits)), (spikes, rates, updates["batch_stats"])

        return jax.grad(loss, has_aux=True)(params)

    model, images = make(name, **PRUNED, ops=speed.operations("plain"))
    gradient, (spikes, *rest) = step(variables["params"], model)
    other, (other_spikes, *other_rest) = step(
        variables["params"], model.clone(ops=speed.operations(kernels, remat=remat))
    )
    jax.tree.map(np.testing.assert_array_equal, other_spikes, spikes)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), other_rest, rest)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * scale), other, gradient)
