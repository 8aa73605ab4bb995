"""Small event data sets in the layout in which the originals are published."""

import io
import tarfile
import zipfile

import numpy as np

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLIT = "class,train,test\n" + "".join(f"{label},0-1,2\n" for label in CLASSES)
GESTURES = {"train": ("user01_led", "user02_lab"), "test": ("user24_led",)}


def draw_events(seed: int, count: int = 300, *, start: int = 0, lasts: int = 10_000):
    from stata_jax.data.events import Events

    random = np.random.RandomState(seed)
    return Events(
        t=start + np.sort(random.randint(0, lasts, count)).astype(np.int64),
        x=random.randint(0, 128, count).astype(np.int32),
        y=random.randint(0, 128, count).astype(np.int32),
        p=random.randint(0, 2, count).astype(np.uint8),
    )


def cifar10_dvs_files() -> dict[str, bytes]:
    """Three recordings of each class; their events follow from class and number."""
    from stata_jax.data.readers import aedat2

    return {
        f"{label}/cifar10_{label}_{number}.aedat": aedat2.encode(draw_events(10 * place + number))
        for place, label in enumerate(CLASSES)
        for number in range(3)
    }


def gesture_files() -> dict[str, bytes]:
    """Three recordings of 11 spans each: class `k` from `1000 * k` microseconds on."""
    from stata_jax.data.readers import aedat3

    files = {
        f"DvsGesture/trials_to_{split}.txt": "\n".join(f"{n}.aedat" for n in names) + "\n\n"
        for split, names in GESTURES.items()
    }
    for seed, name in enumerate(GESTURES["train"] + GESTURES["test"]):
        files[f"DvsGesture/{name}.aedat"] = aedat3.encode(draw_events(seed, 3000, lasts=12_000), packet=512)
        lines = "".join(f"{label},{1000 * label},{1000 * label + 900}\n" for label in range(1, 12))
        files[f"DvsGesture/{name}_labels.csv"] = "class,startTime_usec,endTime_usec\n" + lines
    return {name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()}


def nmnist_files() -> dict[str, bytes]:
    """Three training and two test recordings of each digit, by the names of the published archives."""
    from stata_jax.data.readers import nmnist

    files = {}
    for part, numbers in (("Train", (1, 2, 3)), ("Test", (4, 5))):
        for digit in range(10):
            for number in numbers:
                events = draw_events(100 * digit + number)
                small = events._replace(x=events.x % 34, y=events.y % 34)
                files[f"{part}/{digit}/{10 * number + digit:05d}.bin"] = nmnist.encode(small)
    return files


def write_folder(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def write_zips(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for label in sorted({name.partition("/")[0] for name in files}):
        with zipfile.ZipFile(folder / f"{label}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{label}/", b"")
            for name, data in files.items():
                if name.startswith(f"{label}/"):
                    archive.writestr(name, data)


def write_tar(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "DvsGesture.tar.gz", "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


class EventFiles:
    """What the tests of the builders write: files by name, and the forms to write them in."""

    draw = staticmethod(draw_events)
    cifar10_dvs = staticmethod(cifar10_dvs_files)
    gesture = staticmethod(gesture_files)
    nmnist = staticmethod(nmnist_files)
    folder = staticmethod(write_folder)
    zips = staticmethod(write_zips)
    tar = staticmethod(write_tar)
    split = SPLIT
    classes = CLASSES
