"""DVS128 Gesture as in the paper: what `configs/cifar10_dvs.py` does, with eleven gestures and for longer.

    python -m stata_jax.main --config=configs/dvs128_gesture.py
    python -m stata_jax.main --config=configs/dvs128_gesture.py:sdt

The published `DvsGesture.tar.gz`, or its folder, goes to `data.manual_dir`; its own lists say which trials train and
which test. One GPU with as much memory as for CIFAR10-DVS.

Spikformer's and Spikingformer's augmentation is that of CIFAR10-DVS, mirror images included, in 192 + 10 epochs. The
cutouts that the published programs ran are `--config.augment.event_cutout=area` here too.

Top-1 in the paper, dense and with STATA at keep rate 0.2: Spikingformer-2-256 98.6 and 98.6, Spikformer-2-256 98.3 and
98.3, Spike-driven Transformer 2-256 97.9 and 97.6. No run of this config has been made here. The Spike-driven
Transformer's own authors take patches of 8x8 pixels: `--config.model.pooling=0111`.
"""

from ml_collections import ConfigDict

from stata_jax.configs import cifar10_dvs, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = cifar10_dvs.get_config(variant)
    variants.name(config, "dvs128_gesture", *variants.parse(variant))
    config.data.source = "dvs128_gesture"
    config.data.num_classes = 11
    config.train.batch_size = 16
    if config.model.family == "sdt":
        config.model.dvs_mode = False
        config.train.loss = "cross_entropy"
        config.train.optimizer = "lamb"
        config.train.grad_clip = 1.0  # what timm's LAMB does by itself
        config.train.learning_rate = 3e-4
        config.train.min_learning_rate = 1e-5
        config.train.warmup_learning_rate = 1e-6
        config.train.weight_decay = 0.06
    else:
        config.train.epochs = 202
    return config
