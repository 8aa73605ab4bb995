"""Your own pictures as a source of batches: a folder with `train` and `val` (or `test`), in each a folder a class."""

from functools import partial
from pathlib import Path

from stata_jax.data.options import SourceOptions
from stata_jax.data.picture_source import PictureSource, Split, check_options, make_source
from stata_jax.data.protocol import DataError
from stata_jax.data.readers import picture_files, pictures
from stata_jax.paths import expand

_TESTED_ON = ("val", "test")  # the first that is there
_SHOWN = 5  # names in a message


def open_image_folder(options: SourceOptions) -> PictureSource:
    """Opens a folder of pictures of any size and format, see `pictures.decode`.

    The classes are the folders in `train`, or in `val` where there is no `train`, sorted as text; a class may be an
    empty folder. Damaged pictures are left out: in training the next one takes the place of one.

    Args:
      options: Of which `path` names the folder, and `num_classes` says how many classes there have to be.

    Returns:
      A source that is tested on the pictures in `val`, or in `test` where there is no `val`. Where there is no picture
      in `train`, it can do nothing else.

    Raises:
      DataError: If the folder has another form, there are fewer pictures than a batch, or most of them are damaged.
      ValueError: If a batch does not divide over the processes.
    """
    check_options(options)
    if not options.path:
        raise DataError(f"data.path is empty: name the folder of your pictures, with {_FORM}")
    root = expand(options.path).absolute()
    train = root / "train"
    test = next((root / name for name in _TESTED_ON if (root / name).is_dir()), None)
    if test is None:
        what = "has no folder val or test" if root.is_dir() else "is no folder"
        raise DataError(f"data.path, {root}, {what}: it must hold {_FORM}")
    classes = _classes(train, test, options.num_classes)
    labels = {name: label for label, name in enumerate(classes)}
    tested, others = picture_files.of_classes(test, labels)
    if not len(tested):
        raise DataError(f"there is no picture in the folders of {test}: {_ENDINGS}")
    trained, more = picture_files.of_classes(train, labels)
    print(
        f"{root}: {len(classes)} classes ({_some(classes)}), {len(trained)} training pictures, {len(tested)} test "
        f"pictures in {test.name}"
        + (f"; {others + more} other files are passed over ({_ENDINGS})" if others + more else "")
    )
    nothing = f"put pictures into {train}, a folder a class"
    return make_source(
        Split(trained, str(train)) if len(trained) else nothing,
        Split(tested, str(test)),
        options,
        num_classes=len(classes),
        decode=partial(pictures.decode, channels=options.channels),
    )


_FORM = "train/ and val/ (or test/), in each a folder with the pictures of each class"
_ENDINGS = "pictures are known by the endings of their names, .jpg, .png and so on"


def _classes(train: Path, test: Path, num_classes: int) -> list[str]:
    named = picture_files.class_names(train if train.is_dir() else test)
    if len(named) != num_classes:
        raise DataError(
            f"data.num_classes is {num_classes}, but there are {len(named)} folders of classes in "
            f"{train if train.is_dir() else test}{f' ({_some(named)})' if named else ''}"
            + ("" if named else f": data.path must hold {_FORM}")
        )
    if unknown := sorted(set(picture_files.class_names(test)) - set(named)):
        raise DataError(f"{test} has classes that {train} has not: {_some(unknown)}")
    return named


def _some(names: list[str]) -> str:
    shown = (name.encode(errors="replace").decode() for name in names[:_SHOWN])  # a file's name may be no text
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
