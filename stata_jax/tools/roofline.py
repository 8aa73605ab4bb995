"""What a training step must do at least, part by part, beside what it does: where its time goes."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from stata_jax.tools import markdown
from stata_jax.tools.operations import count_macs, tokens_per_block

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
    sizes: Mapping[str, Any], *, batch_size: int, devices: int, parameters: int, static: bool
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
      sizes: The arguments of `count_macs`.
      batch_size: Images.
      devices: Each of them reads the weights.
      parameters: Numbers that are trained.
      static: Whether images are the same at all timesteps.

    Returns:
      Work by row.
    """
    family, timesteps, dim = sizes["family"], sizes["timesteps"], sizes["dim"]
    macs = count_macs(**sizes)
    work: dict[Row, Work] = {}

    def add(row: Row, *, flops: float = 0.0, moved: float = 0.0) -> None:
        work[row] = work.get(row, Work()) + Work(flops, moved)

    def layer(part: str, name: str, values: float, weight: int, follows: str, *, into: float, first: bool) -> None:
        """A matmul of `into` entries with `weight` numbers to `values`, and the kind that `follows`."""
        repeats = timesteps if first and static else 1
        made, weights, entry = values / repeats, devices * weight * _FLOAT, _FLOAT if first else _SPIKE
        matmuls = 2 if first else 3
        forward = entry * into + weights + _FLOAT * made
        backward = (0 if first else _FLOAT * made + weights + _FLOAT * into) + entry * into + _FLOAT * made + weights
        add((part, MATMULS), flops=2 * matmuls * macs[name] * batch_size / repeats, moved=forward + backward)
        if follows == BOTH:
            add((part, BOTH), moved=_FLOAT * (2 * made + 2 * made + 2 * values + made) + _SPIKE * values)
        else:
            add((part, NORM), moved=_FLOAT * (3 + 5) * made)

    side, width = sizes["image_size"], sizes["channels"]
    stem = {"spikformer": 5, "spikingformer": 4, "sdt": 3}[family]  # layers that neurons follow at once
    for i, features in enumerate((dim // 8, dim // 4, dim // 2, dim, dim)):
        if i and sizes["pooling"][i - 1] == "1":
            side = (side + 1) // 2
        pixels = batch_size * timesteps * side**2
        into = pixels * width / (timesteps if i == 0 and static else 1)
        follows = BOTH if i < stem else NORM
        layer("stem", f"stem/conv{i}", pixels * features, 9 * width * features, follows, into=into, first=i == 0)
        width = features
    if family == "sdt":
        add(("stem", LIF), moved=_lif_bytes(batch_size * timesteps * side**2 * dim))

    counts = tokens_per_block(
        tokens=side**2, **{name: sizes[name] for name in ("depth", "keep_rate", "prune_at", "anchor")}
    )
    last = BOTH if family == "spikformer" else NORM
    hidden = sizes["mlp_ratio"] * dim
    for l, tokens in enumerate(counts):
        n, m = (batch_size * timesteps * count * dim for count in tokens)
        for name in ("q", "k", "v", "projection"):
            follows = last if name == "projection" else BOTH
            layer("attention", f"block{l}/attention/{name}", n, dim**2, follows, into=n, first=False)
        flops = 3 * 2 * batch_size * sum(macs[f"block{l}/attention/{name}"] for name in ("map", "value"))
        result = _SPIKE if family == "sdt" else _FLOAT  # its masks are no sums
        add(("attention", MATMULS), flops=flops, moved=(2 * 3 * _SPIKE + result + (1 + 3) * _FLOAT) * n)
        after = batch_size * timesteps * dim if family == "sdt" else n  # neurons behind attention
        add(("attention", LIF), moved=_lif_bytes(after) + (0 if family == "spikformer" else _lif_bytes(n)))
        mlp: dict[str, Any] = {"weight": dim * hidden, "first": False}
        layer("MLP", f"block{l}/mlp/up", m * hidden / dim, follows=BOTH, into=m, **mlp)
        layer("MLP", f"block{l}/mlp/down", m, follows=last, into=m * hidden / dim, **mlp)
        if family != "spikformer":
            add(("MLP", LIF), moved=_lif_bytes(m))
    add(UPDATE, moved=devices * (4 + 3) * _FLOAT * parameters)
    return work


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
