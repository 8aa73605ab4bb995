"""What a run shows of itself, with a clock set by hand and a small model of a terminal."""

import io
import os

import pytest
import tqdm.std

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
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(tqdm.std, "time", clock)  # what each new bar takes as its clock
    return clock


def update(progress, step, loss=1.5):
    progress.update(step, epoch=2, loss=loss, accuracy=0.25, images_per_second=321.4)


def test_the_line_in_a_file(clock):
    stream = io.StringIO()
    progress = Progress(200, stream=stream, interval=0)
    update(progress, 10)
    clock.now += 20
    update(progress, 20)
    assert stream.getvalue().splitlines() == [
        "step 10/200 5%, epoch 2, loss 1.5, acc 25.0%, 321 img/s, ? left",
        "step 20/200 10%, epoch 2, loss 1.5, acc 25.0%, 321 img/s, 06:00 left",
    ]


def test_slow_speeds_keep_a_digit():
    stream = io.StringIO()
    Progress(9, stream=stream).update(1, epoch=1, loss=2.302585, accuracy=0.0, images_per_second=3.14159)
    assert "loss 2.303, acc 0.0%, 3.1 img/s" in stream.getvalue()


def test_a_file_gets_a_line_every_ten_seconds_and_the_last(clock):
    stream = io.StringIO()
    with Progress(100, stream=stream) as progress:
        for step in range(1, 101):
            update(progress, step)
            clock.now += 0.3
    steps = [int(line.split()[1].split("/")[0]) for line in stream.getvalue().splitlines()]
    assert steps == [1, 35, 69, 100]
    assert "\r" not in stream.getvalue()


def test_a_terminal_is_rewritten_four_times_a_second(clock):
    stream = Terminal()
    progress = Progress(100, stream=stream)
    for step in range(1, 101):
        update(progress, step)
        clock.now += 0.0625
    assert stream.getvalue().count("\r") == 26  # steps 1, 5, ..., 97 and the last
    assert stream.screen()[0].startswith("step 100/100 100%|") and len(stream.screen()) == 1
    progress.close()
    progress.close()
    assert stream.screen()[1:] == [""]


def test_a_shorter_line_covers_a_longer_one():
    stream = Terminal()
    progress = Progress(100, stream=stream, interval=0)
    update(progress, 1, loss=1.234567e-12)
    update(progress, 2, loss=1)
    assert len(stream.screen()) == 1 and stream.screen()[0].count("left") == 1


def test_a_long_line_is_cut_before_it_wraps():
    stream = Terminal()
    update(Progress(10**40, stream=stream), 10**39)
    assert len(stream.screen()[0]) == 79


def test_note_leaves_whole_lines(clock):
    stream = Terminal()
    progress = Progress(100, stream=stream, interval=0)
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
    stream = io.StringIO()
    progress = Progress(100, stream=stream)
    update(progress, 1)
    progress.note("saved")
    assert stream.getvalue().splitlines()[1:] == ["saved"]


def test_close_shows_what_was_held_back():
    stream = io.StringIO()
    with Progress(100, stream=stream) as progress:
        update(progress, 1)
        update(progress, 2)
        assert "step 2" not in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].startswith("step 2/100")


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_close_without_an_update_prints_nothing(stream):
    Progress(100, stream=stream).close()
    assert stream.getvalue() == ""


def test_time_left_leaves_out_the_compilation_and_earlier_processes(clock):
    stream = io.StringIO()
    progress = Progress(1000, stream=stream, interval=0)
    clock.now += 300  # compiling
    update(progress, 901)
    clock.now += 2
    update(progress, 902)
    first, second = stream.getvalue().splitlines()
    assert first.endswith(", ? left") and second.endswith(", 03:16 left")  # 98 steps of 2 s


def test_the_end_has_no_time_left(clock):
    stream = io.StringIO()
    progress = Progress(2, stream=stream)
    update(progress, 1)
    clock.now += 1
    update(progress, 2)
    assert stream.getvalue().splitlines()[-1].endswith(", 00:00 left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (600, "10:00"), (3599.6, "1:00:00"), (90061, "25:01:01")],
)
def test_format_time(seconds, text):
    assert format_time(seconds) == text


def test_standard_error_is_the_default(capsys):
    progress = Progress(5)
    update(progress, 5)
    captured = capsys.readouterr()
    assert captured.err.startswith("step 5/5 100%") and not captured.out


def test_a_real_terminal_without_a_size():
    pty = pytest.importorskip("pty")  # not on every system
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stream:
        progress = Progress(100, stream=stream)
        update(progress, 1)
        progress.close()
        assert b"step 1/100 1%" in os.read(ours, 1000)
    os.close(ours)
