"""The network."""

from stata_jax.config.option import FIXED, NETWORK, Option
from stata_jax.config.rules import ABOVE_ZERO, SWITCH, at_least, name_in, one_of, text, whole
from stata_jax.registries import DTYPES, FAMILIES, NEURONS

# fmt: off
OPTIONS = {
    "model.family": Option("spikingformer", name_in(FAMILIES), NETWORK,
        "spikformer, spikingformer, or sdt, the Spike-driven Transformer."),
    "model.timesteps": Option(4, whole(1, 4_096), FIXED,
        "T, how often a static image is shown, and the frames of a recording."),
    # The first convolution of the stem has an eighth of the width.
    "model.dim": Option(384, whole(1, 65_536, multiple=8), NETWORK,
        "D, the token width."),
    "model.depth": Option(4, whole(1, 1_024), NETWORK,
        "L, the number of blocks."),
    "model.heads": Option(12, whole(1, 65_536), NETWORK,
        "h, the number of attention heads, a divisor of the width."),
    "model.mlp_ratio": Option(4, whole(1, 256), NETWORK,
        "Hidden width of the MLP over the token width."),
    "model.pooling": Option("0011", text("must be four digits that are 0 or 1, such as 0011", "[01]{4}"), NETWORK,
        "Which of the four stages after the first convolution halve the image. Two pools make patches of 4x4 pixels "
        "(0011, the CIFAR stem), four of 16x16 (1111, the ImageNet stem)."),
    "model.attention_scale": Option(0.125, ABOVE_ZERO, NETWORK,
        "s of Equation 8, a constant whatever the head width."),
    "model.qkv_bias": Option(False, SWITCH, NETWORK,
        "Biases of q, k and v; true for Spikformer's CIFAR models."),
    "model.dvs_mode": Option(False, SWITCH, NETWORK,
        "sdt: max-pools k, v and what they make, as for CIFAR10-DVS."),
    "model.neuron": Option("lif", one_of(NEURONS), NETWORK,
        "lif, or plif: each layer learns its time constant."),
    "model.tau": Option(2.0, at_least(1), NETWORK,
        "Membrane time constant of the neurons, in timesteps; for plif the initial one."),
    "model.threshold": Option(1.0, ABOVE_ZERO, NETWORK,
        "V_th of every neuron but the one after attention."),
    "model.attention_threshold": Option(0.5, ABOVE_ZERO, NETWORK,
        "V_th of the neuron after attention."),
    "model.surrogate_alpha": Option(4.0, ABOVE_ZERO, FIXED,
        "Slope of the sigmoid surrogate gradient."),
    "model.dtype": Option("float32", one_of(DTYPES), FIXED,
        "Type of convolutions and matmuls; the membrane is always float32."),
}
