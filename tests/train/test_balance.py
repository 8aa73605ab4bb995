"""What the alignment weighs: large enough to train by, as measured by a run, and nothing where it is off."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stata_jax import build
from stata_jax.config import apply_overrides
from stata_jax.configs import cifar100, digits
from stata_jax.models.registry import FAMILIES
from stata_jax.pruning.maps import Aligned
from stata_jax.train.balance import say_weight, weigh_alignment
from stata_jax.train.parallel import on_all_devices, replicate, shard
from stata_jax.train.state import create_state

SMALL = {"model.dim": 16, "model.heads": 2, "data.image_size": 16, "data.digits.size": 8, "data.digits.fragment": 4}


def inputs(settings, *, size):
    """A batch, a fresh state on all devices and the optimiser."""
    random = np.random.default_rng(0)
    shape = (size, *build.image_shape(settings))
    images = jnp.asarray(random.integers(0, 256, shape), jnp.uint8)
    labels = jnp.asarray(random.integers(0, settings.data.num_classes, size), jnp.int32)
    optimizer, _ = build.optimizer(settings, steps_per_epoch=10)
    template = jax.ShapeDtypeStruct(shape, jnp.float32)
    state = create_state(build.model(settings), optimizer, template, key=jax.random.key(0))
    return {"image": images, "label": labels}, state, optimizer


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_alignment_weighs_something_on_a_fresh_cifar100_network(family):
    changes = {"model.dim": 48, "model.heads": 6, "model.depth": 4, "sparsity.keep_rate": 0.2, "augment.mixup": 0.0}
    settings = apply_overrides(cifar100.get_config(family), changes)
    batch, state, optimizer = inputs(settings, size=4)
    step = on_all_devices(build.step(settings, optimizer, steps_per_epoch=10), shared=2, donate=(0,))
    weight = weigh_alignment(step, state, shard(batch), jax.random.key(1))
    assert 1e-4 < weight["gradient_share"] < 1
    assert weight["alpha_intra"] > 0 and weight["beta_inter"] > 0


def test_the_share_is_that_of_both_gradients():
    """Against the gradient of each loss by itself, of the network without a step around it."""
    settings = apply_overrides(digits.get_config(), SMALL | {"augment.label_smoothing": 0.0})
    batch, state, optimizer = inputs(settings, size=4)
    step = on_all_devices(build.step(settings, optimizer, steps_per_epoch=10), shared=2)
    weight = weigh_alignment(step, state, shard(batch), jax.random.key(1))
    model = build.model(settings).clone(align=build.aligned(settings))
    images, labels = batch["image"].astype(jnp.float32) / 255, jax.nn.one_hot(batch["label"], 10, dtype=jnp.float32)
    objective = build.objective(settings)

    @functools.partial(jax.jit, static_argnums=1)
    def gradient_of(params, name):
        def value(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            (logits, aux), _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
            terms = objective(logits, aux, labels)[1]
            return terms["cross_entropy"] if name == "classification" else terms["alpha_intra"] + terms["beta_inter"]

        return jax.value_and_grad(value)(params)

    (entropy, by_class), (alignment, by_alignment) = (
        gradient_of(state.params, name) for name in ("classification", "alignment")
    )
    np.testing.assert_allclose(weight["cross_entropy"], entropy, rtol=1e-5)
    np.testing.assert_allclose(weight["alpha_intra"] + weight["beta_inter"], alignment, rtol=1e-5)
    share = optax.tree.norm(by_alignment) / optax.tree.norm(by_class)
    np.testing.assert_allclose(weight["gradient_share"], share, rtol=1e-3)


def test_without_weights_the_program_is_the_one_without_alignment():
    off = {"align.alpha": 0.0, "align.beta": 0.0}
    plain = apply_overrides(digits.get_config(), SMALL | off)
    batch, state, optimizer = inputs(plain, size=4)
    arguments = replicate(state), shard(batch), jax.random.key(1)

    def text(step):
        return on_all_devices(step).lower(*arguments).as_text()

    def objective(logits, aux, targets):
        zero = jnp.zeros((), jnp.float32)
        cross_entropy = jnp.mean(optax.softmax_cross_entropy(logits, targets))
        names = ("intra", "inter", "alpha_intra", "beta_inter")
        return cross_entropy, {"cross_entropy": cross_entropy} | dict.fromkeys(names, zero)

    step = build.step(plain, optimizer, steps_per_epoch=10)
    without = step.keywords["model"].clone(align=Aligned())
    bare = text(functools.partial(step.func, **step.keywords | {"model": without, "objective": objective}))
    assert text(step) == bare
    other = apply_overrides(plain, {"align.distance": "mse", "align.match": "gather", "align.intra_tokens": "slots"})
    assert text(build.step(other, optimizer, steps_per_epoch=10)) == bare
    aligned = apply_overrides(plain, {"align.alpha": 0.01})
    assert text(build.step(aligned, optimizer, steps_per_epoch=10)) != bare


def test_the_weight_in_words():
    weight = {"cross_entropy": 2.30258, "alpha_intra": 0.0221, "beta_inter": 0.0098, "gradient_share": 0.00213}
    assert say_weight(weight) == (
        "alignment at the first step: intra 0.0221 and inter 0.0098, weighted, beside a cross entropy of 2.3; "
        "its gradient is 0.21 % of the cross entropy's"
    )
