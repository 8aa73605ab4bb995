"""The network."""

from stata_jax.config.option import Option, Resume
from stata_jax.config.rules import ABOVE_ZERO, SWITCH, at_least, name_in, one_of, text, whole
from stata_jax.registries import DTYPES, FAMILIES, NEURONS

OPTIONS = {
    "model.family": Option(
        "spikingformer",
        name_in(FAMILIES),
        "spikformer, spikingformer, or sdt, the Spike-driven Transformer.",
        Resume.NETWORK,
    ),
    "model.timesteps": Option(4, whole(1), "T."),
    # The first convolution of the stem has an eighth of the width.
    "model.dim": Option(384, whole(1, multiple=8), "D, the token width.", Resume.NETWORK),
    "model.depth": Option(4, whole(1), "L, the number of blocks.", Resume.NETWORK),
    "model.heads": Option(12, whole(1), "h, the number of attention heads, a divisor of the width.", Resume.NETWORK),
    "model.mlp_ratio": Option(4, whole(1), "Hidden width of the MLP over the token width.", Resume.NETWORK),
    "model.pooling": Option(
        "0011",
        text("must be four digits that are 0 or 1, such as 0011", "[01]{4}"),
        "Which of the four stages after the first convolution halve the image. Two pools make patches of 4x4 pixels "
        "(0011, the CIFAR stem), four of 16x16 (1111, the ImageNet stem).",
        Resume.NETWORK,
    ),
    "model.attention_scale": Option(
        0.125, ABOVE_ZERO, "s of Eq. 8, a constant whatever the head width.", Resume.NETWORK
    ),
    "model.qkv_bias": Option(
        False, SWITCH, "Biases of q, k and v; true for Spikformer's CIFAR models.", Resume.NETWORK
    ),
    "model.dvs_mode": Option(
        False, SWITCH, "sdt: max-pools k, v and what they make, as for CIFAR10-DVS.", Resume.NETWORK
    ),
    "model.neuron": Option(
        "lif", one_of(NEURONS), "lif, or plif: each layer learns its time constant.", Resume.NETWORK
    ),
    "model.tau": Option(
        2.0,
        at_least(1),
        "Membrane time constant of the neurons, in timesteps; for plif the initial one.",
        Resume.NETWORK,
    ),
    "model.threshold": Option(1.0, ABOVE_ZERO, "V_th of every neuron but the one after attention.", Resume.NETWORK),
    "model.attention_threshold": Option(0.5, ABOVE_ZERO, "V_th of the neuron after attention.", Resume.NETWORK),
    "model.surrogate_alpha": Option(4.0, ABOVE_ZERO, "Slope of the sigmoid surrogate gradient."),
    "model.dtype": Option(
        "float32", one_of(DTYPES), "Type of convolutions and matmuls; the membrane is always float32."
    ),
}
