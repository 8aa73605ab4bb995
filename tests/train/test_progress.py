"""Tests of stata_jax.train.progress with a clock set by hand and a small model of a terminal."""

import io
import os

import pytest

from stata_jax.train.progress import Progress, format_time


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """The lines that a terminal shows after all that was written."""
        lines, column = [""], 0
        for character in self.getvalue():
            if character == "\n":
                lines.append("")
                column = 0
            elif character == "\r":
                column = 0
            else:
                lines[-1] = lines[-1][:column] + character + lines[-1][column + 1 :]
                column += 1
                assert column < 80, "the line would wrap"
        return [line.rstrip() for line in lines]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def start(total=100, *, start_step=0, stream=None, interval=None):
    clock = Clock()
    stream = io.StringIO() if stream is None else stream
    return Progress(total, start_step=start_step, stream=stream, interval=interval, clock=clock), stream, clock


def update(progress, step, loss=1.5):
    progress.update(step, epoch=2, loss=loss, accuracy=0.25, images_per_second=321.4)


def test_the_line():
    progress, stream, clock = start(total=200, interval=0)
    update(progress, 10)
    clock.now += 20
    update(progress, 20)
    assert stream.getvalue().splitlines() == [
        "step 10/200 5%  epoch 2  loss 1.5  acc 25.0%  321 img/s  left ?",
        "step 20/200 10%  epoch 2  loss 1.5  acc 25.0%  321 img/s  left 6:00",
    ]


def test_slow_speeds_keep_a_digit():
    progress, stream, _ = start()
    progress.update(1, epoch=1, loss=2.302585, accuracy=0.0, images_per_second=3.14159)
    assert "loss 2.303  acc 0.0%  3.1 img/s" in stream.getvalue()


def test_a_file_gets_a_line_every_ten_seconds_and_the_last():
    progress, stream, clock = start()
    for step in range(1, 101):
        update(progress, step)
        clock.now += 0.3
    steps = [int(line.split()[1].split("/")[0]) for line in stream.getvalue().splitlines()]
    assert steps == [1, 35, 69, 100]
    assert "\r" not in stream.getvalue()


def test_a_terminal_is_rewritten_four_times_a_second():
    progress, stream, clock = start(stream=Terminal())
    for step in range(1, 101):
        update(progress, step)
        clock.now += 0.0625
    assert stream.getvalue().count("\r") == 26  # steps 1, 5, ..., 97 and the last
    assert stream.screen()[0].startswith("step 100/100 100%") and len(stream.screen()) == 1
    progress.close()
    progress.close()
    assert stream.screen()[1:] == [""]


def test_a_shorter_line_covers_a_longer_one():
    progress, stream, _ = start(stream=Terminal(), interval=0)
    update(progress, 1, loss=1.234567e-12)
    update(progress, 2, loss=1)
    assert stream.screen() == ["step 2/100 2%  epoch 2  loss 1  acc 25.0%  321 img/s  left 0:00"]


def test_a_long_line_is_cut_before_it_wraps():
    progress, stream, _ = start(total=10**40, stream=Terminal())
    update(progress, 10**39)
    assert len(stream.screen()[0]) == 79


def test_note_leaves_whole_lines():
    progress, stream, clock = start(stream=Terminal(), interval=0)
    progress.note("starting")
    update(progress, 1)
    progress.note("evaluated:\naccuracy 0.5")
    clock.now += 1
    update(progress, 2)
    progress.close()
    lines = stream.screen()
    assert lines[:3] == ["starting", "evaluated:", "accuracy 0.5"]
    assert lines[3].startswith("step 2/100") and lines[4:] == [""]


def test_note_in_a_file():
    progress, stream, _ = start()
    update(progress, 1)
    progress.note("saved")
    assert stream.getvalue().splitlines()[1:] == ["saved"]


def test_close_shows_what_was_held_back():
    progress, stream, _ = start()
    with progress:
        update(progress, 1)
        update(progress, 2)
        assert "step 2" not in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].startswith("step 2/100")


def test_close_without_an_update_prints_nothing():
    progress, stream, _ = start(stream=Terminal())
    progress.close()
    assert stream.getvalue() == ""


def left(stream):
    return stream.getvalue().splitlines()[-1].split("left ")[1]


def test_time_left_leaves_out_the_compilation_and_earlier_processes():
    progress, stream, clock = start(total=1000, start_step=900, interval=0)
    clock.now += 300  # compiling
    update(progress, 901)
    assert left(stream) == "?"
    clock.now += 2
    update(progress, 902)
    assert left(stream) == "3:16"  # 98 steps of 2 s
    update(progress, 902)
    assert left(stream) == "3:16"


def test_time_left_is_a_weighted_mean():
    progress, stream, clock = start(total=10_000, interval=0)
    times = [1.0, 3.0, 2.0, 5.0] * 30
    update(progress, 1)
    for step, seconds in enumerate(times, start=2):
        clock.now += seconds
        update(progress, step)
    weights = [0.98**age for age in range(len(times))]
    mean = sum(weight * seconds for weight, seconds in zip(weights, reversed(times), strict=True)) / sum(weights)
    assert left(stream) == format_time(mean * (10_000 - 121))


def test_time_left_does_not_depend_on_how_often_it_is_told():
    results = []
    for stride in (1, 10):
        progress, stream, clock = start(total=1000, interval=0)
        update(progress, 1)
        for step in range(1 + stride, 102, stride):
            clock.now += stride * (1.0 if step <= 51 else 2.0)
            update(progress, step)
        results.append(left(stream))
    assert results[0] == results[1]


def test_the_end_has_no_time_left():
    progress, stream, _ = start(total=1)
    update(progress, 1)
    assert left(stream) == "0:00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (600, "10:00"), (3599.6, "1:00:00"), (90061, "25:01:01")],
)
def test_format_time(seconds, text):
    assert format_time(seconds) == text


def test_bad_steps():
    with pytest.raises(ValueError, match="start_step must be from 0 to total_steps = 5, got 6"):
        Progress(5, start_step=6)
    progress, _, _ = start(start_step=10)
    for step in (9, 101):
        with pytest.raises(ValueError, match=f"got {step}"):
            update(progress, step)
    with pytest.raises(ValueError, match="interval must not be negative"):
        Progress(5, start_step=0, interval=-1)


def test_standard_error_is_the_default(capsys):
    progress = Progress(5, start_step=0)
    update(progress, 5)
    captured = capsys.readouterr()
    assert captured.err.startswith("step 5/5 100%") and not captured.out


def test_a_real_terminal_without_a_size():
    pty = pytest.importorskip("pty")  # not on every system
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stream:
        progress, _, _ = start(stream=stream)
        update(progress, 1)
        progress.close()
        assert os.read(ours, 1000).startswith(b"\rstep 1/100 1%")
    os.close(ours)
