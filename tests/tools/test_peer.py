"""The PyTorch peer: that it is the same network as the published one, and that it says what it lacks."""

import json
import pathlib
import sys

import jax
import numpy as np
import published_fixtures
import pytest

from stata_jax import benchmark
from stata_jax.models.registry import PUBLISHED
from stata_jax.tools import bench, peer

FILES = sorted((pathlib.Path(__file__).parents[1] / "fixtures").glob("*.npz"))
COUNTS = {
    "spikformer_4_384": 9_324_730,
    "spikformer_8_512": 29_689_384,
    "spikformer_2_256_dvs": 2_566_666,
    "spikingformer_4_384": 9_320_122,
    "spikingformer_8_768": 66_338_632,
    "spikingformer_2_256_gesture": 2_566_923,
    "sdt_2_512": 10_233_418,
    "sdt_10_512": 36_005_416,
    "sdt_2_256_dvs": 2_566_666,
}
TINY = ["--config.model.dim=16", "--config.model.heads=2", "--config.data.image_size=8", "--config.model.depth=1"]


def test_the_clock_waits_for_what_a_call_has_started():
    waited = []
    jax.block_until_ready(peer._Started(lambda: waited.append(True)))
    assert waited == [True]
    jax.block_until_ready(peer._Started(None))  # on a CPU a call is done when it returns


class Fixture:
    """A fixture and the peer with its weights."""

    def __init__(self, path, *, channels_last):
        import torch

        from stata_jax.tools.peer_models import Peer, Settings

        self.arrays, self.meta = published_fixtures.read(path)
        state = self.group("state")
        self.settings = Settings(
            **published_fixtures.settings(self.arrays, self.meta),
            family=self.meta["family"],
            channels=self.meta["in_ch"],
            threshold=1.0,
            attention_threshold=0.5,
            surrogate_alpha=4.0,
            channels_last=channels_last,
        )
        self.model = Peer(self.settings)
        used = self.model.state_dict().keys()
        unused = {key.rpartition(".")[0].rpartition(".")[2] or key for key in state.keys() - used}
        assert unused <= {"norm", "norm1", "norm2", "pos_embed", "talking_heads", "attn_lif", "rpe_lif"}
        self.model.load_state_dict(
            {key: torch.tensor(state[key]) for key in used}
        )  # strict: all there, all of its shape
        images = torch.tensor(self.arrays["input"])
        self.images = images.transpose(0, 1) if self.meta["dvs_input"] else images  # recordings come as (B, T, C, H, W)

    def group(self, prefix):
        return published_fixtures.group(self.arrays, prefix)

    def logits(self, steps):
        """What the fixture calls logits: those of each timestep where it was trained so."""
        return steps if self.meta.get("TET") else steps.mean(0)

    def loss(self, steps):
        import torch
        from torch.nn.functional import cross_entropy, mse_loss

        labels = torch.tensor(self.arrays["labels"]).long()
        if not self.meta.get("TET"):
            return cross_entropy(steps.mean(0), labels)
        lamb, means = self.meta["TET_lamb"], torch.full_like(steps, self.meta["TET_means"])
        each = torch.stack([cross_entropy(step, labels) for step in steps])
        return (1 - lamb) * each.mean() + lamb * mse_loss(steps, means)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request):
    return request.param


def relative(ours, theirs):
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.torch
@pytest.mark.parametrize("channels_last", [True, False])
def test_eval_spikes_and_logits(path, channels_last):
    import torch

    fixture = Fixture(path, channels_last=channels_last)
    seen = {}
    for name in ("q", "k", "v"):
        neurons = fixture.model.get_submodule(f"block.0.attn.{name}_lif")
        neurons.register_forward_hook(lambda module, args, out, name=name: seen.update({name: out}))
    with torch.inference_mode():
        steps = fixture.model.eval()(fixture.images)
    assert relative(fixture.logits(steps).numpy(), fixture.arrays["eval/logits"]) < 1e-5
    for name, spikes in seen.items():
        spikes = spikes.movedim(-1, 2) if channels_last else spikes
        if fixture.settings.dvs_mode and name != "q":  # the fixture has seen k and v after their maxima
            spikes = torch.nn.functional.max_pool2d(spikes.flatten(0, 1), 3, 1, 1).view(spikes.shape)
        by_head = spikes.flatten(3).unflatten(2, (fixture.settings.heads, -1)).transpose(-2, -1)
        np.testing.assert_array_equal(by_head.numpy(), fixture.arrays[f"eval/{name}"], err_msg=name)
    assert len(seen) == 3


@pytest.mark.torch
def test_training(path):
    """With the channels first, since PyTorch sums batch statistics with the channels last less precisely."""
    fixture = Fixture(path, channels_last=False)
    steps = fixture.model.train()(fixture.images)
    loss = fixture.loss(steps)
    loss.backward()
    assert relative(fixture.logits(steps).detach().numpy(), fixture.arrays["train/logits"]) < 1e-5
    assert relative(loss.detach().numpy(), fixture.arrays["train/loss"]) < 1e-5
    theirs = fixture.group("grad")
    for name, parameter in fixture.model.named_parameters():
        ours, scale = parameter.grad.numpy(), np.abs(theirs[name]).max()
        if name.endswith(("conv.bias", "linear.bias")):  # zero but for rounding, before a batch normalisation
            scale = np.abs(theirs[name.replace("bias", "weight")]).max()
        assert np.abs(ours - theirs[name]).max() <= 1e-4 * scale, name
    for name, statistic in fixture.group("train_stats").items():
        if not name.endswith("num_batches_tracked"):
            assert relative(fixture.model.state_dict()[name].numpy(), statistic) < 5e-5, name


@pytest.mark.torch
@pytest.mark.parametrize("name", ["spikformer_cifar10", "spikingformer_imagenet", "sdt_cifar10"])
def test_training_with_channels_last(name):
    fixture = Fixture(next(path for path in FILES if path.stem == name), channels_last=True)
    steps = fixture.model.train()(fixture.images)
    loss = fixture.loss(steps)
    loss.backward()
    assert relative(loss.detach().numpy(), fixture.arrays["train/loss"]) < 1e-5
    assert relative(fixture.model.head.weight.grad.numpy(), fixture.arrays["grad/head.weight"]) < 1e-4


@pytest.mark.torch
@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_parameter_counts_of_the_published_models(name, count):
    import torch

    from stata_jax import config
    from stata_jax.tools import peer_programs
    from stata_jax.tools.peer_models import Peer, Settings

    settings = bench.settings_for(name, keep_rate=1.0, batch_size=1, overrides={})
    config.check(settings)
    with torch.device("meta"):
        model = Peer(Settings(**peer_programs.network_of(settings)))
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert settings.model.family == PUBLISHED[name]["family"]


@pytest.mark.torch
def test_adamw_is_ours():
    import jax
    import optax
    import torch

    from stata_jax.train import optimizer

    layer = torch.nn.Linear(3, 2)
    theirs = peer.adamw(layer, learning_rate=0.1, weight_decay=0.5)
    ours = optimizer.adamw(lambda step: 0.1, weight_decay=0.5, grad_clip=0.0)
    params = {name: value.detach().numpy().copy() for name, value in layer.named_parameters()}
    state = ours.init(params)
    for scale in (1.0, -3.0, 0.5):
        gradient = {
            name: scale * np.cos(np.arange(p.size, dtype=np.float32)).reshape(p.shape) for name, p in params.items()
        }
        for name, parameter in layer.named_parameters():
            parameter.grad = torch.tensor(gradient[name], dtype=torch.float32)
        theirs.step()
        updates, state = ours.update(jax.tree.map(np.float32, gradient), state, params)
        params = jax.device_get(optax.apply_updates(params, updates))
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), params[name], rtol=1e-5, atol=1e-6)


@pytest.mark.torch
def test_memory_is_the_most_held_at_once():
    import torch

    def run():
        for _ in range(3):
            torch.zeros(1_000_000)
        a, b = torch.zeros(500_000), torch.zeros(250_000)
        del a, b

    assert 4_000_000 <= peer._cpu_growth(run) < 4_100_000


@pytest.mark.torch
def test_a_real_run(tmp_path, capsys):
    flags = ["--model=sdt_2_256", "--rounds=2", "--batch_size=2", "--keep_rates=1", "--peer=spikingjelly"]
    assert benchmark.main([*flags, f"--output={tmp_path}", *TINY]) == 0
    assert "x spikingjelly |" in capsys.readouterr().out
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert [(row["mode"], row.get("peer")) for row in rows] == [
        (mode, peer) for mode in ("train", "infer") for peer in (None, "spikingjelly")
    ]
    for ours, theirs in zip(rows[::2], rows[1::2], strict=True):
        assert ours["x_peer"]["spikingjelly"] == pytest.approx(theirs["step_s"] / ours["step_s"])
        assert theirs["threads"] >= 1 and theirs["backend"] == "cpu, eager, float32"
    assert rows[1]["peak_bytes"] > rows[3]["peak_bytes"] > 0  # activations, gradients and moments come with training


@pytest.mark.torch
@pytest.mark.parametrize("setting", ["train.loss=tet", "train.grad_clip=1.0", "augment.mixup=0.5"])
def test_training_that_peers_do_not_do(setting, capsys):
    assert benchmark.main(["--model=sdt_2_256", "--peer=spikingjelly", *TINY, f"--config.{setting}"]) == 2
    assert f"{setting.partition('=')[0]} is" in capsys.readouterr().err


def test_unknown_peer(capsys):
    assert benchmark.main(["--model=sdt_2_256", "--peer=theano", *TINY]) == 2
    error = capsys.readouterr().err
    assert "--peer names 'theano', but it must be one of spikingjelly, spikingjelly_compiled" in error
    assert error.count("\n") == 1


def test_missing_packages(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    monkeypatch.setitem(sys.modules, "spikingjelly", None)
    assert benchmark.main(["--model=sdt_2_256", "--peer=spikingjelly", *TINY]) == 2
    error = capsys.readouterr().err
    assert 'pip install "stata_jax[peer]"' in error and error.count("\n") == 1
