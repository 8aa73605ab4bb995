"""The three families in PyTorch with SpikingJelly's neurons: the dense peer that the benchmark times beside ours.

Parameters carry the authors' names, so that their checkpoints load. This file needs the extra `peer`.
"""

import dataclasses
import math

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn
from torch.nn import functional

from stata_jax.models.authors import Style, style_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What a peer is built from: the fields of our models, by the same names.

    Attributes:
      channels: Of the images: 2 for recordings of events.
      channels_last: Whether activations lie in memory with their channels last.
    """

    family: str
    num_classes: int
    channels: int
    timesteps: int
    dim: int
    depth: int
    heads: int
    mlp_ratio: int
    pooling: str
    attention_scale: float
    qkv_bias: bool
    dvs_mode: bool
    neuron: str
    tau: float
    threshold: float
    attention_threshold: float
    surrogate_alpha: float
    channels_last: bool = True

    @property
    def style(self) -> Style:
        """How the authors name this variant's parameters."""
        return style_of(self.family, pooling=self.pooling, qkv_bias=self.qkv_bias, channels=self.channels)


class Matmul(nn.Module):
    """A matmul with a weight over channels, as a 1x1 convolution: oneDNN runs those faster than matmuls.

    Attributes:
      weight: Shape (outputs, inputs, 1, ...): the authors' weights have 0, 1 or 2 axes of length 1.
      bias: Shape (outputs,), or None.
    """

    def __init__(self, inputs: int, outputs: int, *, axes: int, bias: bool) -> None:
        """Makes one with torch's initial values."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(1,) * axes))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-(inputs**-0.5), inputs**-0.5)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (M, inputs, H, W) to (M, outputs, H, W)."""
        return functional.conv2d(x, self.weight.flatten(1)[:, :, None, None], self.bias)


class Layers(nn.Module):
    """A part of a network: its matmuls, normalisations and neurons under the authors' names.

    Activations are (T B, C, H, W), the timesteps of a batch one after another.
    """

    def __init__(self, settings: Settings) -> None:
        """Makes an empty part."""
        super().__init__()
        self.settings = settings

    def add_matmul(self, name: str, inputs: int, outputs: int, *, axes: int, bias: bool) -> None:
        """Adds a matmul and its normalisation; `{}` in the name stands for their kinds."""
        matmul = Matmul(inputs, outputs, axes=axes, bias=bias)
        self.add_module(name.format(self.settings.style.product), matmul)
        self.add_module(name.format("bn"), nn.BatchNorm2d(outputs))

    def add_neurons(self, name: str, *, threshold: float | None = None) -> None:
        """Adds a layer of neurons, of the settings' threshold unless another is given."""
        settings = self.settings
        shared = dict(
            v_threshold=float(settings.threshold if threshold is None else threshold),
            v_reset=0.0,
            decay_input=True,
            detach_reset=True,
            surrogate_function=surrogate.Sigmoid(alpha=settings.surrogate_alpha),
            step_mode="m",
        )
        if settings.neuron == "plif":
            self.add_module(name, neuron.ParametricLIFNode(init_tau=float(settings.tau), **shared))
        else:
            self.add_module(name, neuron.LIFNode(tau=float(settings.tau), **shared))

    def matmul(self, name: str, x: Tensor) -> Tensor:
        """The matmul and the normalisation of this name."""
        return self.get_submodule(name.format("bn"))(self.get_submodule(name.format(self.settings.style.product))(x))

    def spikes(self, name: str, x: Tensor) -> Tensor:
        """The spikes of the neurons of this name."""
        if self.settings.channels_last:
            x = x.permute(0, 2, 3, 1)  # what is contiguous in memory
        x = self.get_submodule(name)(x.unflatten(0, (self.settings.timesteps, -1))).flatten(0, 1)
        return x.permute(0, 3, 1, 2) if self.settings.channels_last else x


class Stem(Layers):
    """The patch embedding of each family."""

    def __init__(self, settings: Settings) -> None:
        """Makes five convolutions and their neurons."""
        super().__init__(settings)
        dim, inputs = settings.dim, settings.channels
        for name, width in zip(settings.style.stem, (dim // 8, dim // 4, dim // 2, dim, dim), strict=True):
            self.add_module(name.format("conv"), nn.Conv2d(inputs, width, 3, padding=1, bias=False))
            self.add_module(name.format("bn"), nn.BatchNorm2d(width))
            inputs = width
        # Spikingformer's first convolution has no neurons, the Spike-driven Transformer's last has none.
        chosen = {"spikingformer": slice(1, 5), "sdt": slice(0, 4)}.get(settings.family, slice(0, 5))
        for name in settings.style.stem[chosen]:
            self.add_neurons(name.format("lif"))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (T B, C, H, W) to patches (T B, D, H', W')."""
        family = self.settings.family
        if family == "spikingformer":
            x = self._convolve(x, 0)
            for i in range(1, 5):
                x = self._convolve(self._pool(self._fire(x, i), i - 1), i)
            return x
        for i in range(3):
            x = self._pool(self._fire(self._convolve(x, i), i), i)
        x = self._convolve(x, 3)
        if family == "sdt":
            x = self._pool(x, 3)
            return x + self._convolve(self._fire(x, 3), 4)
        x = self._pool(self._fire(x, 3), 3)
        return x + self._fire(self._convolve(x, 4), 4)

    def _convolve(self, x: Tensor, i: int) -> Tensor:
        name = self.settings.style.stem[i]
        return self.get_submodule(name.format("bn"))(self.get_submodule(name.format("conv"))(x))

    def _fire(self, x: Tensor, i: int) -> Tensor:
        return self.spikes(self.settings.style.stem[i].format("lif"), x)

    def _pool(self, x: Tensor, i: int) -> Tensor:
        return functional.max_pool2d(x, 3, 2, 1) if self.settings.pooling[i] == "1" else x


class Attention(Layers):
    """Spiking self-attention, or the Spike-driven Transformer's masks, with the residual."""

    def __init__(self, settings: Settings) -> None:
        """Makes the matmuls q, k, v and proj, and the neurons."""
        super().__init__(settings)
        for name in ("q", "k", "v", "proj"):
            bias = settings.qkv_bias or name == "proj"
            axes = settings.style.attention_axes
            self.add_matmul(f"{name}_{{}}", settings.dim, settings.dim, axes=axes, bias=bias)
        masks = settings.family == "sdt"
        for name in ("shortcut_lif" if masks else "proj_lif", "q_lif", "k_lif", "v_lif"):
            self.add_neurons(name)
        self.add_neurons("talking_heads_lif" if masks else "attn_lif", threshold=settings.attention_threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (T B, D, H, W) to tokens."""
        family = self.settings.family
        before = {"spikingformer": "proj_lif", "sdt": "shortcut_lif"}  # the neurons before the matmuls
        into = self.spikes(before[family], x) if family in before else x
        q, k, v = (self.spikes(f"{name}_lif", self.matmul(f"{name}_{{}}", into)) for name in ("q", "k", "v"))
        y = self._masks(q, k, v) if family == "sdt" else self._maps(q, k, v)
        y = self.matmul("proj_{}", y)
        return x + (self.spikes("proj_lif", y) if family == "spikformer" else y)

    def _maps(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        M, D, H, W = q.shape
        q, k, v = (_by_head(x, self.settings.heads) for x in (q, k, v))
        y = (q @ k.transpose(-2, -1)) @ v * self.settings.attention_scale
        if self.settings.channels_last:
            y = y.transpose(1, 2).reshape(M, H, W, D).permute(0, 3, 1, 2)
        else:
            y = y.transpose(2, 3).reshape(M, D, H, W)
        return self.spikes("attn_lif", y)

    def _masks(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not self.settings.dvs_mode:
            return q * self.spikes("talking_heads_lif", (k * v).sum((2, 3), keepdim=True))
        k, v = (functional.max_pool2d(x, 3, 1, 1) for x in (k, v))
        mask = self.spikes("talking_heads_lif", self._pool_by_head(k * v).sum((2, 3), keepdim=True))
        return self._pool_by_head(q * mask)

    def _pool_by_head(self, x: Tensor) -> Tensor:
        """Local maxima over tokens by channels of a head."""
        y = functional.max_pool2d(_by_head(x, self.settings.heads), 3, 1, 1)
        return y.transpose(2, 3).reshape(x.shape)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """Tokens (M, D, H, W) as (M, heads, N, D / heads)."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


class MLP(Layers):
    """The feed-forward network with its residual."""

    def __init__(self, settings: Settings) -> None:
        """Makes two matmuls and their neurons."""
        super().__init__(settings)
        hidden, axes = settings.mlp_ratio * settings.dim, settings.style.mlp_axes
        sizes = ((settings.dim, hidden), (hidden, settings.dim))
        for name, (inputs, outputs) in zip(settings.style.mlp, sizes, strict=True):
            self.add_matmul(name, inputs, outputs, axes=axes, bias=True)
            self.add_neurons(name.format("lif"))

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (T B, D, H, W) to tokens."""
        y = x
        for name in self.settings.style.mlp:
            if self.settings.family == "spikformer":
                y = self.spikes(name.format("lif"), self.matmul(name, y))
            else:
                y = self.matmul(name, self.spikes(name.format("lif"), y))
        return x + y


class Block(nn.Module):
    """Attention, then the MLP."""

    def __init__(self, settings: Settings) -> None:
        """Makes the two."""
        super().__init__()
        self.attn = Attention(settings)
        self.mlp = MLP(settings)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (T B, D, H, W) to tokens."""
        return self.mlp(self.attn(x))


class Peer(Layers):
    """A dense network of one of the families.

    Neurons keep their membranes from one call to the next: `functional.reset_net` belongs before each.
    """

    def __init__(self, settings: Settings) -> None:
        """Makes the network with its family's initial values."""
        super().__init__(settings)
        self.patch_embed = Stem(settings)
        self.block = nn.ModuleList(Block(settings) for _ in range(settings.depth))
        self.head = nn.Linear(settings.dim, settings.num_classes)
        small: tuple[type[nn.Module], ...] = (nn.Linear, Matmul) if settings.style.product == "linear" else (nn.Linear,)
        if settings.family == "sdt":
            self.add_neurons("head_lif")
            small = (nn.Conv2d, Matmul)
        for module in self.modules():
            if isinstance(module, small):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if settings.channels_last:
            self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Maps static images (B, C, H, W), or recordings (T, B, C, H, W), to logits (T, B, classes)."""
        timesteps = self.settings.timesteps
        x = images.repeat(timesteps, 1, 1, 1) if images.ndim == 4 else images.flatten(0, 1)
        if self.settings.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.patch_embed(x)
        for block in self.block:
            x = block(x)
        x = x.mean((2, 3)).unflatten(0, (timesteps, -1))
        return self.head(self.get_submodule("head_lif")(x) if self.settings.family == "sdt" else x)
