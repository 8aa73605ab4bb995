"""Means over seeds, their spread, and differences between two ways to train, seed by seed."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
      mean: Of the values.
      low: Lower end; None for a single value, which says nothing of its spread.
      high: Upper end, or None.
      count: How many values.
    """

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def sample_sd(values: Sequence[float]) -> float | None:
    """`sqrt(sum (x - mean)^2 / (n - 1))`, or None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The mean of normal values with its confidence interval.

        mean ± t s / sqrt(n),   t the quantile (1 + confidence) / 2 of Student's distribution of n - 1 degrees

    Args:
      values: At least one.
      confidence: Share of such intervals that hold the true mean.

    Returns:
      Mean and interval.

    Raises:
      ValueError: Without values, or if the confidence is not between 0 and 1.
    """
    if not values or not 0 < confidence < 1:
        raise ValueError(f"there must be values and a confidence between 0 and 1, got {values} and {confidence}")
    mean, sd = statistics.fmean(values), sample_sd(values)
    if sd is None:
        return Interval(mean, None, None, 1)
    from scipy.special import stdtrit  # takes a while to import

    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * sd / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float], *, confidence: float = CONFIDENCE
) -> Interval | None:
    """The mean of `values[seed] - baseline[seed]` over the seeds that both have, with its confidence interval.

    What a seed does to both, such as the order of the data, drops out, so that fewer seeds tell more.

    Args:
      values: By seed.
      baseline: By seed.
      confidence: As of `mean_interval`.

    Returns:
      Mean and interval, or None if they have no seed in common.
    """
    common = sorted(values.keys() & baseline.keys())
    if not common:
        return None
    return mean_interval([values[seed] - baseline[seed] for seed in common], confidence=confidence)
