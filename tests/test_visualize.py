"""The command that draws which tokens runs keep of the same images."""

import jax
import numpy as np
import pytest
import small_runs

from stata_jax import build, config, visualize
from stata_jax.streams import Stream, stream_key
from stata_jax.tools import pictures
from stata_jax.train import reuse
from stata_jax.train.checkpoint import Checkpoints
from stata_jax.train.metrics import write_json
from stata_jax.train.state import create_state

PLAIN = {"sparsity.anchor": False, "align.alpha": 0.0, "align.beta": 0.0}
CELLS = {
    "random": {"sparsity.metric": "random"},
    "l1": {"sparsity.metric": "l1"},
    "dense": {"sparsity.keep_rate": 1.0},
    "others": {"sparsity.metric": "l1", "data.digits.clutter": 3},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of runs with fresh weights."""
    root = tmp_path_factory.mktemp("runs")
    base = config.load(small_runs.CONFIG)
    for name, cell in CELLS.items():
        settings = config.apply_overrides(base, small_runs.SMALL | PLAIN | cell)
        optimizer, _ = build.optimizer(settings, steps_per_epoch=4)
        images = jax.ShapeDtypeStruct((1, *build.image_shape(settings)), np.float32)
        state = create_state(build.model(settings), optimizer, images, key=jax.random.key(0))
        checkpoints = Checkpoints(config.prepare_workdir(root / name / "seed0") / "checkpoints")
        checkpoints.save(state, {}, best=None)
        checkpoints.close()
        write_json(root / name / "seed0" / "config.json", settings.to_dict())
    return root


def test_it_draws_what_the_networks_keep(runs, monkeypatch, capsys):
    drawn = {}
    monkeypatch.setattr(
        pictures, "draw_beside", lambda path, images, kept, *, grid: drawn.update(kept=kept, images=images, grid=grid)
    )
    folders = [str(runs / name / "seed0") for name in ("random", "l1")]
    assert visualize.main([*folders, "--images=3", "--output=kept.png"]) == 0
    assert capsys.readouterr().out == "kept.png: 3 test images, tokens kept by random, l1\n"
    assert list(drawn["kept"]) == ["random", "l1"] and drawn["grid"] == (8, 8) and len(drawn["images"]) == 3
    settings = config.from_json((runs / "l1" / "seed0" / "config.json").read_text())
    model, images = build.model(settings), build.source(settings).test_batch(0)["image"][:3]
    variables, _ = reuse.read_variables(runs / "l1" / "seed0")
    _, aux = jax.jit(model.apply)(variables, images, key=stream_key(settings.seed, Stream.TESTS))
    np.testing.assert_array_equal(drawn["kept"]["l1"], aux["positions"][1])  # of the last pruning
    assert not np.array_equal(drawn["kept"]["l1"], drawn["kept"]["random"])


def test_it_leaves_a_picture(runs, tmp_path):
    assert visualize.main([str(runs / "l1" / "seed0"), f"--output={tmp_path / 'new' / 'kept.png'}"]) == 0
    assert (tmp_path / "new" / "kept.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "name at least one RUN, the folder of a run"),
        (["{}/missing"], "{}/missing holds no run: there is no config.json in it"),
        (["{}/l1/seed0", "{}/l1/seed0"], "RUN is '{}/l1/seed0,{}/l1/seed0', but each may be there once"),
        (["{}/l1/seed0", "{}/dense/seed0"], "{}/dense/seed0 keeps all tokens, so that there is nothing to draw"),
        (["{}/l1/seed0", "{}/others/seed0"], "{}/others/seed0 has data.digits.clutter=3, but {}/l1/seed0 has 8"),
        (["{}/l1/seed0", "--images=0"], "--images is 0, but it must be at least 1"),
        (["{}/l1/seed0", "--imags=2"], "unknown argument --imags=2: did you mean --images?"),
    ],
)
def test_mistakes_end_in_a_sentence(runs, capsys, flags, message):
    assert visualize.main([flag.replace("{}", str(runs)) for flag in flags]) == 2
    assert message.replace("{}", str(runs)) in capsys.readouterr().err
