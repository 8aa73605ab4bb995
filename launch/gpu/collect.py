"""Prints what the runs of a sweep's folder have come to as JSON: `python launch/gpu/collect.py DIR`."""

import importlib.metadata
import json
import pathlib
import subprocess
import sys

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint")
KEPT = ("top1", "best_top1", "step_s", "compile_s", "peak_bytes", "devices", "tokens_mlp", "spike_macs_ratio")


def read_run(folder: pathlib.Path) -> dict[str, object]:
    """Accuracy and loss by epoch, and what the summary says where the run has come to its end."""
    written = (folder / "metrics.jsonl").read_text()
    whole = written[: written.rfind("\n") + 1]  # a killed run may leave half a line
    lines = [json.loads(line) for line in whole.splitlines()]
    tests = [line for line in lines if "test/top1" in line]
    run: dict[str, object] = {"top1_by_epoch": {line["epoch"]: line["test/top1"] for line in tests}}
    speeds = [line["train/images_per_second"] for line in lines if "train/images_per_second" in line]
    if speeds:
        run["images_per_second"] = sorted(speeds)[len(speeds) // 2]
    summary = folder / "summary.json"
    if summary.exists():
        run |= {key: value for key, value in json.loads(summary.read_text()).items() if key in KEPT}
    return run | {"finished": summary.exists()}


def main(folder: pathlib.Path) -> None:
    """Prints the JSON of all runs, with card, versions and commit."""
    import jax

    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    runs = {str(path.parent.relative_to(folder)): read_run(path.parent) for path in folder.glob("*/*/metrics.jsonl")}
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    where = {"card": jax.devices()[0].device_kind, "versions": versions, "commit": commit or None}
    print(json.dumps(where | {"runs": dict(sorted(runs.items()))}, indent=2))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
