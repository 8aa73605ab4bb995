"""Builders of tensorflow-datasets that read the published files; they work without TensorFlow."""
