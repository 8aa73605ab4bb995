"""What a data set is opened with: one object for all of them, of which each reads what it needs."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """The options of data; by default those that most data sets do not read.

    They are named as in `stata_jax.config.options.data`, which explains them. `timesteps`, `crop_scale`, `seed` and the
    batch sizes, which are over all processes, come from other groups.

    Attributes:
      size: Height and width of a drawn digit, in pixels, as are `clutter`, `fragment` and `noise` of it.
      threshold: Of the simulated sensor, as is `noise_hz`.
      process_index: Which process this is.
      process_count: How many share each batch.
    """

    source: str = ""
    data_dir: str = ""
    manual_dir: str = ""
    path: str = ""
    image_size: int = 32
    channels: int = 1
    num_classes: int = 10
    train_examples: int = 0
    test_examples: int = 0
    test_seed: int = 0
    workers: int = 0
    frames: str = "count"
    split: str = "published"
    test_crop: float = 0.875
    crop_scale: tuple[float, float] = (1.0, 1.0)
    size: int = 16
    clutter: int = 0
    fragment: int = 8
    noise: float = 0.0
    threshold: float = 0.3
    noise_hz: float = 0.0
    timesteps: int = 4
    batch_size: int
    eval_batch_size: int
    seed: int
    process_index: int = 0
    process_count: int = 1
