"""Every number of the published models' fixtures: spikes, logits, gradients and running statistics.

`STATA_FIXTURES` names a folder of `*.npz` files to use instead of the project's own copy.
"""

import functools
import os
import pathlib

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import optax
import published_fixtures
import pytest

from stata_jax import speed
from stata_jax.kernels import winograd
from stata_jax.models.authors import import_state
from stata_jax.models.rates import firing_rates
from stata_jax.models.registry import FAMILIES
from stata_jax.train.losses import tet_loss

FOLDER = pathlib.Path(os.environ.get("STATA_FIXTURES", pathlib.Path(__file__).parents[1] / "fixtures"))
FILES = sorted(FOLDER.glob("*.npz"))


def test_parity_has_fixtures():
    assert FILES, f"there is no fixture in {FOLDER}"


class Fixture:
    """A fixture and our model with its weights."""

    def __init__(self, path, kernels):
        self.arrays, self.meta = published_fixtures.read(path)
        meta, settings = self.meta, published_fixtures.settings(self.arrays, self.meta)
        self.model = FAMILIES[meta["family"]](**settings, ops=speed.operations(kernels))
        self.variables = self.group("state")
        # Some in the machine code that users run, the others in what is compiled sooner, with the same bounds.
        as_used = path.stem == "spikingformer_cifar10" if kernels != "plain" else path.stem.endswith("_cifar10")
        self.jit = as_users.jit if as_used else jax.jit
        images = np.moveaxis(self.arrays["input"], -3, -1)
        # Recordings come as (B, T, H, W, C).
        self.images = jnp.asarray(np.moveaxis(images, 1, 0) if meta["dvs_input"] else images)
        self.labels = jnp.asarray(self.arrays["labels"].astype(np.int32))

    def group(self, prefix):
        """Arrays named `prefix/...`, as our variables."""
        named = published_fixtures.group(self.arrays, prefix)
        return import_state(named, family=self.meta["family"])

    @functools.cached_property
    def evaluated(self):
        apply = functools.partial(self.model.apply, mutable=["intermediates"])
        (logits, aux), seen = jax.device_get(self.jit(apply)(self.variables, self.images))
        return logits, aux, seen["intermediates"]

    @functools.cached_property
    def trained(self):
        def loss(params):
            variables = self.variables | {"params": params}
            collections = ["batch_stats", "intermediates"]
            (logits, aux), updated = self.model.apply(variables, self.images, train=True, mutable=collections)
            targets = jax.nn.one_hot(self.labels, self.meta["classes"])
            if self.meta.get("TET"):
                lamb, means = self.meta["TET_lamb"], self.meta["TET_means"]
                value = tet_loss(aux["step_logits"], targets, lamb=lamb, means=means)
                logits = aux["step_logits"]
            else:
                value = optax.softmax_cross_entropy(logits, targets).mean()
            return value, (logits, firing_rates(updated["intermediates"]), updated["batch_stats"])

        return jax.device_get(self.jit(jax.value_and_grad(loss, has_aux=True))(self.variables["params"]))


# The plain operations, and the kernels: on a processor as large models are trained, convolutions in their other form.
CASES = [(path, "plain") for path in FILES]
CASES += [(path, kernels) for path in FILES if path.stem.endswith("_cifar10") for kernels in ("cpu", "gpu")]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].stem} {case[1]}")
def fixture(request):
    path, kernels = request.param
    with pytest.MonkeyPatch.context() as patch:
        if kernels == "cpu":
            patch.setattr(winograd, "LEAST_CHANNELS", 1)
            patch.setattr(winograd, "LEAST_TILES", 1)
            jax.clear_caches()
        yield Fixture(path, kernels)
        if kernels == "cpu":
            jax.clear_caches()


def relative(ours, theirs):
    """Largest difference over the reference's largest value; 0 where both are all zero."""
    assert np.shape(ours) == np.shape(theirs)
    difference = np.abs(ours - theirs).max()
    return difference / np.abs(theirs).max() if difference > 0 else 0.0


def tokens_last(array, meta):
    """(T, B, D, H, W), (T, B, D, N) or (T, B, N, D) to (T, B, N, D)."""
    if "(T,B,N,C)" in meta["layout"]["embed_and_blocks"]:
        return array
    return np.moveaxis(array.reshape(*array.shape[:3], -1), 2, -1)


def by_layer(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_parity_importer_fills_every_variable(fixture):
    ours = jax.eval_shape(fixture.model.init, jax.random.key(0), fixture.images)
    assert jax.tree.map(np.shape, fixture.variables) == jax.tree.map(np.shape, ours)


def test_parity_eval_spikes_are_equal(fixture):
    _, aux, seen = fixture.evaluated
    (attention,) = seen["block0"]["attention"]["spikes"]
    heads = fixture.meta["heads"]
    compared = ["q", "k", "v"] + [name for name in ("kv_sum", "kv_mask") if name in attention]
    for name in compared:
        T, B, N, D = attention[name].shape
        by_head = attention[name].reshape(T, B, N, heads, D // heads).transpose(0, 1, 3, 2, 4)
        np.testing.assert_array_equal(by_head, fixture.arrays[f"eval/{name}"], err_msg=name)
    if fixture.meta["family"] == "sdt":
        assert "kv_mask" in compared
    else:
        if "eval/attn_spikes" in fixture.arrays:
            attended = tokens_last(fixture.arrays["eval/attn_spikes"], fixture.meta)
            np.testing.assert_array_equal(attention["attended"], attended)
        np.testing.assert_array_equal(aux["maps"][0], fixture.arrays["eval/attn"])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_parity_firing_rates_of_all_layers(fixture, mode):
    rates = firing_rates(fixture.evaluated[2]) if mode == "eval" else fixture.trained[0][1][1]
    theirs = fixture.meta[f"rates_{mode}"]
    assert len(rates) == len(theirs)
    # Ours in the order in which the layers run, as theirs are; theirs are rounded to four digits.
    order = ("in", "q", "k", "v", "attended", "kv", "projection", "hidden", "out")
    blocks = [
        f"block{l}/{part}/{name}"
        for l in range(fixture.meta["depth"])
        for part in ("attention", "mlp")
        for name in order
        if f"block{l}/{part}/{name}" in rates
    ]
    names = [*sorted(name for name in rates if name.startswith("stem")), *blocks]
    ours = [rates[name] for name in [*names, *(["head/in"] if "head/in" in rates else [])]]
    np.testing.assert_allclose(ours, [theirs[name] for name in fixture.meta["lif_order"]], atol=5.1e-5, rtol=0)


def test_parity_eval_values(fixture):
    logits, aux, _ = fixture.evaluated
    assert relative(aux["embed"], tokens_last(fixture.arrays["eval/embed"], fixture.meta)) < 1e-5
    for l in range(fixture.meta["depth"]):
        assert relative(aux["out"][l], tokens_last(fixture.arrays[f"eval/block{l}"], fixture.meta)) < 1e-5, l
    ours = aux["step_logits"] if fixture.meta.get("TET") else logits
    assert relative(ours, fixture.arrays["eval/logits"]) < 1e-5


def test_parity_train_logits_and_loss(fixture):
    (loss, (logits, _, _)), _ = fixture.trained
    assert relative(logits, fixture.arrays["train/logits"]) < 1e-5
    assert relative(loss, fixture.arrays["train/loss"]) < 1e-5


def test_parity_gradients(fixture):
    ours, theirs = by_layer(fixture.trained[1]), by_layer(fixture.group("grad")["params"])
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        if name.endswith("['linear']['bias']"):
            # A bias before a batch normalisation has no gradient: theirs are rounding errors of sums over the layer.
            scale = np.abs(theirs[name.replace("bias", "kernel")]).max()
            assert not np.any(ours[name]) and np.abs(gradient).max() <= 1e-4 * scale, name
        else:
            assert relative(ours[name], gradient) < 1e-4, name


def test_parity_running_statistics(fixture):
    ours, theirs = by_layer(fixture.trained[0][1][2]), by_layer(fixture.group("train_stats")["batch_stats"])
    assert ours.keys() == theirs.keys()
    for name, statistic in theirs.items():
        assert relative(ours[name], statistic) < 5e-5, name
