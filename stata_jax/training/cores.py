"""The cores of a processor as devices of their own."""

import os


def split_processor(count: int) -> bool:
    """Has JAX see the processor as several devices, each of which works on its share of a batch with one thread.

    As one device, a processor divides large products among its cores, but runs loops over pieces and small operations
    on one core while the others wait. As a device a core, all cores do all kinds of work. A sum is then always in the
    same order, whatever the number of cores. Accelerators stay as they are, but what the host does for them, such as
    compiling, gets one thread too: it is for machines without one.

    Call it before anything asks JAX for a device or an array.

    Args:
      count: Number of devices; 1 leaves everything as it is.

    Returns:
      Whether the processor is now seen as `count` devices; False where JAX has been used already, or for 1.
    """
    if count == 1:
        return False
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # it has devices already
        return False
    os.environ["NPROC"] = "1"  # what XLA takes for the number of cores of a device
    return True
