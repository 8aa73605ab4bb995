"""The programs that are measured: training steps and inference of a config, compiled, on random images."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict


def prepare(settings: ConfigDict, mode: str) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Compiles one program on random images.

    Args:
      settings: A checked config.
      mode: `train` for a whole training step with its update, `infer` for the logits.

    Returns:
      A call that runs it once, and what is known of it: `compile_s`, the compiler's account of all devices together
      and, of inference, what one image needs with fresh weights: `ac`, `mac`, and the energy in mJ, `energy_mj`.

    Raises:
      ConfigError: If the batch does not divide over the devices.
    """
    if mode == "train":
        step = training_step(settings)
        return step.run, step.facts
    from stata_jax import build
    from stata_jax.tools.energy import model_operations, totals
    from stata_jax.train import parallel
    from stata_jax.train.state import time_major, weights

    optimizer, _ = build.optimizer(settings, steps_per_epoch=1)
    state, images, batch, key = _inputs(settings, optimizer)
    model = build.model(settings)
    variables = parallel.replicate(weights(state))

    def logits(variables: Any, batch: Any, key: Any) -> Any:
        return model.apply(variables, time_major(batch["image"]), key=key)[0]

    infer, facts = _compiled(parallel.on_all_devices(logits), variables, batch, key)
    # The weights are fresh, and by the running statistics of a fresh network some layers would be silent.
    facts |= totals(model_operations(model, weights(state), time_major(images), train=True))
    return lambda: infer(variables, batch, key), facts


def image_shape(settings: ConfigDict) -> tuple[int, ...]:
    """Shape of one example, which with two channels is a recording: of a published model no data set tells it."""
    data = settings.data
    image = (data.image_size, data.image_size, data.channels)
    return (settings.model.timesteps, *image) if data.channels == 2 else image


class TrainingStep(NamedTuple):
    """A compiled training step on random images.

    Attributes:
      run: Runs it once.
      program: The compiled program.
      facts: What is known of it, see `prepare`.
      parameters: How many numbers it trains.
    """

    run: Callable[[], Any]
    program: Any
    facts: dict[str, Any]
    parameters: int


def training_step(settings: ConfigDict, *, profiled: bool = False) -> TrainingStep:
    """Compiles a whole training step with its update.

    Args:
      settings: A checked config.
      profiled: Whether a profile shall show its operations, see `compile_program`.

    Returns:
      The step.

    Raises:
      ConfigError: If the batch does not divide over the devices.
    """
    import jax

    from stata_jax import build
    from stata_jax.train import parallel

    optimizer, _ = build.optimizer(settings, steps_per_epoch=1)
    state, _, batch, key = _inputs(settings, optimizer)
    held = [parallel.replicate(state)]
    mapped = parallel.on_all_devices(build.step(settings, optimizer, steps_per_epoch=1), donate=(0,))
    program, facts = _compiled(mapped, held[0], batch, key, profiled=profiled)

    def run() -> Any:
        held[0], metrics = program(held[0], batch, key)  # the old state's memory is given away
        return metrics["loss"]

    return TrainingStep(run, program, facts, sum(leaf.size for leaf in jax.tree.leaves(state.params)))


def _inputs(settings: ConfigDict, optimizer: Any) -> tuple[Any, Any, Any, Any]:
    """A fresh state, random images, a batch of them on all devices, and a key."""
    import jax
    import jax.numpy as jnp

    from stata_jax import build
    from stata_jax.train import parallel
    from stata_jax.train.state import create_state

    build.check_devices(settings, parts=("train",))
    batch_size = settings.train.batch_size
    shape = (batch_size, *image_shape(settings))
    images = jax.random.uniform(jax.random.key(1), shape, jnp.float32)
    template = jax.ShapeDtypeStruct(shape, jnp.float32)
    state = create_state(build.model(settings), optimizer, template, key=jax.random.key(0))
    label = jax.random.randint(jax.random.key(2), (batch_size,), 0, settings.data.num_classes)
    return state, images, parallel.shard({"image": images, "label": label}), jax.random.key(3)


def _compiled(mapped: Any, *arguments: Any, profiled: bool = False) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A mapped program compiled for its arguments, and what it needs, on all devices together."""
    import jax

    from stata_jax.tools.profiling import compiler_account
    from stata_jax.train.compilation import compile_program

    begin = time.perf_counter()
    program = compile_program(mapped.lower(*arguments), profiled=profiled)
    facts: dict[str, Any] = {"compile_s": time.perf_counter() - begin}
    for name, value in compiler_account(program).items():
        facts[name] = None if value is None else value * jax.local_device_count()
    return program, facts
