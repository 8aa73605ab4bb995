"""Growth exponents against hand numbers and NumPy's fit, and the table and sentences from numbers that are known."""

import numpy as np
import pytest

from stata_jax.tools.growth import as_markdown, conclusions, exponent, gains, growth, three_digits


def row(value, rate, seconds, *, memory=None, spread=0.0, speed_up=1.0):
    return {
        "value": value,
        "keep_rate": rate,
        "step_s": seconds,
        "spread_s": spread,
        "unit_s": seconds / value,
        "peak_bytes": memory,
        "speed_up": speed_up,
    }


def result_of(rows, *, vary="timesteps", mode="train", **more):
    facts = {"model": "m", "batch_size": 16, "image_size": 32, "timesteps": 4, "rounds": 5, "dtype": "float32"}
    facts |= {"device": "cpu", "jax": "0.10.2", "vary": vary, "mode": mode, "rows": rows, "growth": growth(rows)}
    return facts | more


def test_exponent_by_hand():
    # On the logarithms to base 2: x = 0, 1, 2 and y = 0, 2, 2, so that a = ((-1)(-4/3) + 0 + (1)(2/3)) / 2 = 1.
    assert exponent([1, 2, 4], [1.0, 4.0, 4.0]) == pytest.approx(1.0)
    assert exponent([1, 2, 4], [3.0, 3.0, 3.0]) == pytest.approx(0.0)
    assert exponent([3, 9], [2.0, 18.0]) == pytest.approx(2.0)


def test_exponent_against_numpy_whatever_the_unit():
    rng = np.random.default_rng(0)
    values = np.sort(rng.choice(np.arange(1, 100), 7, replace=False))
    costs = 0.1 * values**1.3 * rng.uniform(0.8, 1.2, 7)
    expected = np.polyfit(np.log(values), np.log(costs), 1)[0]
    assert exponent(list(values), list(costs)) == pytest.approx(expected)
    assert exponent(list(values), list(1e6 * costs)) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "costs"), [([2, 2], [1, 1]), ([1, 2], [0, 1]), ([0, 2], [1, 1]), ([1, 2], [1])])
def test_no_slope(values, costs):
    with pytest.raises(ValueError, match="two different values, and all above 0"):
        exponent(values, costs)


def test_growth_by_keep_rate():
    rows = [row(v, r, v**a, memory=100 * v**2) for v in (1, 2, 4) for r, a in ((1.0, 1.04), (0.2, 1.06))]
    dense, pruned = growth(rows)
    assert (dense["keep_rate"], pruned["keep_rate"]) == (1.0, 0.2)
    assert dense["time_exponent"] == pytest.approx(1.04) and dense["linear_or_better"] is True
    assert pruned["time_exponent"] == pytest.approx(1.06) and pruned["linear_or_better"] is False
    assert dense["time_slopes"] == pytest.approx([1.04, 1.04])
    assert dense["memory_slopes"] == pytest.approx([2.0, 2.0]) and dense["memory_exponent"] == pytest.approx(2.0)


def test_unknown_memory_has_no_growth():
    (entry,) = growth([row(1, 1.0, 1.0, memory=5), row(2, 1.0, 2.0)])
    assert entry["memory_exponent"] is None and entry["memory_slopes"] is None
    assert entry["time_exponent"] == pytest.approx(1.0)


def batches(*pruned):
    """Dense inference takes 10 s, give or take one, at each batch 1, 2, 4, and pruned what is given."""
    dense = [row(v, 1.0, 10.0, spread=1.0) for v in (1, 2, 4)]
    return dense + [row(v, 0.2, t, spread=0.5) for v, t in zip((1, 2, 4), pruned, strict=True)]


def test_pruning_pays_beyond_the_spread_of_both():
    assert gains(batches(8.6, 8.4, 20.0)) == [{"keep_rate": 0.2, "pays_at": [2], "not_at": [1, 4]}]
    assert gains(batches(8.6, 8.4, 20.0)[:3]) == []  # dense alone


@pytest.mark.parametrize(
    ("pruned", "sentence"),
    [
        ((9, 8, 8), "inference is faster than keep rate 1 beyond the spread from a batch of 2 on"),
        ((8, 9, 9), "inference is faster than keep rate 1 beyond the spread from a batch of 1 on, but not at 2, 4"),
        ((9, 9, 9), "at none of these batches inference is faster than keep rate 1 beyond the spread"),
    ],
)
def test_sentence_on_batches(pruned, sentence):
    rows = batches(*pruned)
    result = result_of(rows, vary="batch_size", mode="infer", gains=gains(rows))
    assert conclusions(result)[-1] == f"keep rate 0.2: {sentence}"


def test_sentences_on_growth():
    first, second = conclusions(result_of([row(1, r, 1.0) for r in (1.0, 0.2)] + [row(4, 1.0, 4.0), row(4, 0.2, 16.0)]))
    assert first == (
        "keep rate 1: time grows as timesteps^1.00; linear or better (at most 1.05, for what a clock can tell): yes; "
        "steepest from 1 to 4, 1.00"
    )
    assert "keep rate 0.2: time grows as timesteps^2.00; " in second and ": no; steepest from 1 to 4, 2.00" in second
    rows = [row(1, 1.0, 1.0, memory=1), row(2, 1.0, 4.0, memory=4), row(4, 1.0, 4.0, memory=16)]
    (sentence,) = conclusions(result_of(rows))
    assert sentence.endswith("steepest from 1 to 2, 2.00; memory grows as timesteps^2.00")


def test_table():
    rows = [row(2, 1.0, 0.5, memory=int(2e6), spread=0.01), row(2, 0.2, 0.25, memory=int(1e6), speed_up=2.0)]
    rows += [row(8, 1.0, 1.0, memory=int(32e6)), row(8, 0.2, 0.004, memory=None, speed_up=250.0)]
    lines = as_markdown(result_of(rows, vary="tokens")).splitlines()
    assert lines[0] == "m, training step, batch 16, T 4, float32; cpu, jax 0.10.2, median of 5 calls"
    head = "tokens | keep rate | time | a token | slope of time | all memory | slope of memory | speed-up"
    assert lines[2] == f"| {head} |" and lines[3].count("|") == lines[2].count("|")
    assert lines[4:8] == [
        "| 2 | 1 | 500 ± 10 ms | 250 ms | | 2.00 MB | | x1.00 |",
        "| 2 | 0.2 | 250 ± 0 ms | 125 ms | | 1.00 MB | | x2.00 |",
        "| 8 | 1 | 1000 ± 0 ms | 125 ms | 0.50 | 32.0 MB | 2.00 | x1.00 |",
        "| 8 | 0.2 | 4.00 ± 0.00 ms | 0.500 ms | -2.98 | ? | | x250.00 |",
    ]
    assert [line[:14] for line in lines[9:]] == ["- keep rate 1:", "- keep rate 0."]


def test_three_digits():
    assert [three_digits(x) for x in (0.01234, 1.0, 12.34, 123.4, 12345.6)] == [
        "0.0123",
        "1.00",
        "12.3",
        "123",
        "12346",
    ]
