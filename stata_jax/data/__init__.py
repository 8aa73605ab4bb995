"""Images, batches and augmentation."""
