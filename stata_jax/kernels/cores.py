"""The cores of a processor as devices of their own, and the threads of a device."""

import os
import warnings

from stata_jax.errors import ConfigError

_ours = 1  # the number of devices that this module has made


def split_processor(count: int, *, threads: int = 0) -> bool:
    """Has JAX see the processor as several devices, each of which works on its share of a batch.

    As one device, a processor divides large products among its cores, but runs loops over pieces and small operations
    on one core while the others wait. As a device a core, all cores do all kinds of work. Small operations take less
    time than waking another thread, so that a device with a small network is as fast with one thread. With one thread a
    sum is always in the same order, whatever the number of cores. Accelerators stay as they are, but what the host does
    for them gets as many threads: it is for machines without one.

    Call it before anything asks JAX for a device or an array.

    Args:
      count: Number of devices.
      threads: Threads of each; 0 stands for as many as there are cores for one device, and one for each of several.

    Returns:
      Whether the processor is now seen so; False where JAX has been used already, or where that is as it was.
    """
    global _ours
    if count == 1 and not threads:
        return False
    import jax

    before = jax.config.values["jax_num_cpu_devices"]
    try:
        jax.config.update("jax_num_cpu_devices", before + 2)  # another number is refused once there are devices
    except RuntimeError:
        return False
    jax.config.update("jax_num_cpu_devices", count if count > 1 else before)
    _ours = count
    os.environ["NPROC"] = str(threads or 1)  # what XLA takes for the number of cores of a device
    return True


def check_split(count: int, *, threads: int = 0) -> None:
    """Says so where JAX sees the processor otherwise than `split_processor` was to have it; accelerators are left out.

    Another number of devices is an error, for it makes another run; another number of threads at most sums in another
    order, and is a warning. What `XLA_FLAGS` or JAX's own settings ask for is taken for wanted where `count` is 1.

    Args:
      count: As given to `split_processor`.
      threads: As given to `split_processor`.

    Raises:
      ConfigError: If the number of devices is another one.
    """
    import jax

    if (count > 1 or _ours > 1) and jax.default_backend() == "cpu" and jax.local_device_count() != count:
        raise ConfigError(
            f"train.cpu_devices is {count}, but JAX has been used in this process already, and sees the processor as "
            f"{jax.local_device_count()}: start a new process, or set train.cpu_devices to that"
        )
    told = os.environ.get("NPROC")
    if threads and told != str(threads) and jax.default_backend() == "cpu":
        warnings.warn(
            f"train.cpu_threads is {threads}, but JAX has been used in this process already, and keeps the threads "
            f"that it has{f' (NPROC is {told})' if told else ''}: only a new process can have others",
            stacklevel=2,
        )
