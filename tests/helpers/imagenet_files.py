"""Small ImageNet archives in the published layout: a tar of one tar per class, and a tar of validation images."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

IDS = ("n01440764", "n01443537", "n02105855")  # labels 0, 1 and 230


def picture(seed: int, *, width: int = 60, height: int = 45, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    """A smooth random picture as the bytes of a file."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    random = np.random.RandomState(seed).randint(0, 256, (4, 5, channels), dtype=np.uint8)
    image = Image.merge(mode, [Image.fromarray(random[..., c]) for c in range(channels)])
    file = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def tar(files: dict[str, bytes]) -> bytes:
    """The bytes of a plain tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return file.getvalue()


def train_files(count: int = 4) -> dict[str, dict[str, bytes]]:
    """Pictures by class: one in CMYK, one a PNG and one grey among them, as in the real set."""
    files = {}
    for c, name in enumerate(IDS):
        files[name] = {f"{name}_{i}.JPEG": picture(100 * c + i, width=50 + 3 * i) for i in range(count)}
    files[IDS[0]][f"{IDS[0]}_0.JPEG"] = picture(0, mode="CMYK")
    files[IDS[1]][f"{IDS[1]}_0.JPEG"] = picture(1, kind="PNG")
    files[IDS[2]][f"{IDS[2]}_0.JPEG"] = picture(2, mode="L")
    return files


def validation_files(count: int = 7) -> dict[str, bytes]:
    """Validation pictures, in an order that is not that of their numbers."""
    return {f"ILSVRC2012_val_{i:08d}.JPEG": picture(1000 + i, height=40 + i) for i in range(count, 0, -1)}


def write_imagenet(folder: Path, train: dict[str, dict[str, bytes]], validation: dict[str, bytes]) -> None:
    """Writes both archives."""
    folder.mkdir(parents=True, exist_ok=True)
    outer = tar({f"{name}.tar": tar(files) for name, files in train.items()})
    (folder / "ILSVRC2012_img_train.tar").write_bytes(outer)
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar(validation))


def unpack_train(folder: Path, train: dict[str, dict[str, bytes]]) -> None:
    """Writes what is in the training archive: a folder a class."""
    for name, files in train.items():
        (folder / name).mkdir(parents=True)
        for file, contents in files.items():
            (folder / name / file).write_bytes(contents)


def unpack_validation(folder: Path, validation: dict[str, bytes], *, ids: list[str] | None = None) -> None:
    """Writes what is in the validation archive, flat, or with the WordNet ids of all 50000 in a folder a class."""
    for name, contents in validation.items():
        place = folder if ids is None else folder / ids[int(name[-13:-5]) - 1]
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(contents)
