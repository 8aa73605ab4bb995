"""A data set and an augmentation from outside the package: a file, and a line for each that gives it a name."""

import jax
import numpy as np
import pytest
import tiny_source

from stata_jax import build
from stata_jax.registries import AUGMENTATIONS, SOURCES
from stata_jax.train import train

OWN = '''
import jax
import numpy as np
from stata_jax.data.arrays import ArraySource

def open_stripes(options):
    """Images of one colour, and of stripes."""
    labels = np.arange(12) % 2
    images = np.zeros((12, 16, 16, 1), np.uint8)
    images[labels == 1, ::2] = 255
    return ArraySource((images, labels), (images[:6], labels[:6]), options, num_classes=2)

def negative(key, images):
    """Inverts the images of a batch, all or none of them."""
    return jax.numpy.where(jax.random.bernoulli(key), 255 - images, images)
'''


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Registers both for one test."""
    for registry in (SOURCES, AUGMENTATIONS):
        for name, names in vars(registry).items():
            monkeypatch.setattr(registry, name, dict(names))
    (tmp_path / "my_data.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    SOURCES.register("stripes", "my_data:open_stripes")
    AUGMENTATIONS.register("negative", "my_data:negative")
    changes = dict(data__source="stripes", data__num_classes=2, augment__extra="negative")
    return tiny_source.settings(**changes, train__batch_size=6, train__epochs=1)


def test_what_is_registered_is_opened_applied_and_trained_with(settings, tmp_path):
    source = build.source(settings)
    assert (source.steps_per_epoch, source.num_classes) == (2, 2)
    batch = source.train_batch(0, 0)
    images = np.asarray(batch["image"])
    np.testing.assert_array_equal(images.max((1, 2, 3)), 255 * np.asarray(batch["label"]))
    augment = jax.jit(build.augment(settings, steps_per_epoch=2))
    seen = {np.asarray(augment(jax.random.key(i), batch["image"], batch["label"], 0)[0]).tobytes() for i in range(8)}
    assert seen == {(part / np.float32(255)).astype(np.float32).tobytes() for part in (images, 255 - images)}
    summary = train(settings, tmp_path / "run")
    assert summary["test_images"] == 6 and (tmp_path / "run" / "metrics.jsonl").exists()
