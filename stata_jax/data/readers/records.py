"""Pictures by number, decoded; and what becomes of damaged ones."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from stata_jax.data.protocol import DataError
from stata_jax.data.readers import jpeg

_LOOKED_AT = 32  # pictures of a set that are decoded before it is used
_IN_A_ROW = 100  # damaged pictures, one after the other, that are too many
_NAMED = 20  # damaged pictures of a set that are named


class DecodeError(DataError):
    """A picture that could be read, but not decoded."""


class Records:
    """Some of the examples of a data set; `records[i]` is the `i`-th of the chosen ones."""

    def __init__(
        self,
        examples: Sequence[Any],
        chosen: np.ndarray,
        *,
        name: str,
        decode: Callable[[bytes], Image.Image] = jpeg.decode,
        lenient: bool = False,
    ) -> None:
        """Keeps the arguments.

        Args:
          examples: `image`, the bytes of a file, `label`, and `file_name` if it has one.
          chosen: Indices of those to use.
          name: Of the set, for messages.
          decode: From the bytes of a file to a picture.
          lenient: Whether a picture that cannot be decoded is replaced by the next one that can, or an error. One
            that cannot be read at all always is: that is no fault of the picture, and may be over soon.
        """
        self._examples, self._chosen, self._name = examples, chosen, name
        self._decode, self._lenient = decode, lenient

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """Reads and decodes: `image`, a picture, `label`, and `damaged`: `place` if the picture there is, -1 if not.

        Raises:
          DataError: If that is not possible.
        """
        for further in range(min(len(self), _IN_A_ROW) if self._lenient else 1):
            try:
                return self.read((place + further) % len(self)) | {"damaged": np.int64(place if further else -1)}
            except DecodeError as error:
                reason = error
        raise reason

    def read(self, place: int) -> dict[str, Any]:
        """Reads and decodes this very picture, see `records[place]`."""
        index, name = int(self._chosen[place]), ""
        try:
            example = self._examples[index]
            name = f" ({example.get('file_name', b'').decode()})"
            contents, label = example["image"], np.int32(example["label"])
        except Exception as error:  # a damaged shard can raise anything
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise DataError(f"{self._where(index, name)} cannot be read: {reason}") from error
        try:
            return {"image": self._decode(contents), "label": label}
        except Exception as error:  # and so can a damaged picture
            raise DecodeError(f"{self._where(index, name)} cannot be decoded: {error}") from error

    def _where(self, index: int, name: str) -> str:
        if hasattr(self._examples, "where"):
            return str(self._examples.where(index))
        return f"example {index}{name} of the {self._name}"

    def look(self) -> None:
        """Decodes a few pictures, spread over the set.

        Raises:
          DataError: If most of them are damaged, or one cannot be read.
        """
        count = min(len(self), _LOOKED_AT)
        reasons = []
        for i in range(count):
            try:
                self.read(i * len(self) // count)
            except DecodeError as error:
                reasons.append(str(error))
        if 2 * len(reasons) > count:
            raise DataError(
                f"of {count} pictures of the {self._name} that were looked at, {len(reasons)} cannot be decoded; the "
                f"first: {reasons[0]}"
            )


class Damage:
    """Counts the damaged pictures of a set and names the first of them, as they are met."""

    def __init__(self, records: Records, *, what: str) -> None:
        """Counts none so far; `what` says of which pictures, such as `test`."""
        self._records, self._what = records, what
        self._met: set[int] = set()
        self._told = 0

    def meet(self, damaged: np.ndarray) -> None:
        """Takes what a batch of records has as `damaged`, and tells what is new."""
        for place in sorted(set(damaged.tolist()) - self._met - {-1}):
            self._met.add(place)
            if len(self._met) <= _NAMED:
                try:
                    self._records.read(place)
                except DecodeError as error:
                    self._tell(f"{error}: it is left out ({self._count()} so far)")

    def end(self) -> None:
        """Tells how many there are at the end of a pass, if it is more than have been named."""
        if len(self._met) > max(_NAMED, self._told):
            self._tell(f"{self._count()}: they are left out")

    def _count(self) -> str:
        return f"{len(self._met)} of {len(self._records)} {self._what} pictures damaged"

    def _tell(self, text: str) -> None:
        self._told = len(self._met)
        start = "\n" if sys.stderr.isatty() else ""  # below the line of progress
        print(start + " ".join(text.split()), file=sys.stderr, flush=True)
