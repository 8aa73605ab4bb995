"""Which matmuls of a model take spikes, found by running its program equation by equation."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

SILENT, BINARY, WHOLE, REAL = _KINDS = ("silent", "binary", "whole numbers", "real numbers")
_MATMULS = ("dot_general", "conv_general_dilated")
# Calls whose program is run here; any other primitive with a program inside must not hold a matmul.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "custom_jvp_call", "custom_vjp_call")

_Content = tuple[jax.Array, jax.Array]  # the kind of an operand, and its mean
_Found = list[tuple[str, int, list[_Content]]]  # name, MACs and operands of each matmul
_Value = tuple[Any, str | None]  # a value, and if it follows from weights alone, whose they are


@dataclasses.dataclass(frozen=True)
class Matmul:
    """One matmul or convolution.

    Attributes:
      name: Where it is, by module names.
      inputs: What its operands hold, one or two of `BINARY`, `WHOLE`, `REAL` and `SILENT` (all zero); weights are left
        out.
      rates: Mean of each of these operands: of spikes their firing rate.
      macs: Multiply-accumulates of the matmul, all images and timesteps that it runs over together.
    """

    name: str
    inputs: tuple[str, ...]
    rates: tuple[float, ...] = ()
    macs: int = 0

    @property
    def spike_driven(self) -> bool:
        """Whether all inputs are spikes, so that the matmul is a sum of weights or a count."""
        return all(kind in (BINARY, SILENT) for kind in self.inputs)


def matmuls_of(function: Callable[..., Any], weights: Any, *data: Any) -> list[Matmul]:
    """Lists every matmul that a result depends on, with what its inputs hold.

    The function is traced and its program run equation by equation, so that no matmul can be missed. A matmul of
    weights alone is left out.

    Args:
      function: Takes `weights` and `data` and returns arrays.
      weights: Pytree of parameters.
      *data: Everything else, such as a batch of images.

    Returns:
      The matmuls in the order in which they run.

    Raises:
      ValueError: If a matmul is inside a loop or a branch, where its inputs cannot be seen.
    """
    closed = jax.make_jaxpr(function)(weights, *data)
    places: list[tuple[str, int]] = []

    owners = [_owner(path) for path, _ in jax.tree_util.tree_leaves_with_path(weights)]

    @jax.jit
    def look(weights: list[Any], data: list[Any]) -> list[list[_Content]]:
        found: _Found = []
        _run(closed, [*zip(weights, owners, strict=True), *((leaf, None) for leaf in data)], found, prefix="")
        places.extend((name, macs) for name, macs, _ in found)
        return [contents for _, _, contents in found]

    contents = jax.device_get(look(jax.tree.leaves(weights), jax.tree.leaves(data)))
    return [
        Matmul(name, tuple(_KINDS[kind] for kind, _ in each), tuple(float(mean) for _, mean in each), macs)
        for (name, macs), each in zip(places, contents, strict=True)
    ]


def _place(scope: str) -> str:
    """`Spikformer/block0/attention/q/linear` is `block0/attention/q`: without the class, the layer and the einsum."""
    network, *scopes = scope.split("/")
    parts: list[str] = []
    for part in scopes:
        name = part.partition(".")[0]  # of `q.fire`, a method of q
        if "->" not in part and name not in (network, *parts[-1:]):
            parts.append(name)
    return _module(parts)


def _owner(path: tuple[Any, ...]) -> str:
    """Of a parameter the module that it is a weight of, by its path, `params/block0/attention/q/linear/kernel`."""
    keys = [str(getattr(key, "key", "")) for key in path]
    return _module(keys[1:-1])


def _module(names: Sequence[str]) -> str:
    parts = list(names)
    while parts and parts[-1] in ("linear", "conv", "norm", "matmul"):
        parts.pop()
    return "/".join(parts)


def kind_of(values: jax.Array) -> jax.Array:
    """What an array holds, as an index into `SILENT` (all zero), `BINARY` (0 and 1), `WHOLE` and `REAL`."""
    values = values.astype(jnp.float32)
    beyond = [values != 0, (values != 0) & (values != 1), values != jnp.round(values)]
    return sum((jnp.any(each).astype(jnp.int32) for each in beyond), jnp.zeros((), jnp.int32))


def _run(
    closed: core.ClosedJaxpr,
    inputs: Sequence[_Value],
    found: _Found,
    *,
    prefix: str,
) -> list[_Value]:
    """Runs a program on values; constants count as weights of nobody."""
    jaxpr = closed.jaxpr
    known: dict[Any, _Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= {var: (value, "") for var, value in zip(jaxpr.constvars, closed.consts, strict=True)}

    def read(atom: Any) -> _Value:
        return (atom.val, "") if isinstance(atom, core.Literal) else known[atom]

    for equation in _needed(jaxpr):
        operands = [read(atom) for atom in equation.invars]
        owners = [owner for _, owner in operands if owner is not None]
        owner = next(filter(None, owners), "")
        name, here = equation.primitive.name, f"{prefix}/{equation.source_info.name_stack}".strip("/")
        inner = _programs(equation)
        if name in _MATMULS and len(owners) < len(operands):
            values = [value for value, of in operands if of is None]
            contents = [(kind_of(value), jnp.mean(value.astype(jnp.float32))) for value in values]
            found.append((owner or _place(here), _macs(equation), contents))
        if name in _CALLS and len(inner) == 1 and isinstance(inner[0], core.ClosedJaxpr):
            results = _run(inner[0], operands, found, prefix=here)
        else:
            if any(_holds_matmul(program) for program in inner):
                raise ValueError(f"{here}: a matmul inside {name}, where its inputs cannot be seen")
            values = equation.primitive.bind(*(value for value, _ in operands), **equation.params)
            of = owner if len(owners) == len(operands) else None
            results = [(value, of) for value in (values if equation.primitive.multiple_results else [values])]
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _macs(equation: Any) -> int:
    """Outputs of a matmul, times the multiply-accumulates of each."""
    left, right = (atom.aval.shape for atom in equation.invars)
    dimensions = equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        added = math.prod(left[axis] for axis in dimensions[0][0])
    else:  # a kernel's taps and input channels
        added = math.prod(right) // right[dimensions.rhs_spec[0]]
    return math.prod(equation.outvars[0].aval.shape) * added


def _needed(jaxpr: core.Jaxpr) -> list[Any]:
    """The equations that the results depend on, as a compiler would leave them."""
    wanted = {var for var in jaxpr.outvars if not isinstance(var, core.Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if wanted.intersection(equation.outvars):
            kept.append(equation)
            wanted |= {atom for atom in equation.invars if not isinstance(atom, core.Literal)}
    return kept[::-1]


def _programs(equation: Any) -> list[Any]:
    """The programs inside an equation: bodies of loops, branches, functions called."""
    leaves = jax.tree.leaves(list(equation.params.values()))
    return [leaf for leaf in leaves if isinstance(leaf, core.ClosedJaxpr | core.Jaxpr)]


def _holds_matmul(program: Any) -> bool:
    jaxpr = program.jaxpr if isinstance(program, core.ClosedJaxpr) else program
    for equation in jaxpr.eqns:
        if equation.primitive.name in _MATMULS or any(map(_holds_matmul, _programs(equation))):
            return True
    return False
