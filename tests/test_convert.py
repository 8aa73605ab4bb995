"""From an authors' file to a folder like that of a run, what such a folder is good for, and the way back."""

import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from stata_jax import config, convert, evaluate
from stata_jax.models.authors import STYLES, export_state, import_state
from stata_jax.models.registry import FAMILIES
from stata_jax.train import reuse
from stata_jax.train.state import TrainState

SIZE = {"dim": 16, "depth": 2, "heads": 2, "num_classes": 10, "timesteps": 2}


@pytest.fixture(scope="module")
def state():
    """Weights of a small SDT for grey images of ten classes under the authors' names."""
    model = FAMILIES["sdt"](**SIZE)
    images = jax.ShapeDtypeStruct((1, 32, 32, 1), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.uniform(0.1, 1, leaf.shape).astype(np.float32), shapes)
    return export_state(variables, STYLES["sdt"]["other"], depth=2)


def save(state, path):
    np.savez(path, **state)
    return path


def convert_it(*more):
    return convert.main(["--family=sdt", *map(str, more)])


@pytest.fixture(scope="module")
def folder(state, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("converted")
    path = save({f"module.{name}": array for name, array in state.items()}, tmp / "sdt.best.npz")
    assert convert_it(f"--input={path}", f"--output={tmp / 'run'}", "--heads=2", "--timesteps=2") == 0
    return tmp / "run"


def test_the_config_says_what_the_shapes_tell(folder):
    settings = reuse.read_settings(folder)
    model = settings.model
    assert settings.name == "sdt"
    assert (model.family, model.dim, model.depth, model.heads, model.timesteps) == ("sdt", 16, 2, 2, 2)
    assert (model.pooling, model.neuron, settings.data.channels, settings.data.num_classes) == ("0011", "lif", 1, 10)
    assert (settings.sparsity.keep_rate, settings.sparsity.anchor, settings.align.alpha) == (1.0, False, 0.0)
    config.check(settings)


def test_the_result_evaluates(folder):
    overrides = {"data.test_examples": 12, "eval.batch_size": 6}
    accuracy = evaluate.evaluate(folder, overrides=overrides)
    assert accuracy["images"] == 12 and accuracy["step"] == 0 and np.isfinite(accuracy["loss"])


def test_the_way_back_gives_the_same_arrays(folder, state, tmp_path, capsys):
    target = tmp_path / "back.safetensors"
    assert convert.main([f"--input={folder}", f"--output={target}", "--to=safetensors"]) == 0
    back = load_file(target)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)
    extra = {name.partition(".attn.")[2] or name.rpartition(".")[2] for name in back.keys() - state.keys()}
    assert extra == {"talking_heads.weight", "num_batches_tracked"} | {
        f"{name}_bn.num_batches_tracked" for name in ("q", "k", "v", "proj")
    }
    assert f"of step 0 to {target}, under the authors' names" in capsys.readouterr().out


def test_an_anchor_goes_along(state, tmp_path, capsys):
    path = save(state | {"anchor": np.ones(16, np.float32)}, tmp_path / "a.npz")
    assert convert_it(f"--input={path}", f"--output={tmp_path / 'run'}", "--heads=2", "--timesteps=2") == 0
    assert reuse.read_settings(tmp_path / "run").sparsity.anchor
    assert (
        convert.main([f"--input={tmp_path / 'run'}", f"--output={tmp_path / 'b.safetensors'}", "--to=safetensors"]) == 0
    )
    np.testing.assert_array_equal(load_file(tmp_path / "b.safetensors")["anchor"], 1)
    assert "the anchor as 'anchor'" in capsys.readouterr().out


def without(state, *names):
    return {name: array for name, array in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "flags", "message"),
    [
        (lambda s: without(s, "block.1.attn.q_conv.weight"), [], "block.1.attn.q_conv.weight is missing"),
        (lambda s: without(s, "block.0.mlp.fc1_conv.weight"), [], "not the weights of a published sdt model"),
        (lambda s: without(s, "head.weight"), [], "does not fit sdt: head.weight is missing"),
        (lambda s: without(s, "head.bias"), [], "does not fit sdt: head.bias is missing"),
        (lambda s: s, ["--family=spikformer"], "this file holds a Spike-driven Transformer, not a Spikformer"),
        (lambda s: s, ["--family=spikingformer"], "this file holds a Spike-driven Transformer, not a Spikingformer"),
        (lambda s: s | {"optimizer.total": np.zeros(2)}, [], "sdt models: optimizer.total"),
        (lambda s: s | {"block.0.attn.x_conv.weight": np.zeros(2)}, [], "sdt models: block.0.attn.x_conv.weight"),
        (lambda s: s | {"head.bias": np.zeros(3)}, [], "head.bias of (3,) does not give the (10,)"),
        (lambda s: s, ["--config.model.dim=24"], "model.dim is 24, but the weights of"),
        (lambda s: s, ["--family=vit"], "--family is 'vit', but it must be one of spikformer, spikingformer, sdt"),
        (lambda s: s, ["--heads=3"], "model.heads is 3, but it must divide model.dim, 16"),
        (lambda s: s, ["--config.model.dimm=3"], "model.dim"),
        (lambda s: s, ["--to=onnx"], "--to is 'onnx', but it must be orbax or safetensors"),
    ],
)
def test_mistakes_are_one_sentence(state, tmp_path, capsys, change, flags, message):
    path = save(change(state), tmp_path / "a.npz")
    code = convert_it(f"--input={path}", f"--output={tmp_path / 'run'}", "--heads=2", "--timesteps=2", *flags)
    error = capsys.readouterr().err
    assert code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def converted(state, tmp_path, *flags):
    """What a file with the wrappings of a profiled, compiled and parallel model is converted to."""
    profiled = state | {"total_ops": np.zeros(1), "block.0.attn.total_params": np.zeros(1)}
    path = save({f"module._orig_mod.{name}": array for name, array in profiled.items()}, tmp_path / "a.npz")
    assert convert_it(f"--input={path}", f"--output={tmp_path / 'run'}", "--heads=2", "--timesteps=2", *flags) == 0
    variables, _ = reuse.read_variables(tmp_path / "run")
    return reuse.read_settings(tmp_path / "run"), variables


def assert_all_but_the_head(variables, state):
    """They are the file's; the head is what training would start with, by a truncated normal of 0.02 or 1/sqrt(D)."""
    expected = import_state(without(state, "head.weight", "head.bias"), family="sdt")
    head = variables["params"].pop("head")
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    assert 0 < np.abs(head["kernel"]).max() <= 0.25 and np.unique(head["kernel"]).size > 100
    return head


def test_a_missing_head_is_a_fresh_one(state, tmp_path, capsys):
    settings, variables = converted(without(state, "head.weight", "head.bias"), tmp_path)
    assert settings.data.num_classes == 10
    assert assert_all_but_the_head(variables, state)["kernel"].shape == (16, 10)
    assert (
        "the file has no head: a fresh one of 10 classes, to be trained, is in its place\n" in capsys.readouterr().out
    )
    assert (
        evaluate.evaluate(tmp_path / "run", overrides={"data.test_examples": 12, "eval.batch_size": 6})["images"] == 12
    )


def test_a_missing_head_has_as_many_classes_as_are_asked_for(state, tmp_path):
    headless = without(state, "head.weight", "head.bias")
    settings, variables = converted(headless, tmp_path, "--config.data.num_classes=17")
    assert settings.data.num_classes == 17
    assert assert_all_but_the_head(variables, state)["kernel"].shape == (16, 17)


def test_a_head_of_other_classes_gives_way_to_a_fresh_one(state, tmp_path, capsys):
    settings, variables = converted(state, tmp_path, "--config.data.num_classes=17")
    assert settings.data.num_classes == 17
    assert assert_all_but_the_head(variables, state)["kernel"].shape == (16, 17)
    out = capsys.readouterr().out
    assert (
        "the file's head of 10 classes is left out: a fresh one of 17 classes, to be trained, is in its place\n" in out
    )


def test_the_files_own_head_is_kept(state, tmp_path, capsys):
    _, variables = converted(state, tmp_path, "--config.data.num_classes=10")
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], state["head.bias"])
    assert "a fresh one" not in capsys.readouterr().out


def test_what_the_shapes_do_not_tell_is_asked_for(state, tmp_path, capsys):
    path = save(state, tmp_path / "a.npz")
    assert convert_it(f"--input={path}", f"--output={tmp_path / 'run'}", "--timesteps=2") == 2
    assert "do not tell model.heads: give --heads=N" in capsys.readouterr().err
    assert convert_it(f"--input={path}", f"--output={tmp_path / 'run'}", "--heads=2") == 2
    assert "do not tell model.timesteps: give --timesteps=N" in capsys.readouterr().err


def test_missing_flags_and_files(tmp_path, folder, capsys):
    for argv, message in (
        ([], "--input is missing"),
        (["--input=a.npz"], "--output is missing"),
        (["--input=a.npz", "--output=b"], "--family is missing"),
        (["--input=a.npz", f"--output={tmp_path}", "--family=sdt"], "there is no file"),
        (["--input=a.npz", f"--output={folder}", "--family=sdt"], "holds a run already"),
        ([f"--input={tmp_path}", "--output=b", "--to=safetensors"], "holds no run"),
        ([f"--input={folder}", "--output=b", "--to=safetensors", "--step=7"], "no checkpoint of step 7"),
        ([f"--input={folder}", "--output=b", "--to=safetensors", "--heads=2"], "--heads and --config.KEY=VALUE"),
        ([f"--input={folder}", f"--output={tmp_path}", "--to=safetensors"], "cannot be written"),
    ):
        assert convert.main(argv) == 2
        assert message in capsys.readouterr().err


def test_other_data_than_the_digits_is_left_open(state, tmp_path, capsys):
    color = state | {"patch_embed.proj_conv.weight": np.ones((2, 3, 3, 3), np.float32)}
    path = save(color, tmp_path / "a.npz")
    assert convert_it(f"--input={path}", f"--output={tmp_path / 'run'}", "--heads=2", "--timesteps=2") == 0
    data = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert (data["source"], data["train_examples"], data["test_examples"]) == ("none", 0, 0)  # all that there are
    with pytest.raises(config.ConfigError, match="name a source, for example"):
        evaluate.evaluate(tmp_path / "run")


FIXTURES = sorted((pathlib.Path(__file__).parent / "fixtures").glob("*_cifar10*.npz"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_the_authors_own_files(path, tmp_path):
    """The weights in the folder are those of the file, and a run of the same network starts from all of them."""
    with np.load(path) as arrays:
        state = {n.removeprefix("state/"): arrays[n] for n in arrays.files if n.startswith("state/")}
        meta = json.loads(str(arrays["meta"]))
    source, folder = save(state, tmp_path / "a.npz"), tmp_path / "run"
    flags = [f"--family={meta['family']}", f"--heads={meta['heads']}", f"--timesteps={meta['T']}"]
    assert convert.main([f"--input={source}", f"--output={folder}", *flags]) == 0
    variables, _ = reuse.read_variables(folder)
    expected = import_state(state, family=meta["family"])
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    settings = config.apply_overrides(reuse.read_settings(folder), {"init_from": str(folder)})
    zero = jax.tree.map(np.zeros_like, expected)
    fresh = TrainState(np.int32(0), zero["params"], zero["batch_stats"], ())
    started = reuse.start_from(fresh, settings)
    jax.tree.map(np.testing.assert_array_equal, started.params, expected["params"])
    jax.tree.map(np.testing.assert_array_equal, started.batch_stats, expected["batch_stats"])
