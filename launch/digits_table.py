"""Trains the variants of the digits benchmark and prints their table: `python launch/digits_table.py`.

Finished runs are only evaluated, so the command can be stopped and given again. Seeds and variants are options.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

COLUMNS = "| variant | top-1 of each seed | top-1 | top-5 | step | compiled memory | multiply-accumulates |"


def train(variant: str, seed: int, folder: pathlib.Path) -> None:
    """One run, through the same command that a user types."""
    config = f"--config=configs/digits.py:{variant}"
    workdir = folder / f"{variant}_{seed}"
    command = [sys.executable, "-m", "stata_jax.main", config, f"--config.seed={seed}", f"--workdir={workdir}"]
    print(*command[1:], flush=True)
    subprocess.run(command, check=True)


def row(variant: str, folder: pathlib.Path) -> str | None:
    """The table's line of a variant, over the seeds that are finished; None without any."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{variant}_*/summary.json"))]
    if not runs:
        return None
    top1 = [100 * run["top1"] for run in runs]
    spread = f" ± {statistics.stdev(top1):.1f}" if len(top1) > 1 else ""
    cells = [
        f"`{variant}`",
        ", ".join(f"{value:.1f}" for value in top1),
        f"{statistics.mean(top1):.1f}{spread} %",
        f"{statistics.mean(100 * run['top5'] for run in runs):.1f} %",
        f"{1000 * statistics.median(run['step_s'] for run in runs):.0f} ms",
        f"{runs[0]['peak_bytes'] / 1e6:.0f} MB",
        f"{runs[0]['macs'] / 1e6:.1f} M",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Trains what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="stata,random,baseline,dense", help="of configs/digits.py, with commas")
    parser.add_argument("--seeds", default="0,1,2", help="with commas; empty trains nothing")
    parser.add_argument("--folder", default="runs", type=pathlib.Path, help="where the runs are (default: runs)")
    flags = parser.parse_args()
    variants = flags.variants.split(",")
    for seed in filter(None, flags.seeds.split(",")):
        for variant in variants:
            train(variant, int(seed), flags.folder)
    print(COLUMNS, "|---|---|---|---|---|---|---|", sep="\n")
    print(*filter(None, (row(variant, flags.folder) for variant in variants)), sep="\n")


if __name__ == "__main__":
    main()
