"""A simulated dynamic vision sensor before which a still image moves, as in the recording of CIFAR10-DVS or N-MNIST.

A pixel of such a sensor remembers a log intensity and sends an event, of polarity 1 for brighter and 0 for darker,
whenever the log intensity before it has moved by a threshold from there, which it then remembers instead
(Lichtsteiner et al., 2008, doi:10.1109/JSSC.2007.914337).
"""

import itertools

import numpy as np

from stata_jax.data.events import Events, select

# Corners of the closed path, as rows and columns in units of the amplitude: three saccades, as in N-MNIST
# (Orchard et al., 2015, doi:10.3389/fnins.2015.00437).
PATH = ((0.0, 0.0), (1.0, 0.5), (0.0, 1.0), (0.0, 0.0))


def closed_path(*, amplitude: float, samples: int) -> np.ndarray:
    """Points on the path, equally spaced within each saccade: `(3 * samples + 1, 2)` rows and columns in pixels."""
    corners = amplitude * np.asarray(PATH)
    share = np.arange(samples)[:, None] / samples
    legs = [begin + share * (end - begin) for begin, end in itertools.pairwise(corners)]
    return np.concatenate([*legs, corners[-1:]])


def offset_at(t: np.ndarray, *, amplitude: float, saccade_us: int) -> np.ndarray:
    """Where the image is on the path at some times; it moves evenly within each saccade.

    Args:
      t: Microseconds since the start, of any shape (...), from 0 to `3 * saccade_us`.
      amplitude: See `record_all`.
      saccade_us: See `record_all`.

    Returns:
      `(..., 2)` float64, rows and columns in pixels from where it began.
    """
    corners = amplitude * np.asarray(PATH)
    times = saccade_us * np.arange(len(PATH))
    return np.stack([np.interp(t, times, corners[:, axis]) for axis in (0, 1)], axis=-1)


def shift(images: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Moves images down and right by a fraction of pixels, interpolating bilinearly, with zeros from outside.

    `shifted[y, x] = sum_(i, j) w(y - dy - i) * w(x - dx - j) * image[i, j]` with `w(d) = max(0, 1 - |d|)`.

    Args:
      images: `(B, H, W)`.
      offset: `(2,)` rows `dy` and columns `dx`, of any sign.

    Returns:
      `(B, H, W)` float64.
    """

    def weights(size: int, by: float) -> np.ndarray:
        place = np.arange(size)
        return np.maximum(0, 1 - np.abs(place[:, None] - by - place))

    rows, columns = weights(images.shape[1], offset[0]), weights(images.shape[2], offset[1])
    shifted: np.ndarray = rows @ images @ columns.T
    return shifted


def crossings(levels: np.ndarray, *, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where signals cross thresholds, each being a straight line between its samples.

    A signal starts with its first sample `r` as reference; whenever it reaches `r + threshold` or `r - threshold`
    there is an event, and the reference becomes the level reached.

    Args:
      levels: `(S, N)`, `S` samples of `N` signals.
      threshold: above 0.

    Returns:
      For each event, ordered by interval, then by signal: its time in units of the sampling interval, `(E,)` float64;
      its signal, `(E,)` int64; and its polarity, `(E,)` uint8, 1 for rising.
    """
    reference = levels[0].astype(np.float64)
    found = []
    for sample in range(1, len(levels)):
        # A little slack, so that rounding does not decide about a level that is just reached.
        gap = (levels[sample] - reference) / threshold
        steps = np.trunc(gap * (1 + 1e-7)).astype(np.int64)
        moved = np.flatnonzero(steps)
        number, sign = np.abs(steps[moved]), np.sign(steps[moved])
        signal, direction = np.repeat(moved, number), np.repeat(sign, number)
        step = np.arange(signal.size) - np.repeat(np.cumsum(number) - number, number) + 1  # 1 .. number, each time
        before, after = levels[sample - 1][signal], levels[sample][signal]
        reached = reference[signal] + direction * step * threshold
        time = sample - 1 + np.clip((reached - before) / (after - before), 0, 1)
        found.append((time, signal, (direction > 0).astype(np.uint8)))
        reference[moved] += steps[moved] * threshold
    time, signal, polarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return time, signal, polarity


def record_all(
    images: np.ndarray,
    randoms: list[np.random.RandomState],
    *,
    threshold: float,
    amplitude: float,
    samples: int,
    saccade_us: int,
    dark: float,
    noise_hz: float,
) -> list[Events]:
    """Records images, one after the other, as each moves once around the closed path; all at once is faster.

    Args:
      images: `(B, S, S)`, intensities from 0 to 1.
      randoms: of each image, for the noise events.
      threshold: change of log intensity per event.
      amplitude: length of the path's sides in pixels, about.
      samples: positions on each of the three saccades between which intensity changes along a straight line.
      saccade_us: microseconds a saccade.
      dark: intensity added to that of the image, so that black has a logarithm: `log(dark + image)`.
      noise_hz: events a second that each pixel sends without a cause, of either polarity.

    Returns:
      The events of each image, times from 0 to `3 * saccade_us` microseconds.

    Raises:
      ValueError: images of another shape, or an option that cannot be met.
    """
    _check(images, threshold=threshold, amplitude=amplitude, samples=samples, dark=dark, noise_hz=noise_hz)
    if saccade_us < samples:
        raise ValueError(f"saccade_us must be at least samples, {samples} microseconds, got {saccade_us}")
    count, height, width = images.shape
    path = closed_path(amplitude=amplitude, samples=samples)
    levels = np.stack([np.log(dark + shift(images, offset)).ravel() for offset in path])
    time, signal, p = crossings(levels, threshold=threshold)
    image, pixel = np.divmod(signal, height * width)
    y, x = np.divmod(pixel, width)
    t = np.minimum(np.floor(time * (saccade_us / samples)), 3 * saccade_us).astype(np.int64)
    events = Events(t, x.astype(np.int32), y.astype(np.int32), p)

    owner = np.argsort(image, kind="stable")
    ends = np.cumsum(np.bincount(image, minlength=count))
    recordings = []
    for index, random in enumerate(randoms):
        own = select(events, owner[(ends[index - 1] if index else 0) : ends[index]])
        noise = _noise(random, height=height, width=width, lasts=3 * saccade_us, rate_hz=noise_hz)
        both = Events(*(np.concatenate(pair) for pair in zip(own, noise, strict=True)))
        recordings.append(select(both, np.argsort(both.t, kind="stable")))
    return recordings


def record(image: np.ndarray, *, random: np.random.RandomState, **options: float) -> Events:
    """Records one image; the options are those of `record_all`.

    Args:
      image: `(S, S)`, intensities from 0 to 1.
      random: for the noise events.
      **options: as in `record_all`.

    Returns:
      Events in the order of time.
    """
    return record_all(image[None], [random], **options)[0]  # type: ignore[arg-type]


def _noise(random: np.random.RandomState, *, height: int, width: int, lasts: int, rate_hz: float) -> Events:
    """Events without a cause: a Poisson process at each pixel."""
    count = random.poisson(rate_hz * lasts * 1e-6 * height * width)
    return Events(
        t=random.randint(0, lasts + 1, count).astype(np.int64),
        x=random.randint(0, width, count).astype(np.int32),
        y=random.randint(0, height, count).astype(np.int32),
        p=random.randint(0, 2, count).astype(np.uint8),
    )


def _check(
    images: np.ndarray, *, threshold: float, amplitude: float, samples: int, dark: float, noise_hz: float
) -> None:
    if images.ndim != 3:
        raise ValueError(f"images must be (B, H, W), got {images.shape}: a sensor sees grey")
    for name, value, least, above in (
        ("threshold", threshold, 0, True),
        ("dark", dark, 0, True),
        ("amplitude", amplitude, 0, False),
        ("noise_hz", noise_hz, 0, False),
        ("samples", samples, 1, False),
    ):
        if not (np.isfinite(value) and (value > least if above else value >= least)):
            raise ValueError(f"{name} must be {'above' if above else 'at least'} {least}, got {value}")
