"""A data set from outside the package: one file, and one line that gives it a name."""

import numpy as np
import pytest
import tiny_source

from stata_jax import build
from stata_jax.registries import SOURCES
from stata_jax.train import train

STRIPES = '''
import numpy as np
from stata_jax.data.arrays import ArraySource

def open_stripes(options):
    """Images of one colour, and of stripes."""
    labels = np.arange(12) % 2
    images = np.zeros((12, 16, 16, 1), np.uint8)
    images[labels == 1, ::2] = 255
    return ArraySource((images, labels), (images[:6], labels[:6]), options, num_classes=2)
'''


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    """Registers the data set for one test."""
    for name, names in vars(SOURCES).items():
        monkeypatch.setattr(SOURCES, name, dict(names))
    (tmp_path / "my_stripes.py").write_text(STRIPES)
    monkeypatch.syspath_prepend(tmp_path)
    SOURCES.register("stripes", "my_stripes:open_stripes")
    return tiny_source.settings(data__source="stripes", data__num_classes=2, train__batch_size=6, train__epochs=1)


def test_a_registered_source_is_opened_and_trained_on(stripes, tmp_path):
    source = build.source(stripes)
    assert (source.steps_per_epoch, source.num_classes) == (2, 2)
    batch = source.train_batch(0, 0)
    np.testing.assert_array_equal(np.asarray(batch["image"]).max((1, 2, 3)), 255 * np.asarray(batch["label"]))
    summary = train(stripes, tmp_path / "run")
    assert summary["test_images"] == 6 and (tmp_path / "run" / "metrics.jsonl").exists()
