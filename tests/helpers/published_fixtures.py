"""The fixtures of the published models: their arrays, what is said of them, and the settings that both tell."""

import json

import numpy as np

from stata_jax.models.infer import settings_of


def read(path):
    """The arrays of a fixture by name, and its meta data."""
    with np.load(path) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return found, json.loads(str(found.pop("meta")))


def group(arrays, prefix):
    """Arrays named `prefix/...`, without that."""
    return {name.removeprefix(f"{prefix}/"): x for name, x in arrays.items() if name.startswith(f"{prefix}/")}


def settings(arrays, meta):
    """The settings of the model, in the words of `stata_jax.models.transformer.SpikingTransformer`."""
    told, assumed = settings_of(group(arrays, "state"), family=meta["family"])
    return dict(
        num_classes=meta["classes"],
        timesteps=meta["T"],
        dim=meta["dim"],
        depth=meta["depth"],
        heads=meta["heads"],
        mlp_ratio=meta["mlp_ratio"],
        pooling=meta["pooling"] if "pooling" in meta else f"{'1' * int(np.log2(meta['patch'])):0>4}",
        attention_scale=meta.get("attn_scale", 0.125),
        dvs_mode=meta.get("dvs_mode", False),
        neuron=meta.get("spike_mode", "lif"),
        qkv_bias=told["model.qkv_bias"],  # these two are no part of meta
        tau=assumed["model.tau"],
    )
