"""The importer of the authors' weights."""

import numpy as np
import pytest

from stata_jax.models.authors import import_state, our_path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("patch_embed.block3_conv.weight", "params/stem/conv3/conv/kernel"),
        ("patch_embed.proj_conv.weight", "params/stem/conv0/conv/kernel"),
        ("patch_embed.proj4_bn.running_var", "batch_stats/stem/conv4/norm/var"),
        ("block.11.attn.q_bn.weight", "params/block11/attention/q/norm/scale"),
        ("block.0.attn.proj_conv.bias", "params/block0/attention/projection/linear/bias"),
        ("block.0.mlp.mlp2_conv.weight", "params/block0/mlp/down/linear/kernel"),
        ("head.bias", "params/head/bias"),
    ],
)
def test_names(key, path):
    assert "/".join(our_path(key, family="spikingformer")) == path


def test_unused_arrays_have_no_place():
    for key in ("block.0.norm1.weight", "block.3.norm2.bias", "patch_embed.block0_bn.num_batches_tracked"):
        assert our_path(key, family="spikingformer") is None


@pytest.mark.parametrize("key", ["block.0.attn.z_conv.weight", "pos_embed", "head.scale", "patch_embed.block0_bn.mean"])
def test_unknown_arrays_are_refused(key):
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        our_path(key, family="spikingformer")


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="resnet"):
        import_state({}, family="resnet")


def test_layouts():
    conv = np.arange(2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3)
    product = np.arange(8, dtype=np.float32).reshape(2, 4, 1, 1)
    state = {"patch_embed.block0_conv.weight": conv, "block.0.mlp.mlp1_conv.weight": product}
    params = import_state(state, family="spikingformer")["params"]
    kernel = params["stem"]["conv0"]["conv"]["kernel"]
    assert kernel[1, 2, 0, 1] == conv[1, 0, 1, 2]  # (H, W, in, out) from (out, in, H, W)
    assert params["block0"]["mlp"]["up"]["linear"]["kernel"][3, 1] == product[1, 3, 0, 0]
