"""Spikingformer with STATA: shapes, exact equalities between settings, and independence of batch mates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import speed
from stata_jax.models.rates import firing_rates
from stata_jax.models.spikingformer import Spikingformer
from stata_jax.pruning.maps import Aligned
from stata_jax.pruning.select import surviving_tokens

SIZE = dict(num_classes=10, timesteps=3, dim=32, depth=3, heads=4, pooling="1100", attention_scale=1.0)
STATA = dict(SIZE, anchor=True, keep_rate=0.3, prune_at=(0, 1))
IMAGES = np.random.default_rng(0).uniform(size=(6, 16, 16, 2)).astype(np.float32)


def lively(variables):
    """The same variables with gains that let every layer fire, as after training."""

    def raise_gain(path, leaf):
        return leaf + 1.5 if jax.tree_util.keystr(path).endswith("['scale']") else leaf

    return jax.tree_util.tree_map_with_path(raise_gain, variables)


@functools.cache
def weights(anchor):
    """Parameters, with running statistics of the images themselves: with those of the start hardly a neuron fires."""
    model = Spikingformer(**SIZE, anchor=anchor)
    variables = lively(jax.jit(model.init)(jax.random.key(1), IMAGES))
    _, updated = jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))(variables, IMAGES)
    stats = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, updated["batch_stats"], variables["batch_stats"])
    return {"params": variables["params"], "batch_stats": stats}


@functools.cache
def built(**settings):
    """A compiled model, and weights that fit it."""
    return jax.jit(Spikingformer(**settings).apply), weights(settings.get("anchor", False))


def test_aux_has_the_documented_shapes():
    apply, variables = built(**STATA)
    logits, aux = apply(variables, IMAGES)
    assert logits.shape == (6, 10)
    assert aux["embed"].shape == (3, 6, 16, 32)
    assert [phi.shape for phi in aux["maps"]] == [(3, 6, 4, n, n) for n in (17, 6, 3)]
    assert {l: index.shape for l, index in aux["kept"].items()} == {0: (3, 6, 6), 1: (3, 6, 3)}
    assert {l: index.shape for l, index in aux["positions"].items()} == {0: (3, 6, 5), 1: (3, 6, 2)}
    seen = Spikingformer(**STATA).apply(variables, IMAGES, mutable=["intermediates"])[1]["intermediates"]
    rates = firing_rates(seen)
    assert len(rates) == 4 + 3 * 7 and all(0 < rate < 1 for rate in rates.values())


def test_positions_are_distinct_sorted_and_shrink():
    apply, variables = built(**STATA)
    positions = apply(variables, IMAGES)[1]["positions"]
    first, second = np.asarray(positions[0]), np.asarray(positions[1])
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()
    assert (second[..., :, None] == first[..., None, :]).any(-1).all()  # the second stage keeps some of the first's
    assert len({tuple(row) for row in first.reshape(-1, 5)}) > 6  # timesteps keep tokens of their own


def test_kept_tokens_are_the_tokens_of_their_positions():
    """The first block's map, restricted by `kept`, belongs to the patches in `positions`; the anchor stays first."""
    apply, variables = built(**STATA)
    _, aux = apply(variables, IMAGES)
    for l in (0, 1):
        assert (aux["kept"][l][..., 0] == 0).all()
    np.testing.assert_array_equal(aux["kept"][0][..., 1:] - 1, aux["positions"][0])
    from_start = surviving_tokens(aux["kept"], 0, 2)
    np.testing.assert_array_equal(from_start[..., 1:] - 1, aux["positions"][1])
    assert surviving_tokens(aux["kept"], 2, 3) is None


@pytest.mark.parametrize(("metric", "slots"), [("ssa", "sorted"), ("l1", "stable"), ("random", "sorted")])
def test_every_metric_and_slot_order_runs(metric, slots):
    apply, variables = built(**STATA, metric=metric, slots=slots)
    logits, aux = apply(variables, IMAGES)
    assert np.isfinite(logits).all()
    assert aux["positions"][0].shape == (3, 6, 5)


def test_shared_tokens_are_the_same_at_every_timestep():
    apply, variables = built(**STATA, timestep_wise=False)
    positions = np.asarray(apply(variables, IMAGES)[1]["positions"][0])
    np.testing.assert_array_equal(positions, np.broadcast_to(positions[:1], positions.shape))


def test_keep_rate_1_is_the_dense_model():
    apply, variables = built(**SIZE)
    logits, aux = apply(variables, IMAGES)
    pruned, other = built(**SIZE, keep_rate=1.0, prune_at=(0, 1), metric="ssa")
    assert "anchor" not in variables["params"]
    jax.tree.map(np.testing.assert_array_equal, other, variables)
    np.testing.assert_array_equal(pruned(variables, IMAGES)[0], logits)
    assert not aux["kept"]


def test_keeping_all_tokens_by_gather_changes_nothing():
    """A keep rate just below 1 ranks and gathers all tokens; sorted slots put each back where it was."""
    dense, variables = built(**SIZE, anchor=True)
    apply, _ = built(**SIZE, anchor=True, keep_rate=0.999, prune_at=(0, 1))
    np.testing.assert_array_equal(apply(variables, IMAGES)[0], dense(variables, IMAGES)[0])


@pytest.mark.parametrize("settings", [SIZE, STATA, dict(STATA, slots="stable")])
def test_logits_do_not_depend_on_batch_mates(settings):
    apply, variables = built(**settings)
    logits = np.asarray(apply(variables, IMAGES)[0])
    order = np.array([3, 0, 5, 1, 4, 2])
    np.testing.assert_allclose(apply(variables, IMAGES[order])[0], logits[order], rtol=0, atol=1e-6)
    for i in range(len(IMAGES)):
        alone = apply(variables, IMAGES[i : i + 1])[0][0]
        np.testing.assert_allclose(alone, logits[i], rtol=0, atol=1e-6)
    mates = np.concatenate([IMAGES[:2], np.zeros_like(IMAGES[:2]), np.ones_like(IMAGES[:2])])
    np.testing.assert_allclose(apply(variables, mates)[0][:2], logits[:2], rtol=0, atol=1e-6)


def test_a_static_image_equals_a_recording_of_equal_frames():
    apply, variables = built(**STATA)
    recording = jnp.broadcast_to(IMAGES, (3, *IMAGES.shape))
    expected = apply(variables, IMAGES)[0]
    np.testing.assert_array_equal(apply(variables, recording)[0], expected)
    np.testing.assert_array_equal(apply(variables, recording[:1])[0], expected)  # one frame stands for all timesteps


@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_training_on_a_static_image_equals_training_on_its_frames(neuron):
    model = Spikingformer(**SIZE, neuron=neuron, ops=speed.operations())
    variables = lively(jax.jit(model.init)(jax.random.key(1), IMAGES))

    @jax.jit
    def learn(images):
        def loss(params):
            given = {**variables, "params": params}
            (logits, _), updated = model.apply(given, images, train=True, mutable=["batch_stats"])
            return jnp.sum(jnp.square(logits)), updated["batch_stats"]

        return jax.grad(loss, has_aux=True)(variables["params"])

    (image, image_stats), (frames, frames_stats) = learn(IMAGES), learn(jnp.broadcast_to(IMAGES, (3, *IMAGES.shape)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-6, atol=1e-7), image_stats, frames_stats)
    assert float(jnp.abs(image["stem"]["conv0"]["conv"]["kernel"]).max()) > 0
    for once, each in zip(jax.tree.leaves(image), jax.tree.leaves(frames), strict=True):
        np.testing.assert_allclose(once, each, rtol=1e-4, atol=1e-5 * float(jnp.abs(each).max()) + 1e-6)


@pytest.mark.parametrize("part", ["intra_at", "inter_at"])
def test_blocks_to_align_must_be_there(part):
    model = Spikingformer(**SIZE, align=Aligned(**{part: (0, 3)}))
    with pytest.raises(ValueError, match=rf"align.{part} must name blocks from 0 to 2, got \(0, 3\)"):
        model.init(jax.random.key(0), IMAGES)


def test_unknown_match():
    with pytest.raises(ValueError, match="unknown match 'crop': use one of interpolate, gather"):
        Spikingformer(**SIZE, align=Aligned(match="crop")).init(jax.random.key(0), IMAGES)


def test_the_pool_can_leave_the_anchor_out():
    apply, variables = built(**STATA)
    without, _ = built(**STATA, pool="tokens")
    assert np.abs(apply(variables, IMAGES)[0] - without(variables, IMAGES)[0]).max() > 1e-4


def test_bfloat16_products_keep_float32_logits_and_parameters():
    apply, variables = built(**STATA, dtype=jnp.bfloat16)
    logits, aux = apply(variables, IMAGES)
    assert logits.dtype == jnp.float32
    assert aux["embed"].dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_the_anchor_gets_a_gradient():
    model = Spikingformer(**STATA)
    variables = built(**STATA)[1]

    def loss(params):
        (logits, _), _ = model.apply(variables | {"params": params}, IMAGES, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.square(logits))

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    assert jnp.abs(gradient["anchor"]).max() > 0


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], r"shape \(B, H, W, C\)"),
        ((255 * IMAGES).astype(np.uint8), "divide them by 255"),
        (IMAGES[:, :15], "15x16 do not divide"),
    ],
)
def test_bad_images_are_named(images, message):
    with pytest.raises(ValueError, match=message):
        Spikingformer(**SIZE).init(jax.random.key(0), images)
