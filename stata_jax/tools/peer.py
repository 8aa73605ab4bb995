"""The benchmark's peer: the same network, batch and optimiser in PyTorch with SpikingJelly's neurons.

It computes what the published programs do, a static image's first convolution at every timestep and attention in the
order (Q K^T) V, in the fastest settings that were found for that: matmuls as 1x1 convolutions; channels last in
memory, but first for torch.compile on a CPU; AdamW in its fused form; SpikingJelly's own choice of neuron kernels for
the device, but for bfloat16 on a GPU, where its Triton kernels have to be asked for: they compute in float32 and keep
potentials in bfloat16. It runs in our process, whose memory is kept between steps (`kernels.memory`), which speeds it
up as well.
"""

import importlib.metadata
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stata_jax.errors import ConfigError

# By name: whether the network goes through torch.compile.
PEERS = {"spikingjelly": False, "spikingjelly_compiled": True}


def check(names: Sequence[str], *, device: str) -> None:
    """Raises where a peer cannot run.

    Args:
      names: Which peers are wanted.
      device: `cpu` or `cuda`.

    Raises:
      ConfigError: If a name is unknown, PyTorch or SpikingJelly is missing, or PyTorch has no such device.
    """
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"--peer names {name!r}, but it must be one of {', '.join(PEERS)}")
    if not names:
        return
    # Kineto reports the GPU driver that a CPU does not have, unless it is told before the import to be quiet.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        import spikingjelly.activation_based.neuron  # noqa: F401
        import torch
    except ImportError as error:
        raise ConfigError(
            f'--peer needs PyTorch and SpikingJelly ({error}): pip install "stata_jax[peer]", '
            'from a clone pip install -e ".[peer]"'
        ) from error
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--peer needs a PyTorch that sees the GPU which JAX uses, but torch.cuda is not available")


def prepare(
    name: str,
    *,
    mode: str,
    network: Mapping[str, Any],
    batch_size: int,
    image_size: int,
    learning_rate: float,
    weight_decay: float,
    label_smoothing: float,
    dtype: str = "float32",
    device: str = "cpu",
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Makes one program on random images and runs it once.

    Args:
      name: A key of `PEERS`.
      mode: `train` for forward, cross entropy, backward and an AdamW update; `infer` for the logits alone.
      network: Fields of `peer_models.Settings` but `channels_last`.
      batch_size: Images a step.
      image_size: Pixels, height and width.
      learning_rate: Of AdamW.
      weight_decay: Of matrices and kernels; vectors do not decay.
      label_smoothing: Share of a label's weight spread over all classes.
      dtype: `float32`, or `bfloat16` for automatic mixed precision.
      device: `cpu` or `cuda`.

    Returns:
      A call that starts it and returns what to wait for, as a program of JAX does, and what is known of it:
      `compile_s`, the time of the first call where there is a compiler; `peak_bytes`, most memory that PyTorch's
      allocator held at once, parameters, moments and batch included; versions, threads and backend.

    Raises:
      ConfigError: As `check`.
    """
    check([name], device=device)
    import torch
    from spikingjelly.activation_based import functional

    from stata_jax.tools.peer_models import Peer, Settings

    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32, which JAX takes as well
    torch.manual_seed(0)
    settings = Settings(**network, channels_last=device == "cuda" or not PEERS[name])
    model = Peer(settings).to(device).train(mode == "train")
    events = (settings.timesteps,) if settings.channels == 2 else ()
    images = torch.rand(*events, batch_size, settings.channels, image_size, image_size, device=device)
    labels = torch.randint(settings.num_classes, (batch_size,), device=device)
    triton = device == "cuda" and dtype == "bfloat16"
    if triton:
        model = _with_triton_neurons(model)
    optimizer = adamw(model, learning_rate=learning_rate, weight_decay=weight_decay)
    forward = torch.compile(model) if PEERS[name] else model

    def logits() -> Any:
        functional.reset_net(model)  # membranes start from zero in every batch
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            return forward(images).float().mean(0)

    started = _Started(torch.cuda.synchronize if device == "cuda" else None)

    def train() -> _Started:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(logits(), labels, label_smoothing=label_smoothing).backward()
        optimizer.step()
        return started

    def infer() -> _Started:
        with torch.inference_mode():
            logits()
        return started

    run = train if mode == "train" else infer
    begin = time.perf_counter()
    run().block_until_ready()
    first = time.perf_counter() - begin
    optimizer.zero_grad(set_to_none=True)  # what the first call left is not part of another's memory
    functional.reset_net(model)
    held = [*model.parameters(), *model.buffers(), images, labels]
    held += [value for state in optimizer.state.values() for value in state.values()]
    facts = {
        "compile_s": first if PEERS[name] else None,
        "flops": None,
        "temp_bytes": None,
        "peak_bytes": _cuda_peak(run) if device == "cuda" else sum(x.nbytes for x in held) + _cpu_growth(run),
        "torch": torch.__version__,
        "spikingjelly": importlib.metadata.version("spikingjelly"),
        "threads": torch.get_num_threads(),
        "backend": f"{device}, {'torch.compile' if PEERS[name] else 'eager'}, {dtype}"
        + (", Triton neurons" if triton else ""),
    }
    return run, facts


class _Started:
    """What a call has started on a device; `jax.block_until_ready` waits for it as for an array."""

    def __init__(self, wait: Callable[[], Any] | None) -> None:
        self._wait = wait

    def block_until_ready(self) -> "_Started":
        if self._wait is not None:
            self._wait()
        return self


def _with_triton_neurons(model: Any) -> Any:
    """The model with neurons that keep potentials in bfloat16, and so run SpikingJelly's Triton kernels.

    Of its own it has kernels for float32 potentials only; those that autocast's currents make are bfloat16, for which
    it falls back on PyTorch's operations, one after another.
    """
    from spikingjelly.activation_based import precision

    try:
        config = precision.PrecisionConfig(mode="bf16", neuron_storage="bf16")
        return precision.prepare_model_for_precision(model, "cuda", config).model
    except RuntimeError as error:
        raise ConfigError(f"--peer needs SpikingJelly's Triton neurons for bfloat16 on a GPU: {error}") from error


def adamw(model: Any, *, learning_rate: float, weight_decay: float) -> Any:
    """AdamW as `train.optimizer` has it: only matrices and kernels decay; in the fused form, PyTorch's fastest."""
    import torch

    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def _cuda_peak(run: Callable[[], Any]) -> int:
    """Most bytes that a call holds on the GPU, with all that is there already."""
    import torch

    torch.cuda.reset_peak_memory_stats()
    run()
    return int(torch.cuda.max_memory_allocated())


def _cpu_growth(run: Callable[[], Any]) -> int:
    """Most bytes that a call holds on the CPU beside what was there before: PyTorch counts them in profiles alone."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    held, most = 0, 0
    for event in sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        most = max(most, held)
    return most
