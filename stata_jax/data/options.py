"""What a data set is opened with: one object for all of them, of which each reads what it needs."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """The options of data as a config has them; by default those that most data sets do not read.

    Attributes:
      source: Name of the data set.
      data_dir: Folder of prepared data; empty for TFDS's own.
      manual_dir: Folder of published files; empty for `<data_dir>/downloads/manual`.
      path: Folder of pictures of one's own.
      image_size: Height and width, in pixels.
      channels: Number of channels.
      num_classes: Outputs of the network.
      train_examples: Training images per epoch; 0 for all.
      test_examples: Test images; 0 for all.
      test_seed: What drawn test images follow from.
      workers: Processes that decode; 0 for threads.
      frames: How recordings are cut, `count` or `duration`.
      split: Which recordings train and which test.
      test_crop: Share of the shorter side that testing sees.
      crop_scale: Least and largest share of a picture's area in a training crop.
      size: Height and width of a drawn digit, in pixels.
      clutter: Number of fragments of other digits.
      fragment: Their height and width, in pixels.
      noise: Standard deviation of the pixel noise, on a scale of 0 to 1.
      threshold: Change of log intensity that makes an event.
      noise_hz: Events a second that each pixel sends without a cause.
      timesteps: T, the frames of a recording.
      batch_size: Examples of an update, over all processes.
      eval_batch_size: Examples of a test batch, over all processes.
      seed: What the order of the epochs follows from.
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
