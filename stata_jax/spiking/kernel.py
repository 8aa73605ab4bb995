"""A chain of small operations as one function of a processor's compiler."""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from stata_jax.spiking.entry import first_entry


def one_kernel(function: Callable[..., Any], *args: jax.Array) -> Any:
    """Applies a function that a processor's compiler shall turn into one function of the machine.

    As a rule each operation is a function of its own, which is called by the program, in a loop again and again: for
    arrays of some thousand entries that takes as long as what it does. Compilers that do not know the attributes used
    here compile it as a rule.

    Args:
      function: Of operations on single entries, slices, updates of slices and loops of these. Sums over an axis,
        products and sorting are calls of other code, which the compiler refuses here.
      *args: Arrays. Of the last, entries must be used; its memory can become that of a result.

    Returns:
      What the function returns.
    """
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args)
    operands = [*jaxpr.consts, *args]
    if not any(isinstance(x, jax.core.Tracer) for x in operands):
        return function(*args)  # not part of a program, and compiled for this call alone

    def kernel(*operands: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        constants, inputs = operands[: len(jaxpr.consts)], operands[len(jaxpr.consts) :]
        # The compiler ends the process over an operand that is found to have no use, such as the leak of a membrane
        # with a single timestep. So there is one of each.
        uses = [first_entry(x) for x in operands[:-1]]
        return jax.core.eval_jaxpr(jaxpr.jaxpr, constants, *inputs), uses

    found = jax.jit(kernel)(*operands)
    found = jax.tree.map(lambda x: set_xla_metadata(x, xla_cpu_small_call="true", inlineable="false"), found)
    return jax.tree.unflatten(jax.tree.structure(shape), jax.lax.optimization_barrier(found)[0])
