"""Optimisation: linear warm-up, then cosine, then the minimum rate."""

from stata_jax.config.option import FIXED, FREE, RECORDED, Option
from stata_jax.config.rules import (
    ABOVE_ZERO,
    BELOW_ONE,
    KERNEL_CHOICE,
    PATTERN,
    SWITCH,
    at_least,
    number,
    one_of,
    whole,
    within,
)
from stata_jax.registries import BATCH_NORMS, LOSSES, ON_NONFINITE, OPTIMIZERS, SCHEDULES

# fmt: off
OPTIONS = {
    "train.epochs": Option(310, whole(1, 1_000_000), RECORDED,
        "Epochs in all: warm-up, cosine and cool-down."),
    "train.batch_size": Option(192, whole(1, 1_048_576), FIXED,
        "Examples of an update, over all devices."),
    "train.accumulate": Option(1, whole(1, 1_048_576), RECORDED,
        "Micro-batches that each device's share of a batch is split into. They are computed one after the other, with "
        "one update for all: the memory of one of them, in more time. Each is normalised by its own statistics."),
    "train.optimizer": Option("adamw", one_of(OPTIMIZERS), FIXED,
        "adamw, or lamb as in timm. The published recipes with lamb also clip: train.grad_clip 1."),
    "train.learning_rate": Option(5e-4, ABOVE_ZERO, RECORDED,
        "Learning rate at the peak."),
    "train.min_learning_rate": Option(1e-5, at_least(0), RECORDED,
        "Learning rate at the end of the cosine, and in the cool-down."),
    "train.warmup_epochs": Option(20.0, at_least(0), RECORDED,
        "Epochs of the warm-up."),
    "train.warmup_learning_rate": Option(1e-5, at_least(0), RECORDED,
        "Learning rate at the first step."),
    "train.cooldown_epochs": Option(0, whole(0, 1_000_000), RECORDED,
        "Of train.epochs, the last ones, at the minimum rate. Recipes that give epochs and cool-down apart, such as "
        "300 and 10, have train.epochs 310 and train.cooldown_epochs 10 here."),
    "train.schedule_by": Option("step", one_of(SCHEDULES), RECORDED,
        "Whether the rate changes at every step or every epoch. step: the cosine starts where the warm-up ends; epoch: "
        "constant within an epoch, with a cosine that runs from epoch 0 behind the warm-up, as the published models "
        "were trained (timm)."),
    "train.base_batch_size": Option(0, whole(0, 1_048_576), RECORDED,
        "Batch size that the three rates are meant for; 0: they stand as they are. All of them are multiplied by "
        "batch_size / base_batch_size, the linear rule: k times the batch makes a k-th of the updates, and each goes k "
        "times as far. 0 is the default, for recipes give rates for their own batch, and with adaptive optimisers the "
        "rule goes too far (the square root of the ratio is common there)."),
    "train.weight_decay": Option(0.06, at_least(0), FIXED,
        "Weight decay, on matrices and kernels only."),
    "train.grad_clip": Option(0.0, at_least(0), RECORDED,
        "Largest global norm of the gradient; 0: no clipping."),
    "train.ema_decay": Option(0.0, BELOW_ONE, FIXED,
        "Decay of running averages of the weights, which evaluation uses; 0: none. The running statistics are averaged "
        "too. Both start from the initial ones: ema = ema_decay * ema + (1 - ema_decay) * new, after each update. "
        "0.9998 is common in long runs."),
    "train.frozen": Option("", PATTERN, FIXED,
        "Parameters that keep their initial values: a regular expression that is found in their paths, such as "
        "attention/[qk]/ or ^head/, or those of init_from; empty: none. Running statistics move on, and "
        "train.grad_clip counts their gradients."),
    "train.on_nonfinite": Option("stop", one_of(ON_NONFINITE), RECORDED,
        "What to do when the loss, the gradient or what they lead to is not finite. stop: end the run with exit code "
        "3, and keep the last checkpoint, which is finite; skip: leave such an update out, and count it. 16 in a row "
        "end the run as well."),
    "train.loss": Option("cross_entropy", one_of(LOSSES), FIXED,
        "cross_entropy, of the logits averaged over time, or tet, of each timestep's."),
    "train.tet_means": Option(1.0, number("must be a number"), FIXED,
        "tet: what its second term draws all logits to."),
    "train.tet_lambda": Option(0.001, within(0, 1), FIXED,
        "tet: weight of its second term."),
    "train.batch_norm": Option("all", one_of(BATCH_NORMS), FIXED,
        "Over what a batch is normalised in training. all: over all devices, as one device would; device: each by its "
        "own share, as the published models were trained, with running statistics that are the mean of the devices'."),
    "train.kernels": Option("auto", KERNEL_CHOICE, FREE,
        "Operations of the network. auto, cpu or gpu: kernels that suit the hardware; plain: those that read like the "
        "equations of the paper. auto-max_pool: all but those named, of which lif and normalize are used "
        "outside of matmul_norm_lif alone. The same results; the environment variable "
        "STATA_KERNELS goes before it."),
    "train.lean": Option(True, SWITCH, FREE,
        "Saves spikes as uint8 residuals: the same gradients with less memory."),
    "train.recompute": Option(False, SWITCH, FREE,
        "Rematerialises matmuls: the same gradients with much less memory. A step takes about a tenth more time. It "
        "needs train.lean, and does so where the result is no narrower than the input, neurons follow, and each value "
        "is a sum of 1024 at most. Where it is a sum of 32 at most, as in a convolution of images, that is always "
        "done."),
    "train.cpu_devices": Option(1, whole(1, 1_024), RECORDED,
        "On a processor: as how many devices it works, each on its share of the batch. 1: one device that divides its "
        "matmuls among its threads. The devices draw random numbers of their own, so another number is another run; "
        "accelerators are all used, whatever this says."),
    "train.cpu_threads": Option(0, whole(0, 4_096), FREE,
        "On a processor: threads of each device. 0: one for each of several devices, and as many as there are cores "
        "for a single one. With one, sums are in the same order whatever the number of cores, and small networks are "
        "as fast."),
    "train.log_every": Option(50, whole(1), FREE,
        "Steps between two lines of metrics.jsonl."),
}
