"""Finds ImageNet in whichever form it is there: prepared, unpacked into folders, or as the published archives.

Folders are as PyTorch's users have them: `train` and `val` with a folder for each class, called by its WordNet id; the
pictures in `val` may lie there as they come out of the archive, for the number in their name says their class.
"""

import functools
from pathlib import Path

from stata_jax.data.builders.imagenet import (
    PAGE,
    TRAIN,
    VALIDATION,
    StataImagenet2012,
    class_ids,
    validation_label,
)
from stata_jax.data.picture_source import Split
from stata_jax.data.protocol import DataError
from stata_jax.data.readers import picture_files
from stata_jax.data.readers.tfds_store import find, open_split, prepare

OFFICIAL = "imagenet2012"  # TFDS's own
_BELOW = (".", "imagenet", "ILSVRC/Data/CLS-LOC")  # of the folder of archives, where `train` and `val` may be


def find_splits(data: Path, manual: Path) -> tuple[Split | str, Split]:
    """Looks for prepared data first, then for folders, then for archives.

    The training archive has to be prepared, together with the other; the validation archive alone is read as it is.

    Args:
      data: Folder of prepared data.
      manual: Folder with the archives, or with `train` and `val`.

    Returns:
      The training split, or what to do to get one; and the validation split.

    Raises:
      DataError: If there is no validation split, or what is there is damaged.
    """
    prepared = find(data, OFFICIAL) or find(data, StataImagenet2012.name)
    places = [manual / below for below in _BELOW]
    base = next((place for place in places if (place / "train").is_dir() or (place / "val").is_dir()), manual)
    train, test, archives = base / "train", base / "val", (manual / TRAIN, manual / VALIDATION)
    if not prepared and not train.is_dir() and all(map(Path.is_file, archives)):
        instead = f"unpack {TRAIN} into {train}, a folder a class, and leave the other as it is"
        prepared = prepare(StataImagenet2012, data, manual, instead=instead)
    if prepared:
        splits = [(open_split(prepared, split)[0], f"{split} split of {prepared}") for split in ("train", "validation")]
        return Split(*splits[0], checked=True), Split(*splits[1], checked=True)
    if test.is_dir():
        validation = Split(_validation_folder(test), str(test))
    elif archives[1].is_file():
        validation = Split(_validation_archive(archives[1]), str(archives[1]))
    else:
        missing = [VALIDATION] if train.is_dir() or archives[0].is_file() else [TRAIN, VALIDATION]
        raise DataError(
            f"ImageNet is not there: put {' and '.join(missing)} from {PAGE}, where one has to register, into "
            f"{manual}, packed or unpacked into folders train and val, or name with data.data_dir the folder in which "
            f"tensorflow-datasets has prepared {OFFICIAL}"
        )
    pictures = _class_folders(train) if train.is_dir() else ()
    if len(pictures):
        return Split(pictures, str(train)), validation
    return f"put {TRAIN} from {PAGE} into {manual}, unpacked into {train} with a folder a class", validation


@functools.cache
def _labels() -> dict[str, int]:
    return {name: label for label, name in enumerate(class_ids())}


def _class_folders(folder: Path) -> picture_files.Folder:
    labels = _labels()
    if unknown := [name for name in picture_files.class_names(folder) if name not in labels]:
        raise DataError(
            f"{folder / unknown[0]} is not named after one of the {len(labels)} classes of ImageNet, such as "
            f"{next(iter(labels))}: data.source=image_folder is for pictures of other classes"
        )
    pictures, _ = picture_files.of_classes(folder, labels)
    return pictures


def _validation_folder(folder: Path) -> picture_files.Folder:
    if picture_files.class_names(folder):
        pictures = _class_folders(folder)
    else:
        names, _ = picture_files.find(folder)
        pictures = picture_files.Folder(folder, names, [_label(name, folder) for name in names])
    if not len(pictures):
        raise DataError(f"there is no picture in {folder}: unpack {VALIDATION} into it")
    return pictures


def _validation_archive(path: Path) -> picture_files.Tar:
    return picture_files.Tar(path, lambda name: _label(name, path))


def _label(name: str, place: Path) -> int:
    try:
        return _labels()[validation_label(name)]
    except ValueError as error:
        raise DataError(f"{name} in {place} {error}") from error
