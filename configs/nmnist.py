"""N-MNIST: digits before a moving camera of 34x34 pixels, T = 8 frames of equal event count, 64 patches of 4x4 pixels.

    python -m stata_jax.main --config=configs/nmnist.py
    python -m stata_jax.main --config=configs/nmnist.py:sdt-dense

The argument is a family, a way to prune, or both: `configs/variants.py`. The published `Train.zip` and `Test.zip`, or
the folders in them, go to `data.manual_dir`; a part of the recordings will do.

Patches of 4x4 pixels do not divide 34. One pixel is cut off at each border, which leaves 32x32 as for CIFAR and loses
0.4 % of the events; `--config.data.image_size=36` adds one instead, for 81 patches. There is no augmentation, since a
mirrored digit is another one, or none.

The paper has no N-MNIST; this is the network that it has for other recordings, and no run of it has been made here. A
smaller one, for a processor and a part of the recordings:

    python -m stata_jax.main --config=configs/nmnist.py --config.model.dim=64 --config.model.heads=4 \\
        --config.model.pooling=1100 --config.train.batch_size=20 --config.train.epochs=20 \\
        --config.train.warmup_epochs=2 --config.train.cpu_threads=1

With 1,000 training and 100 test recordings it comes to 91 %, one test recording being one point, in four minutes of one
core of an EPYC.
"""

from ml_collections import ConfigDict

from stata_jax.configs import variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = variants.start("nmnist", variant)

    config.data.source = "nmnist"
    config.data.image_size = 32
    config.data.channels = 2
    config.data.num_classes = 10
    config.data.train_examples = config.data.test_examples = 0

    config.model.pooling = "0011"
    config.model.timesteps = 8
    config.model.dim, config.model.depth, config.model.heads = 256, 2, 8 if config.model.family == "sdt" else 16

    config.train.epochs = 50
    config.train.batch_size = 128
    config.train.learning_rate = 1e-3
    config.train.min_learning_rate = 1e-5
    config.train.warmup_epochs = 5.0
    config.train.warmup_learning_rate = 1e-5
    config.eval.batch_size = 100
    return config
