"""A whole run of the digits, small, and what it leaves."""

import json
import pathlib

import jax
import numpy as np

from stata_jax import build, config, main
from stata_jax.tools import sweep_grids
from stata_jax.train.checkpoint import Checkpoints
from stata_jax.train.state import create_state

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "digits.py")
SMALL = {
    "model.dim": 16,
    "model.heads": 2,
    "sparsity.prune_at": (0, 1),
    "data.digits.size": 14,
    "data.train_examples": 64,
    "data.test_examples": 25,
    "train.batch_size": 16,
    "train.epochs": 3,
    "train.warmup_epochs": 1.0,
    "train.log_every": 2,
    "eval.batch_size": 10,
    "checkpoint.every_steps": 2,
}
FLAGS = sweep_grids.flags(SMALL)
# Files that grow beyond a limit are what a process without rights can have of a full disk.
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run(workdir, *more):
    return main.main([f"--config={CONFIG}", f"--workdir={workdir}", *FLAGS, *more])


def final_state(workdir, **options):
    """The newest checkpoint of a run."""
    settings = config.from_json((workdir / "config.json").read_text())
    source = build.source(settings)
    optimizer, _ = build.optimizer(settings, steps_per_epoch=source.steps_per_epoch)
    images = jax.ShapeDtypeStruct((1, *source.image_shape), np.float32)
    template = jax.eval_shape(
        lambda key: create_state(build.model(settings), optimizer, images, key=key, **options), jax.random.key(0)
    )
    checkpoints = Checkpoints(workdir / "checkpoints")
    try:
        return checkpoints.restore(template)[0]
    finally:
        checkpoints.close()


def assert_same_state(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def untimed(workdir):
    """The lines of metrics.jsonl without their timings."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "per_second" not in k} for line in lines]
