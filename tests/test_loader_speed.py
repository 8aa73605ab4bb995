"""The command that measures a source."""

import json
import pathlib

import pytest

from stata_jax import config, loader_speed

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")


class Counting:
    """A source that takes a second of a false clock for each batch of 6."""

    steps_per_epoch = 3

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def train_batch(self, epoch, step):
        self.asked.append((epoch, step))
        return {"label": [0] * 6}


@pytest.fixture
def source(monkeypatch):
    counting = Counting()
    monkeypatch.setattr("stata_jax.build.source", lambda settings: counting)
    monkeypatch.setattr(loader_speed.time, "perf_counter", lambda: float(len(counting.asked)))
    return counting


def test_it_asks_for_batches_in_turn_and_does_not_time_the_first(source):
    assert loader_speed.measure(config.load(CONFIG), batches=4) == 6
    assert source.asked == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def run_folder(tmp_path: pathlib.Path, *lines: dict) -> pathlib.Path:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_the_speed_is_printed_beside_that_of_a_run(source, tmp_path, capsys):
    speeds = [{"step": i, "train/images_per_second": value} for i, value in enumerate((1.0, 3.0, 200.0))]
    folder = run_folder(tmp_path, *speeds, {"step": 3, "test/top1": 0.5})
    assert loader_speed.main([f"--config={CONFIG}", "--batches=4", f"--workdir={folder}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "digits: 6 images/s from the source, 4 batches",
        f"training: 3 images/s in {folder}; the source is 2.0 times as fast",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--config is missing"),
        ([f"--config={CONFIG}", "--batches=0"], "--batches is 0, but it must be at least 1"),
        ([f"--config={CONFIG}", "--workdir=/no/such/run"], "/no/such/run/metrics.jsonl cannot be read"),
    ],
)
def test_mistakes_are_told_in_one_line(flags, message, capsys):
    assert loader_speed.main(flags) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_has_not_logged_yet(tmp_path):
    with pytest.raises(config.ConfigError, match="holds no training speed yet"):
        loader_speed.trained_at(run_folder(tmp_path, {"step": 1, "test/top1": 0.5}))


def test_it_measures_the_digits():
    small = {"train.batch_size": 4, "data.train_examples": 8}
    assert loader_speed.measure(config.load(CONFIG, small), batches=2) > 0
