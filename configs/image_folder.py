"""Your own pictures: a folder with `train` and `val` (or `test`), and in each a folder with the pictures of each class.

    python -m stata_jax.main --config=configs/image_folder.py --config.data.path=DIR --config.data.num_classes=5
    python -m stata_jax.main --config=configs/image_folder.py:sdt-dense --config.data.path=DIR ...

The argument is a family (spikingformer, spikformer, sdt), a way to prune, or both: `configs/variants.py`. Needs the
extra `imagenet`. Classes are numbered in the order of their names. Pictures may have any format that Pillow reads and
any size: 16 bits are scaled to 8, transparent ones lie on white, EXIF turns them upright, damaged ones are named and
left out. Random crops train, the middle of a picture tests. `data.channels=1` with `data.mean=0.45` and `data.std=0.23`
reads them as grey.

The network is that of CIFAR-100, on 128x128 pixels in 64 patches; nothing of it has been tuned for anything.
"""

from ml_collections import ConfigDict

from stata_jax.configs import cifar100, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = cifar100.get_config(variant)
    variants.name(config, "image_folder", *variants.parse(variant))
    config.data.source = "image_folder"
    config.data.image_size = 128
    config.data.num_classes = 10
    config.data.mean = (0.485, 0.456, 0.406)
    config.data.std = (0.229, 0.224, 0.225)
    config.augment.crop_scale = (0.3, 1.0)
    config.model.pooling = "1111"
    config.train.epochs = 110
    config.train.batch_size = 32
    config.train.warmup_epochs = 5.0
    config.augment.mix_off_epoch = 80
    config.eval.batch_size = 32
    return config
