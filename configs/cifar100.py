"""CIFAR-100 as in the paper: 32x32 images in 64 patches, T = 4, 310 epochs, batch 192, one GPU.

    python -m stata_jax.main --config=configs/cifar100.py
    python -m stata_jax.main --config=configs/cifar100.py:sdt-dense

The argument is a family (spikingformer, spikformer, sdt), a way to prune, or both: `configs/variants.py`. The archive
`cifar-100-python.tar.gz` is downloaded once, or taken from `data.manual_dir`, where it, or that of the binary batches,
may be packed or unpacked. A training step needs 5.6 GB (dense: 7.2 GB) as compiled for a processor and, without
augmentation, 3.7 GB (5.8 GB) as compiled for an H100.

Top-1 in the paper, dense and with STATA at keep rate 0.2: Spikingformer-4-384 80.0 and 79.9 (18.74 and 12.16 GB of an
RTX 3090), Spikformer-4-384 77.9 and 77.7, Spike-driven Transformer 2-512 78.4 and 78.1. No run of this config has been
made here.

From the paper: 310 epochs, batch 192, AdamW. From each family's authors, whose files the paper follows without saying
which of their values it changes: rates, warm-up, decay, heads and augmentation.

- No crop: their files ask timm for crops of the whole image. Padded crops, which are common for CIFAR and may well
  help, are `--config.augment.crop_padding=4`.
- RandAugment draws from timm's fifteen operations; Spikformer's authors left five of them
  (`augment.randaugment_operations`).
- Mixup goes on to the end. Their files name epoch 200 as its end, but their programs tell that to the wrong copy of an
  object, and it goes on; `--config.augment.mix_off_epoch=200` is what is written.
- Images are normalised by CIFAR-10's mean and deviation, as in Spikingformer's file for CIFAR-100. The Spike-driven
  Transformer's file has CIFAR-100's own: `--config.data.mean=0.5071,0.4867,0.4408
  --config.data.std=0.2675,0.2565,0.2761`.
- Their epochs and batches, of which the paper's differ: Spikformer 300 + 10 and 128, Spikingformer 400 + 10 and 64,
  Spike-driven Transformer 300 + 10 and 64.
"""

from ml_collections import ConfigDict

from stata_jax.configs import variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = variants.start("cifar100", variant)
    family = config.model.family

    config.data.source = "cifar100"
    config.data.channels = 3
    config.data.num_classes = 100
    config.data.train_examples = config.data.test_examples = 0
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2470, 0.2435, 0.2616)

    config.augment.flip = True
    config.augment.erasing_noise = False
    config.augment.randaugment_count = 1
    config.augment.randaugment_operations = "five" if family == "spikformer" else "fifteen"
    config.augment.randaugment_std = 0.4
    config.augment.mixup = 0.5
    if family != "sdt":
        config.augment.erasing = 0.25

    config.model.pooling = "0011"
    config.model.timesteps = 4
    config.model.dim, config.model.depth = (512, 2) if family == "sdt" else (384, 4)
    config.model.heads = 12 if family == "spikformer" else 8
    config.model.qkv_bias = family == "spikformer"

    config.train.epochs = 310
    config.train.cooldown_epochs = 10
    config.train.schedule_by = "epoch"
    config.train.batch_size = 192
    config.train.learning_rate = 3e-4 if family == "sdt" else 5e-4
    config.train.min_learning_rate = 1e-5
    config.train.warmup_epochs = 20.0
    config.train.warmup_learning_rate = 1e-6 if family == "sdt" else 1e-5
    config.train.weight_decay = 0.06
    return config
