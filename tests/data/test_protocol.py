"""Every source is a Source."""

from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import Source
from stata_jax.registries import SOURCES


def test_the_digits_are_a_source():
    options = SourceOptions(train_examples=8, test_examples=8, size=8, batch_size=4, eval_batch_size=4, seed=0)
    assert isinstance(SOURCES["digits"](options), Source)


def test_an_object_without_the_methods_is_none():
    class Half:
        num_classes = train_examples = test_examples = steps_per_epoch = test_steps = 1
        image_shape = (1, 1, 1)

        def train_batch(self, epoch: int, step: int) -> dict:
            return {}

    assert not isinstance(Half(), Source)
