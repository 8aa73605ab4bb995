"""Evaluation and checkpoints."""

from stata_jax.config.option import FREE, Option
from stata_jax.config.rules import at_least, whole

# fmt: off
OPTIONS = {
    "eval.batch_size": Option(200, whole(1, 1_048_576), FREE,
        "Examples of a test batch, over all devices. The last batch is padded and masked."),
    "eval.every_epochs": Option(1, whole(1), FREE,
        "Epochs between evaluations, at each of which there is a checkpoint."),
    "checkpoint.every_steps": Option(0, whole(0), FREE,
        "Steps between further checkpoints, between evaluations; 0: none."),
    "checkpoint.every_minutes": Option(10.0, at_least(0), FREE,
        "Minutes without a checkpoint after which there is one more; 0: none."),
    "checkpoint.keep": Option(1, whole(1), FREE,
        "Newest checkpoints kept, beside the best one."),
}
