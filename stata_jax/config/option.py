"""An option of a config: all that is said about it, once."""

import dataclasses
import enum

from stata_jax.config.rules import Rule


class Resume(enum.Enum):
    """What becomes of a run that goes on with another value of an option."""

    # No part of what is learned. Some have to do with memory and speed alone, and then with rounding; others with when
    # and on what is measured, or where the files of one data set are.
    FREE = "may change"
    # A part of the result that a run may go on with: a line says that it has changed, and so does the run's record.
    RECORDED = "may change, recorded"
    # A part of the result that stays as it is for the whole of a run.
    FIXED = "fixed"
    # The same, and with another value the same weights would be another network, wherever they are used again. What a
    # network computes of its tokens stays; on how many images, timesteps and tokens, and to what precision, may change.
    NETWORK = "fixed, as is the network"


FREE, RECORDED, FIXED, NETWORK = Resume


@dataclasses.dataclass(frozen=True)
class Option:
    """An option; its type is that of its default.

    Attributes:
      default: Its value in `configs/common.py`. None stands for a tuple that follows from other options unless given.
      rule: What values are possible.
      resume: What becomes of a run that goes on with another value.
      comment: What it does. The first sentence is what `--help` says.
      former: Where runs did something else before the option existed: that value, another key, and the values of that
        key in a saved config for which it counts. A saved config without the option is older than it.
    """

    default: object
    rule: Rule
    resume: Resume
    comment: str
    former: tuple[object, str, tuple[object, ...]] | None = None

    @property
    def summary(self) -> str:
        """The first sentence of the comment, without its stop."""
        return self.comment.partition(". ")[0].removesuffix(".")
