"""A source of batches from Python: NumPy arrays, and nothing of the package's own sources."""

import numpy as np

from stata_jax import config

SETTINGS = {
    "data.source": "none",
    "data.image_size": 16,
    "data.num_classes": 3,
    "model.dim": 16,
    "model.heads": 2,
    "model.depth": 1,
    "sparsity.prune_at": (0,),
    "align.alpha": 0.0,
    "align.beta": 0.0,
    "train.batch_size": 4,
    "train.epochs": 2,
    "train.warmup_epochs": 0.5,
    "train.log_every": 2,
    "train.kernels": "plain",  # compiled in two thirds of the time
    "eval.batch_size": 6,
}


def settings(**changes):
    return config.load("digits", SETTINGS | {key.replace("__", "."): value for key, value in changes.items()})


class TinySource:
    """Twelve images of three brightnesses to train on, seven to test on; `spoilt` steps show a NaN pixel."""

    train_examples, test_examples, num_classes, image_shape = 12, 7, 3, (16, 16, 1)
    steps_per_epoch, test_steps = 3, 2

    def __init__(self, *, spoilt=()):
        self.spoilt, self.asked = spoilt, []

    def _images(self, labels, seed):
        noise = np.random.default_rng(seed).normal(0, 0.05, (len(labels), *self.image_shape))
        return np.clip(0.2 + 0.3 * labels[:, None, None, None] + noise, 0, 1).astype(np.float32)

    def train_batch(self, epoch, step):
        self.asked.append((epoch, step))
        labels = np.arange(4 * step, 4 * step + 4, dtype=np.int32) % 3
        images = self._images(labels, [epoch, step])
        if 3 * epoch + step + 1 in self.spoilt:
            images[1, 3, 4] = np.nan
        return {"image": images, "label": labels}

    def test_batch(self, step):
        numbers = np.arange(6 * step, 6 * step + 6, dtype=np.int32)
        labels = numbers % 3
        return {"image": self._images(labels, [9, step]), "label": labels, "mask": numbers < 7}
