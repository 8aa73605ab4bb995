"""What training asks of a data set: a source of batches, and the error of data that cannot be used."""

from typing import Any, Protocol, runtime_checkable


class DataError(ValueError):
    """Data that is missing, damaged or too small; the message is one sentence for the user."""


@runtime_checkable
class Source(Protocol):
    """Batches of a data set. The same (seed, epoch, step) gives the same batch, so a run resumes by asking for it.

    Any object with these properties and methods will do: `stata_jax.train.train(settings, workdir, source=...)` trains
    on it. Its arrays may be NumPy's or JAX's.

    An image is an array of `image_shape`, (H, W, C), or (T, H, W, 2) for a recording of events in T frames. uint8
    images mean 0 to 255, float32 images 0 to 1; event frames are counts.

    A source that knows where the object is has `corner` in its batches too, int32, (B, 2), or (B, T, 2) where it moves:
    row and column of the top left pixel of its box, which is as large as all others and may stick out of the picture.

    In several processes, each source returns the process's own part of every batch.
    """

    @property
    def train_examples(self) -> int:
        """Training images per epoch."""

    @property
    def test_examples(self) -> int:
        """Test images."""

    @property
    def num_classes(self) -> int:
        """Number of classes that there are images of."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image."""

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over is not shown in that epoch."""

    @property
    def test_steps(self) -> int:
        """Batches that hold every test image; the last may be padded."""

    def train_batch(self, epoch: int, step: int) -> dict[str, Any]:
        """Batch `step` of an epoch: `image` (B, ...) and `label` (B,) int32."""

    def test_batch(self, step: int) -> dict[str, Any]:
        """Batch `step` of the test set: the same and `mask` (B,) bool, False where an image only pads the batch."""
