"""What a value of a config decides: whether it may change in a run that has begun, and with the same weights.

A key that is in none of the three lists is a part of the result, and stays as it is for the whole of a run.
"""

# No part of what is learned: these may change whenever a run goes on. Some have to do with memory and speed alone, and
# then with rounding; others with when and on what is measured, or where files are.
FREE = (
    "name",
    "data.data_dir",
    "data.manual_dir",
    "data.path",
    "data.test_examples",
    "data.workers",
    "train.accumulate",
    "train.lean",
    "train.recompute",
    "train.cpu_threads",
    "train.log_every",
    "eval.batch_size",
    "eval.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.every_minutes",
    "checkpoint.keep",
)

# Parts of the result that a run may go on with: its length and its schedule, what is done against divergence, and the
# number of devices, which draw random numbers of their own. A line says that they have changed.
SAID = (
    "augment.mix_off_epoch",
    "train.epochs",
    "train.learning_rate",
    "train.min_learning_rate",
    "train.warmup_epochs",
    "train.warmup_learning_rate",
    "train.cooldown_epochs",
    "train.schedule_by",
    "train.base_batch_size",
    "train.grad_clip",
    "train.on_nonfinite",
    "train.cpu_devices",
)

# With another value for one of these, the same weights would be another network. The others leave what a network
# computes of its tokens: on how many images, timesteps and tokens, to what precision, how it is trained.
NETWORK = (
    "model.family",
    "model.dim",
    "model.depth",
    "model.heads",
    "model.mlp_ratio",
    "model.pooling",
    "model.attention_scale",
    "model.qkv_bias",
    "model.dvs_mode",
    "model.neuron",
    "model.tau",
    "model.threshold",
    "model.attention_threshold",
    "sparsity.pool",
    "data.channels",
)
