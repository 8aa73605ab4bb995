"""The shipped configs as a package: `from stata_jax.configs import common`, in a config file or anywhere else.

In a clone they are the files of the folder `configs` beside `stata_jax`. An installed package carries a copy of them,
so that nothing but `stata_jax` is importable from it.
"""

import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers do not follow `__path__`
    from configs import (  # noqa: F401
        cifar10,
        cifar10_dvs,
        cifar10_small,
        cifar100,
        cifar100_small,
        common,
        digits,
        digits_dvs,
        dvs128_gesture,
        grids,
        image_folder,
        imagenet,
        nmnist,
        variants,
    )

_HERE = pathlib.Path(__file__).resolve().parent
_COPY = _HERE / "shipped"  # where pyproject.toml has the folder `configs` installed
FOLDER = _COPY if _COPY.is_dir() else _HERE.parents[1] / "configs"
__path__ = [str(FOLDER)]
