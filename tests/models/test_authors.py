"""Names and layouts of the authors' weights, both ways, on their own state dicts."""

import json
import pathlib

import numpy as np
import pytest

from stata_jax.models.authors import (
    STYLES,
    depth_of,
    export_state,
    family_of,
    import_state,
    key_table,
    style_of,
    unused_arrays,
)
from stata_jax.models.infer import settings_of

TITLES = {"spikformer": "Spikformer", "spikingformer": "Spikingformer", "sdt": "Spike-driven Transformer"}
FILES = sorted((pathlib.Path(__file__).parents[1] / "fixtures").glob("*.npz"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def published(request):
    """A state dict of the authors' and what is known of its model."""
    with np.load(request.param) as arrays:
        state = {n.removeprefix("state/"): arrays[n] for n in arrays.files if n.startswith("state/")}
        return state, json.loads(str(arrays["meta"]))


def test_the_way_back_gives_the_authors_file(published):
    state, meta = published
    told, assumed = settings_of(state, family=meta["family"])
    style = style_of(
        meta["family"],
        pooling=assumed["model.pooling"],
        qkv_bias=told["model.qkv_bias"],
        channels=told["data.channels"],
    )
    back = export_state(import_state(state, family=meta["family"]), style, depth=meta["depth"])
    positions = state["pos_embed"].shape[1] if "pos_embed" in state else None
    unused = unused_arrays(back, style, heads=meta["heads"], positions=positions)
    assert not back.keys() & unused.keys()
    assert (back | unused).keys() == state.keys()
    for name, array in (back | unused).items():
        assert array.shape == state[name].shape, name
        assert array.dtype == state[name].dtype, name
    for name, array in back.items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert set(meta["no_grad_params"]) <= unused.keys()


def test_shapes_tell_the_model(published):
    state, meta = published
    told, assumed = settings_of(state, family=meta["family"])
    for key, name in {"dim": "dim", "depth": "depth", "mlp_ratio": "mlp_ratio"}.items():
        assert told[f"model.{key}"] == meta[name]
    assert (told["data.channels"], told["data.num_classes"]) == (meta["in_ch"], meta["classes"])
    assert told["model.neuron"] == meta.get("spike_mode", "lif")
    assert told.get("model.heads", meta["heads"]) == meta["heads"]
    assert ("model.heads" in told) == (meta["family"] == "sdt")
    assert assumed["model.attention_scale"] == meta.get("attn_scale", 0.125)
    if meta["family"] != "sdt":
        assert 2 ** assumed["model.pooling"].count("1") == meta["patch"]


@pytest.mark.parametrize(
    ("family", "key", "path"),
    [
        ("spikingformer", "patch_embed.block3_conv.weight", "params/stem/conv3/conv/kernel"),
        ("spikingformer", "patch_embed.proj_conv.weight", "params/stem/conv0/conv/kernel"),
        ("spikingformer", "patch_embed.proj4_bn.running_var", "batch_stats/stem/conv4/norm/var"),
        ("spikingformer", "block.1.attn.q_bn.weight", "params/block1/attention/q/norm/scale"),
        ("spikformer", "block.0.attn.proj_linear.bias", "params/block0/attention/projection/linear/bias"),
        ("spikformer", "patch_embed.rpe_conv.weight", "params/stem/conv4/conv/kernel"),
        ("sdt", "block.0.mlp.fc2_conv.weight", "params/block0/mlp/down/linear/kernel"),
        ("sdt", "block.0.attn.talking_heads_lif.w", "params/block0/attention/lif_kv/w"),
        ("sdt", "head.bias", "params/head/bias"),
    ],
)
def test_names(family, key, path):
    table = {}
    for style in STYLES[family].values():
        table |= key_table(style, depth=2)
    assert "/".join(table[key]) == path


def test_depth():
    assert depth_of(["block.0.norm1.weight", "block.11.norm1.weight", "head.bias"]) == 12
    assert depth_of(["head.bias"]) == 0


@pytest.mark.parametrize(
    "key", ["block.0.attn.z_conv.weight", "pos_embeds", "head.scale", "patch_embed.block0_bn.mean"]
)
def test_unknown_arrays_are_refused(key):
    with pytest.raises(ValueError, match=f"published spikingformer models: {key}"):
        import_state({key: np.zeros(3), "head.bias": np.zeros(2)}, family="spikingformer")


@pytest.mark.parametrize(("theirs", "ours"), [(theirs, ours) for theirs in STYLES for ours in STYLES if theirs != ours])
def test_another_familys_file_is_refused(theirs, ours):
    with np.load(next(path for path in FILES if path.stem == f"{theirs}_imagenet")) as arrays:
        state = {n.removeprefix("state/"): arrays[n] for n in arrays.files if n.startswith("state/")}
    for read in (import_state, settings_of):
        with pytest.raises(ValueError, match=f"^this file holds a {TITLES[theirs]}, not a {TITLES[ours]}: "):
            read(state, family=ours)


def test_families_are_told_apart_by_what_is_used(published):
    """Also without the arrays that their models never use."""
    state, meta = published
    used = {name: array for name, array in state.items() if name not in meta["no_grad_params"]}
    assert family_of(state) == family_of(used) == meta["family"]
    assert family_of({"stem.weight": np.zeros(2), "block.0.mlp.w": np.zeros(2)}) is None


def test_counters_without_their_normalisation_are_refused():
    with pytest.raises(ValueError, match="junk"):
        import_state({"junk.num_batches_tracked": np.zeros(()), "head.bias": np.zeros(2)}, family="sdt")


@pytest.mark.parametrize("change", [{"head.weight": np.zeros(10)}, {"patch_embed.proj_conv.weight": np.zeros(3)}])
def test_impossible_shapes_are_named(change):
    state = {
        "head.weight": np.zeros((10, 8)),
        "patch_embed.proj_conv.weight": np.zeros((1, 3, 3, 3)),
        "block.0.mlp.fc1_conv.weight": np.zeros((32, 8, 1, 1)),
    }
    settings_of(state, family="sdt")
    with pytest.raises(ValueError, match=f"{next(iter(change))} has the impossible shape"):
        settings_of(state | change, family="sdt")


def test_unknown_families_are_refused():
    with pytest.raises(ValueError, match="resnet"):
        import_state({}, family="resnet")
    with pytest.raises(ValueError, match="resnet"):
        settings_of({}, family="resnet")


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="not the weights of a published sdt model"):
        settings_of({"head.weight": np.zeros((10, 8))}, family="sdt")


def test_variables_without_a_name_are_refused():
    with pytest.raises(ValueError, match="params/block0/extra has no name"):
        export_state({"params": {"block0": {"extra": np.zeros(2)}}}, STYLES["sdt"]["other"], depth=1)


def test_the_anchor_keeps_its_name():
    anchor = {"params": {"anchor": np.arange(4, dtype=np.float32)}}
    state = export_state(anchor, STYLES["sdt"]["other"], depth=0)
    np.testing.assert_array_equal(state["anchor"], anchor["params"]["anchor"])
    np.testing.assert_array_equal(import_state(state, family="sdt")["params"]["anchor"], anchor["params"]["anchor"])


def test_layouts():
    conv = np.arange(2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3)
    product = np.arange(8, dtype=np.float32).reshape(2, 4, 1, 1)
    state = {"patch_embed.block0_conv.weight": conv, "block.0.mlp.mlp1_conv.weight": product}
    params = import_state(state, family="spikingformer")["params"]
    kernel = params["stem"]["conv0"]["conv"]["kernel"]
    assert kernel[1, 2, 0, 1] == conv[1, 0, 1, 2]  # (H, W, in, out) from (out, in, H, W)
    assert params["block0"]["mlp"]["up"]["linear"]["kernel"][3, 1] == product[1, 3, 0, 0]
