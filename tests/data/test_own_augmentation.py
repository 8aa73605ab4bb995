"""An augmentation from outside the package: one function, which a config names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import build, config
from stata_jax.registries import AUGMENTATIONS

BLINDS = '''
import jax
import jax.numpy as jnp

def black_row(key, images):
    """Blackens one row of each image."""
    rows = jax.random.randint(key, images.shape[:1], 0, images.shape[1])
    black = jnp.arange(images.shape[1]) == rows[:, None]
    return jnp.where(black[:, :, None, None], 0, images)

def invert(key, images):
    return 255 - images
'''


@pytest.fixture(autouse=True)
def blinds(tmp_path, monkeypatch):
    (tmp_path / "my_blinds.py").write_text(BLINDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(AUGMENTATIONS, "_entries", {})


def augmented(extra):
    settings = config.load("digits", {"augment.extra": extra, "data.channels": 3})
    config.check(settings)
    images = jnp.full((8, 32, 32, 3), 200, jnp.uint8)
    made, _ = build.augment(settings, steps_per_epoch=1)(
        jax.random.key(3), images, jnp.zeros(8, jnp.int32), jnp.int32(0)
    )
    return np.asarray(made)


def test_a_function_of_ones_own_is_applied():
    made = augmented("my_blinds:black_row")
    black = (made == 0).all(axis=(2, 3))
    assert (black.sum(axis=1) == 1).all() and len(set(black.argmax(axis=1))) > 1
    np.testing.assert_allclose(made[~black], 200 / 255, rtol=1e-6)


def test_several_are_applied_in_their_order_by_place_or_by_name():
    AUGMENTATIONS.register("invert", "my_blinds:invert")
    made = augmented("my_blinds:black_row,invert")
    assert ((made == 1).all(axis=(2, 3)).sum(axis=1) == 1).all()
    made = augmented("invert,my_blinds:black_row")
    assert ((made == 0).all(axis=(2, 3)).sum(axis=1) == 1).all() and made.max() == pytest.approx(55 / 255)


def test_what_is_nowhere_is_refused_at_once():
    with pytest.raises(
        config.ConfigError, match=r"augment\.extra is 'blur', but it must be module:object of functions"
    ):
        augmented("blur")
