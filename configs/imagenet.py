"""ImageNet as in the paper: 224x224 images in 196 patches, T = 4, 310 epochs, batch 128 over eight GPUs.

    python -m stata_jax.main --config=configs/imagenet.py
    python -m stata_jax.main --config=configs/imagenet.py:spikformer --config.model.dim=512

The argument is a family (spikingformer, spikformer, sdt), a way to prune, or both: `configs/variants.py`. Needs the
extra `imagenet`, and one of three forms of the data:

- in `data.manual_dir` the archives `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar`, which are prepared once;
  the second alone suffices to evaluate, and is read as it is;
- in `data.manual_dir` folders `train` and `val` with a folder a class, `n01440764` and so on; `val` may be flat;
- in `data.data_dir` what tensorflow-datasets has prepared as `imagenet2012`.

Meant for eight GPUs of 24 GB, as in the paper; `train.accumulate` makes it fit fewer or smaller ones. A GPU's share of
16 images needs 7.5 GB as compiled for a processor; on GPUs that has not been tried.

Each family as in its authors' file. Spikformer and Spikingformer train on whole images, squeezed to a square
(`augment.crop_scale` (1, 1)), and test on the middle square without a margin (`data.test_crop` 1.0); the Spike-driven
Transformer trains on random crops (0.08, 1) and tests on 0.95 of the shorter side. Random crops for all families:
`--config.augment.crop_scale=0.08,1.0`; the usual test: `--config.data.test_crop=0.875`. Mixing ends in none of them.

The paper gives AdamW, 310 epochs and batch 128, and says nothing of the rest; Spikformer's and Spikingformer's files
have 24 and 36 images a GPU, the Spike-driven Transformer's 36, and LAMB. That one's file also asks for repeated
augmentation and stochastic depth, which are not here; its program leaves the latter without effect.

Top-1 in the paper: Spikformer-8-768 74.81 dense, 74.03 with STATA at keep rate 0.2 (random tokens 70.13, SSA 70.45). No
run of this config has been made here.
"""

from ml_collections import ConfigDict

from stata_jax.configs import variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = variants.start("imagenet", variant)
    family = config.model.family

    config.data.source = "imagenet"
    config.data.image_size = 224
    config.data.channels = 3
    config.data.num_classes = 1000
    config.data.train_examples = config.data.test_examples = 0
    config.data.mean = (0.485, 0.456, 0.406)
    config.data.std = (0.229, 0.224, 0.225)

    config.augment.flip = True
    config.augment.erasing_noise = False
    config.augment.randaugment_count = 2
    config.augment.randaugment_std = 0.5
    config.augment.cutmix = 1.0
    if family == "sdt":
        config.data.test_crop = 0.95
        config.augment.crop_scale = (0.08, 1.0)
        config.augment.randaugment_magnitude = 7.0
        config.augment.mixup = 0.2
    else:
        config.data.test_crop = 1.0
        config.augment.mixup = 0.8
        config.augment.erasing = 0.25

    config.model.pooling = "1111"
    config.model.timesteps = 4
    config.model.dim, config.model.depth, config.model.heads = 768, 8, 8

    config.train.epochs = 310
    config.train.cooldown_epochs = 10
    config.train.schedule_by = "epoch"
    config.train.batch_size = 128
    config.train.warmup_epochs = 20.0
    config.eval.batch_size = 128
    if family == "sdt":
        config.train.optimizer = "lamb"
        config.train.grad_clip = 1.0  # what timm's LAMB does by itself
        config.train.learning_rate = 1e-3
        config.train.min_learning_rate = 2e-5
        config.train.warmup_learning_rate = 1e-5
        config.train.weight_decay = 0.01
    else:
        config.train.learning_rate = 5e-4
        config.train.min_learning_rate = 1e-5
        config.train.warmup_learning_rate = 1e-6
        config.train.weight_decay = 0.05
    return config
