"""TensorFlow Datasets builders of the published event data sets; they work without TensorFlow."""
