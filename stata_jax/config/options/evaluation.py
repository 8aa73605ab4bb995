"""Evaluation and checkpoints."""

from stata_jax.config.option import Option, Resume
from stata_jax.config.rules import at_least, whole

OPTIONS = {
    "eval.batch_size": Option(
        200, whole(1), "Examples of a test batch, over all devices. The last batch is padded and masked.", Resume.FREE
    ),
    "eval.every_epochs": Option(
        1, whole(1), "Epochs between evaluations, at each of which there is a checkpoint.", Resume.FREE
    ),
    "checkpoint.every_steps": Option(
        0, whole(0), "Steps between further checkpoints, between evaluations; 0: none.", Resume.FREE
    ),
    "checkpoint.every_minutes": Option(
        10.0, at_least(0), "Minutes without a checkpoint after which there is one more; 0: none.", Resume.FREE
    ),
    "checkpoint.keep": Option(1, whole(1), "Newest checkpoints kept, beside the best one.", Resume.FREE),
}
