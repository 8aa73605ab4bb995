"""What a value of a config may be by itself, to be put together in `stata_jax.config.options`."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from stata_jax.registries import KERNELS, REPLACED, Registry


class Rule(NamedTuple):
    """Whether a value is possible, and the words for what is, such as `must be true or false`, or what makes them."""

    is_possible: Callable[[Any], bool]
    words: str | Callable[[], str]

    @property
    def possible(self) -> str:
        """The words for what is possible."""
        return self.words if isinstance(self.words, str) else self.words()


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_LARGEST = 3e38  # what float32 holds


def _is_number(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]


def whole(low: int, high: int | None = None, *, multiple: int = 1) -> Rule:
    """An integer within limits."""
    if multiple > 1:
        text = f"must be a positive multiple of {multiple}" + ("" if high is None else f", at most {high}")
    else:
        text = (
            f"must be a whole number of at least {low}"
            if high is None
            else f"must be a whole number from {low} to {high}"
        )
    most = math.inf if high is None else high
    return Rule(lambda value: _is_whole(value) and low <= value <= most and value % multiple == 0, text)


def number(possible: str, is_possible: Callable[[float], bool] = lambda value: True) -> Rule:
    """A finite number, in words of one's own."""
    return Rule(lambda value: _is_number(value) and is_possible(value), possible)


def at_least(low: float) -> Rule:
    """A number with a lower limit."""
    return number(f"must be a number of at least {low:g}", lambda value: value >= low)


def within(low: float, high: float) -> Rule:
    """A number within limits, both of which are possible."""
    return number(f"must be from {low:g} to {high:g}", lambda value: low <= value <= high)


def _are_numbers(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_number, value))


def numbers(possible: str, *, above: float = -math.inf) -> Rule:
    """A tuple of finite numbers, in words of one's own."""
    return Rule(lambda value: _are_numbers(value) and all(item > above for item in value), possible)


def text(possible: str, pattern: str = r"(?s:.*)") -> Rule:
    """A text that a regular expression matches as a whole."""
    return Rule(lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, possible)


def one_of(values: tuple[str, ...]) -> Rule:
    """One of some words."""
    return Rule(lambda value: value in values, f"must be one of {', '.join(values)}")


def name_in(registry: Registry, *others: str) -> Rule:
    """A name of a registry, `module:object`, or one of some other words."""

    def is_possible(value: object) -> bool:
        return value in others or registry.is_possible(value)

    return Rule(is_possible, lambda: f"must be one of {', '.join([*registry, *others])}, or module:object")


def names_in(registry: Registry) -> Rule:
    """Names of a registry or `module:object`, with commas between them; or none."""

    def is_possible(value: object) -> bool:
        return isinstance(value, str) and (not value or all(map(registry.is_possible, value.split(","))))

    return Rule(is_possible, "must be module:object of functions that there are, with commas between them, or empty")


def _is_increasing(value: object) -> bool:
    if not isinstance(value, tuple) or not all(map(_is_whole, value)):
        return False
    return all(low < high for low, high in itertools.pairwise((-1, *value)))


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except (re.error, RecursionError, OverflowError):
        return False


ABOVE_ZERO = number("must be a number above 0", lambda value: value > 0)
SHARE = number("must be above 0 and at most 1", lambda value: 0 < value <= 1)
BELOW_ONE = number("must be at least 0 and below 1", lambda value: 0 <= value < 1)
KEEP_RATE = number("must be above 0 and at most 1 (1 keeps all tokens)", lambda value: 0 < value <= 1)
RANGE = Rule(
    lambda value: _are_numbers(value) and len(value) == 2 and 0 < value[0] <= value[1] <= 1,
    "must be two shares of an image, above 0 and at most 1, such as (0.08, 1.0)",
)
SWITCH = Rule(lambda value: isinstance(value, bool), "must be true or false")
NAME = text(
    "must be a folder name of letters, digits, '.', '_' and '-' that starts with a letter or a digit",
    r"[A-Za-z0-9][A-Za-z0-9._-]*",
)
FOLDER = text("must be the name of a folder, or empty")
SEED = whole(0, 2**32 - 1)  # the largest one that gives a JAX key of its own
KERNEL_CHOICE = text(
    f"must be one of {', '.join(KERNELS)}; but for plain, operations that stay plain may follow, each after a -, such "
    f"as auto-max_pool: {', '.join(REPLACED)}",
    rf"plain|(auto|cpu|gpu)(-({'|'.join(REPLACED)}))*",
)
PATTERN = Rule(_is_pattern, "must be a regular expression, or empty")
POSITIONS = Rule(
    lambda value: value is None or _is_increasing(value),
    "must be None or block positions in increasing order, such as (0, 2)",
)
