"""The report of matmuls that take other input than spikes."""

import pathlib

import jax

from stata_jax import purity
from stata_jax.tools.purity import Matmul

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")


def test_the_report_lists_all_families_dense_and_pruned(monkeypatch, capsys):
    asked = []

    def measure(settings, images):
        assert images == "images"
        asked.append((settings.model.family, settings.sparsity.keep_rate, settings.sparsity.anchor))
        return [
            Matmul("stem/conv0", ("real numbers",)),
            Matmul("block0/mlp/up", ("binary",)),
            Matmul("block0/attention/value", ("silent", "binary")),
        ]

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(purity, "measure", measure)
    monkeypatch.setattr(purity, "training_images", lambda settings: "images")
    assert purity.main([f"--config={CONFIG}", "--config.sparsity.keep_rate=0.4"]) == 0
    families = ("spikformer", "spikingformer", "sdt")
    assert asked == [(family, *pruned) for family in families for pruned in ((1.0, False), (0.4, True))]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "spikformer, keep rate 1: 1 of 3 matmuls take other input than spikes",
        "  stem/conv0                   real numbers",
        "  (no input at all on these images: block0/attention/value)",
    ]
    assert len(lines) == 18


def test_it_measures_the_model_of_a_config():
    from stata_jax import config

    size = {"model.family": "sdt", "model.dim": 16, "model.heads": 2, "model.depth": 1, "sparsity.prune_at": (0,)}
    align = {"align.intra_at": (0,), "align.inter_at": (0,), "train.batch_size": 4}
    settings = config.load(CONFIG, size | align)
    matmuls = purity.measure(settings, purity.training_images(settings))
    names = [matmul.name for matmul in matmuls]
    assert names[0] == "stem/conv0" and names[-1] == "head" and "block0/scores" in names
    assert matmuls[0].inputs == ("real numbers",)
