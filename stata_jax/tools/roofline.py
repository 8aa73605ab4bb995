"""What a training step must do at least, part by part, beside what it does: where its time goes."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.models import layers
from stata_jax.models.transformer import SpikingTransformer
from stata_jax.ops.operations import PLAIN
from stata_jax.tools import markdown
from stata_jax.tools.operations import IMAGE, matmuls

Row = tuple[str, str]  # part of the network and kind of operation
MATMULS, BOTH, NORM, LIF, OTHER = "matmuls", "BN and LIF", "BN", "LIF", "other"
UPDATE: Row = ("update, loss, tokens", OTHER)
WAITS: Row = ("all", "waiting for each other")
_FLOAT, _SPIKE = 4, 1  # bytes of a number, and of a spike, which could be kept in less


class Work(NamedTuple):
    """Floating-point operations, and bytes that go through memory."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":  # type: ignore[override]
        return Work(self.flops + other.flops, self.bytes + other.bytes)


def required(
    model: SpikingTransformer, image_shape: tuple[int, ...], *, batch_size: int, devices: int, parameters: int
) -> dict[Row, Work]:
    """The least work of a training step in float32, all devices together.

    Operations are those of matmuls, two for each multiply-accumulate: forward, for the gradient of the input and for
    that of the weight. A convolution counts as nine matmuls, and the first has no gradient of its input; that of a
    static image is needed once. Bytes are what cannot stay in a cache while each kind of operation passes over its
    arrays: a matmul reads its operands and writes its result; normalisation needs the statistics of the whole batch
    first, so it reads twice what it reads, forward and backward; AdamW reads four arrays and writes three. Spikes are
    one byte where they are read, and four where they are results of matmuls or gradients. Not counted: pools, sums of
    residuals, the head, losses, the choice of tokens and their alignment, averaged weights.

    Args:
      model: The network.
      image_shape: Of one example: (H, W, C), or (T, H, W, C) for a recording.
      batch_size: Images.
      devices: Each of them reads the weights.
      parameters: Numbers that are trained.

    Returns:
      Work by row.
    """
    work: dict[Row, Work] = {}

    def add(row: Row, *, flops: float = 0.0, moved: float = 0.0) -> None:
        work[row] = work.get(row, Work()) + Work(flops, moved)

    alone, neurons = _apart(model, image_shape)
    for each in matmuls(model, image_shape):
        part = _part(each.name)
        if not part:
            continue
        into, weights = batch_size * each.inputs, devices * each.weights * _FLOAT
        if each.tokens:  # attention, whose result is a sum unless it has masks
            result = _FLOAT if each.width else _SPIKE
            moved = (2 * 3 * _SPIKE + result + (1 + 3) * _FLOAT) * into / 2  # for both of its matmuls
            add((part, MATMULS), flops=3 * 2 * batch_size * each.macs, moved=moved)
            continue
        first = each.takes == IMAGE
        made = batch_size * each.outputs
        entry, terms = (_FLOAT, 2) if first else (_SPIKE, 3)
        forward = entry * into + weights + _FLOAT * made
        backward = (0 if first else _FLOAT * made + weights + _FLOAT * into) + entry * into + _FLOAT * made + weights
        add((part, MATMULS), flops=2 * terms * each.macs * batch_size / each.repeats, moved=forward + backward)
        if each.name in alone:
            add((part, NORM), moved=_FLOAT * (3 + 5) * made)
        else:
            values = each.repeats * made
            add((part, BOTH), moved=_FLOAT * (2 * made + 2 * made + 2 * values + made) + _SPIKE * values)
    for name, count in neurons:
        if part := _part(name):
            add((part, LIF), moved=_lif_bytes(batch_size * count))
    add(UPDATE, moved=devices * (4 + 3) * _FLOAT * parameters)
    return work


def _part(name: str) -> str:
    """`stem`, `attention` or `MLP`; empty for what belongs to none of them."""
    if name.startswith("stem/"):
        return "stem"
    block = re.match(r"block\d+/(attention|mlp)/", name)
    return block[1].replace("mlp", "MLP") if block else ""


def _apart(model: SpikingTransformer, image_shape: tuple[int, ...]) -> tuple[set[str], list[tuple[str, int]]]:
    """Layers whose normalisation no neurons follow at once; and neurons that follow none, with their numbers."""
    alone: set[str] = set()
    neurons: list[tuple[str, int]] = []

    def note(function: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name == "__call__" and isinstance(module, layers.BatchNorm):
            alone.add("/".join(module.path[:-1]))
        if context.method_name == "__call__" and isinstance(module, layers.LIF):
            neurons.append(("/".join(module.path), args[0].size))
        return function(*args, **kwargs)

    def look(key: jax.Array, images: jax.Array) -> Any:
        with nn.intercept_methods(note):
            return model.clone(ops=PLAIN).init_with_output(key, images, train=True)[0][0]

    batch = (image_shape[0], 1, *image_shape[1:]) if len(image_shape) == 4 else (1, *image_shape)
    jax.eval_shape(look, jax.random.key(0), jax.ShapeDtypeStruct(batch, jnp.float32))
    return alone, neurons


def _lif_bytes(neurons: float) -> float:
    """Neurons alone: the current to spikes; the current again and a gradient to a gradient."""
    return (_FLOAT + _SPIKE + 3 * _FLOAT) * neurons


def row_of(scope: str) -> Row:
    """The row that an operation belongs to.

    Args:
      scope: Its name in the program, with those of the modules that it stands in.

    Returns:
      What names no stem, attention or MLP is update, loss and tokens; what is no normalisation, neurons or pool there
      is matmuls, with the sums of residuals among it.
    """
    block = re.search(r"/block\d+/(attention|mlp)\b", scope)
    part = "stem" if "/stem" in scope else block[1].replace("mlp", "MLP") if block else ""
    if not part:
        return UPDATE
    names = scope.split("/")
    if re.search(r"/(\w+\()*matmul\)*/", scope):  # see `stata_jax.ops.operations.matmul_norm_lif`
        return part, MATMULS
    if any(name.startswith("norm.fire") for name in names):
        return part, BOTH
    if any(name == "norm" or name.startswith("norm.") for name in names):
        return part, NORM
    if any(name.startswith("lif_") for name in names):
        return part, LIF
    return part, OTHER if "stem.pool" in names else MATMULS


def as_rows(
    work: Mapping[Row, Work], seconds: Mapping[Row, float], *, flops_s: float, bytes_s: float
) -> list[dict[str, Any]]:
    """The table: for each row its work, the least time for that on this machine, and the time that it takes.

    Args:
      work: From `required`.
      seconds: Time of one step by row, on each device.
      flops_s: Operations of matmuls in a second, all devices together.
      bytes_s: Bytes through memory in a second, all devices together.

    Returns:
      Rows of `part`, `kind`, `flops`, `bytes`, `least_s` and `bound` (None where nothing is counted), `seconds` and
      `share` of all seconds, the longest first.
    """
    whole = sum(seconds.values())
    rows = []
    for row, took in sorted((dict.fromkeys(work, 0.0) | dict(seconds)).items(), key=lambda item: -item[1]):
        facts: dict[str, Any] = {"part": row[0], "kind": row[1], "flops": None, "bytes": None, "least_s": None}
        facts |= {"bound": None, "seconds": took, "share": took / whole}
        if row in work:
            flops, moved = work[row]
            least = max(flops / flops_s, moved / bytes_s)
            bound = "matmuls" if flops / flops_s > moved / bytes_s else "memory"
            facts |= {"flops": flops, "bytes": moved, "least_s": least, "bound": bound}
        rows.append(facts)
    return rows


def as_markdown(result: Mapping[str, Any]) -> str:
    """The table of what `stata_jax.roofline.measure` returns, as text."""
    rows: Iterable[Mapping[str, Any]] = result["rows"]
    known = [row for row in rows if row["least_s"] is not None]
    lines = [
        f"{result['model']} at keep rate {result['keep_rate']:g}, batch {result['batch_size']}, float32; "
        f"{result['device']}, jax {result['jax']}",
        f"this machine: matmuls {result['flops_s'] / 1e9:.0f} GFLOP/s, memory {result['bytes_s'] / 1e9:.1f} GB/s",
        "",
    ]
    table = []
    for row in rows:
        counted = ["", "", "", ""]
        if row["least_s"] is not None:
            flops = f"{row['flops'] / 1e9:.1f} G" if row["flops"] else ""
            counted = [flops, f"{row['bytes'] / 1e9:.2f} GB", f"{1000 * row['least_s']:.0f} ms", row["bound"]]
        cells = [row["part"], row["kind"], *counted, f"{1000 * row['seconds']:.0f} ms", f"{100 * row['share']:.0f} %"]
        table.append(cells)
    columns = ["part", "kind", "operations", "bytes", "at least", "bound by", "takes", "share"]
    lines += markdown.table(columns, table)
    least, took = math.fsum(row["least_s"] for row in known), math.fsum(row["seconds"] for row in rows)
    lines += ["", f"at least {1000 * least:.0f} ms in all, {1000 * took:.0f} ms taken by operations"]
    lines.append(f"a step: {1000 * result['step_s']:.0f} ms")
    if took > result["step_s"]:
        lines.append("(operations took longer while they were profiled, those in loops of many turns above all)")
    return "\n".join(lines)
