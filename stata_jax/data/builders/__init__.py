"""TFDS builders that read the published archives without TensorFlow."""
