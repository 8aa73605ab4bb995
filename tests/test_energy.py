"""The energy command: rates of a run on its test set, its table and totals, and mistakes."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import build, config, energy
from stata_jax.tools import energy_run
from stata_jax.tools.energy import energy_mj, layer_operations
from stata_jax.tools.operations import matmuls
from stata_jax.tools.rates import mean_rates
from stata_jax.train.checkpoint import Checkpoints
from stata_jax.train.metrics import write_json
from stata_jax.train.state import create_state

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")
SMALL = {
    "model.dim": 16,
    "model.heads": 1,  # of 16 channels, more than the tokens of the last block
    "model.attention_scale": 0.5,
    "data.train_examples": 16,
    "data.test_examples": 7,
    "train.batch_size": 16,
    "eval.batch_size": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a fresh Spikformer whose neurons fire."""
    folder = tmp_path_factory.mktemp("run")
    leave_run(folder, config.load(CONFIG, SMALL | {"model.family": "spikformer"}))
    return folder


def leave_run(folder, settings):
    optimizer, _ = build.optimizer(settings, steps_per_epoch=1)
    images = jax.ShapeDtypeStruct((1, *build.image_shape(settings)), jnp.float32)
    state = jax.jit(lambda key: create_state(build.model(settings), optimizer, images, key=key))(jax.random.key(0))

    def lively(path, leaf):  # so that every layer fires, by running statistics too
        name = jax.tree_util.keystr(path)
        if name.endswith("['kernel']"):
            return leaf / jnp.std(leaf) / np.sqrt(leaf[..., 0].size)
        return leaf + 1.0 if name.endswith("['scale']") else leaf * 0.1 if name.endswith("['var']") else leaf

    state = jax.tree_util.tree_map_with_path(lively, state)

    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(state, {}, best=None)
    checkpoints.close()
    write_json(folder / "config.json", settings.to_dict())


def test_a_run_is_measured_as_trained_and_dense(folder, tmp_path, capsys):
    assert energy.main([f"--workdir={folder}", f"--output={tmp_path / 'out'}"]) == 0
    table = capsys.readouterr().out
    assert (tmp_path / "out" / "energy.md").read_text() == table
    result = json.loads((tmp_path / "out" / "energy.json").read_text())
    assert (result["images"], result["step"], result["family"]) == (7, 0, "spikformer")
    trained, dense = result["models"]["as trained"], result["models"]["dense"]
    rows = {row["name"]: row for row in trained["layers"]}, {row["name"]: row for row in dense["layers"]}
    # 64 patches and the anchor before the first pruning, 13 and the anchor after it.
    assert rows[0]["block0/attention/q"]["macs"] == 2 * 65 * 16**2
    assert rows[1]["block0/attention/q"]["macs"] == 2 * 64 * 16**2
    assert rows[0]["block0/mlp/up"]["macs"] == 2 * 14 * 16 * 64
    assert rows[1]["block1/mlp/down"]["macs"] == 2 * 64 * 16 * 64
    assert all(row["rate"] > 0 for row in rows[0].values())
    assert rows[0]["stem/conv1"] == rows[1]["stem/conv1"]  # the stem sees no pruning
    for model in (trained, dense):
        assert model["energy_mj"] == pytest.approx(4.6e-9 * model["mac"] + 0.9e-9 * model["ac"])
        assert model["mac"] == 2 * 9 * 2 * 32 * 32 + 16 * 10
        assert model["alternatives"]["first convolution once"]["mac"] == 9 * 2 * 32 * 32 + 16 * 10
        assert model["alternatives"]["sums of spikes as MACs"]["mac"] > model["mac"]

    lines = table.splitlines()
    assert sum(line.startswith("| ") for line in lines) == 1 + 5 + 2 * 8 + 1
    totals = next(line for line in lines if line.startswith("total: "))
    assert f"{trained['ac'] / 1e6:.4f} M AC, {trained['mac'] / 1e6:.4f} M MAC, {trained['energy_mj']:.4g} mJ" in totals
    acs, energies = (
        [sum(row["rate"] * row["macs"] for row in rows[i].values() if row["kind"] == "AC") for i in (0, 1)],
        [model["energy_mj"] for model in (trained, dense)],
    )
    assert totals.endswith(
        f"{100 * acs[0] / acs[1]:.1f} % of the ACs, 100.0 % of the MACs, "
        f"{100 * energies[0] / energies[1]:.1f} % of the energy"
    )
    assert [line.split(":")[0] for line in lines[-3:]] == list(energy_run.ALTERNATIVES)


def test_the_last_batch_is_not_counted_twice(folder):
    """Seven images in batches of four: the eighth is padding."""
    result = energy.measure(folder)
    settings = config.from_json((folder / "config.json").read_text())
    variables, _ = energy.reuse.read_variables(folder)
    model, source = build.model(settings), build.source(settings)
    images = jnp.concatenate([source.test_batch(i)["image"] for i in range(2)])[:7]
    rates = mean_rates(model, variables, [{"image": images}])
    expected = energy_mj(layer_operations(rates, matmuls(model, images.shape[1:])))
    assert result["models"]["as trained"]["energy_mj"] == pytest.approx(expected, rel=1e-5)


def test_a_recordings_first_convolution_counts_at_every_timestep(tmp_path):
    """There is nothing in it that could be counted once, as a static image's is."""
    events = {"data.data_dir": str(tmp_path / "data"), "model.timesteps": 2, "data.digits.size": 16}
    dense = {"sparsity.keep_rate": 1.0, "sparsity.anchor": False}
    leave_run(tmp_path, config.load(CONFIG.replace("digits.py", "digits_dvs.py"), SMALL | events | dense))
    result = energy.measure(tmp_path)
    counts = result["models"]["as trained"]
    assert counts["mac"] == 2 * 9 * 2 * 2 * 32 * 32 + 16 * 10
    assert list(counts["alternatives"]) == ["attention in the cheaper order", "sums of spikes as MACs"]
    assert "first convolution once" not in energy.as_markdown(result)


def test_a_row_is_printed_for_a_dense_model_alone():
    layer = {"name": "head", "macs": 10_000, "rate": 0.25, "kind": "AC", "ac": 2500.0, "mac": 0.0}
    count = {"layers": [layer], "mac": 0.0, "ac": 2500.0, "energy_mj": 2.25e-6}
    counts = count | {"alternatives": dict.fromkeys(energy_run.ALTERNATIVES, count)}
    facts = dict(name="x", family="sdt", timesteps=2, keep_rate=1.0, step=3, images=5)
    assert energy.as_markdown(facts | {"models": {"as trained": counts}}).splitlines() == [
        "x: sdt, T 2, keep rate 1, step 3; one image, mean of 5 test images",
        "",
        "| layer | kind | as trained: MACs if dense | input rate | ACs or MACs |",
        "|---|---|---|---|---|",
        "| head | AC | 0.0100 M | 0.2500 | 0.0025 M |",
        "",
        "total: as trained 0.0025 M AC, 0.0000 M MAC, 2.25e-06 mJ",
    ]


def test_a_silent_network_has_no_share():
    """Two models without a single AC, whose ratio is nothing."""
    count = {"layers": [], "ac": 0.0, "mac": 1e6, "energy_mj": 4.6e-3, "alternatives": {}}
    facts = dict(name="x", family="sdt", timesteps=2, keep_rate=0.2, step=3, images=5)
    text = energy.as_markdown(facts | {"models": {"as trained": count, "dense": count}})
    assert text.splitlines()[-1] == (
        "total: as trained 0.0000 M AC, 1.0000 M MAC, 0.0046 mJ; dense 0.0000 M AC, 1.0000 M MAC, 0.0046 mJ; "
        "100.0 % of the MACs, 100.0 % of the energy"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=/nowhere"], "/nowhere holds no run"),
        (["--workdir={}", "--step=9"], "no checkpoint of step 9"),
        (["--workdir={}", "--config.model.dim=32"], "has model.dim=16, this config 32"),
        (["--workdir={}", "--config.model.dmi=32"], "model.dim"),
    ],
)
def test_mistakes_are_one_sentence(folder, flags, message, capsys):
    assert energy.main([flag.format(folder) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
