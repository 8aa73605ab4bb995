"""Data. Static images are repeated over the timesteps of the model."""

from stata_jax.config.option import FIXED, FREE, NETWORK, RECORDED, Option
from stata_jax.config.rules import ABOVE_ZERO, FOLDER, SEED, SHARE, at_least, name_in, numbers, one_of, text, whole
from stata_jax.registries import FRAMES, SOURCES

# fmt: off
OPTIONS = {
    "data.source": Option("digits", name_in(SOURCES, "none"), FIXED,
        f"The data set: {', '.join(SOURCES)}, or none. digits: cluttered digits, drawn from scikit-learn's handwritten "
        "digits; digits_dvs: the same as recordings of events; image_folder: your own pictures, see data.path; none: "
        "no data, as in the config of a converted checkpoint, until another source is given. The others are read from "
        "files, see data.data_dir."),
    "data.data_dir": Option("", FOLDER, FREE,
        "Folder of tensorflow-datasets; empty: its default, ~/tensorflow_datasets."),
    "data.manual_dir": Option("", FOLDER, FREE,
        "Folder of downloaded archives; empty: downloads/manual in data.data_dir. They may be packed or unpacked."),
    "data.path": Option("", FOLDER, RECORDED,
        "image_folder: the folder of the pictures. It holds train/ and val/ (or test/), and in each is a folder with a "
        "class's pictures."),
    "data.image_size": Option(32, whole(1, 8_192), FIXED,
        "Pixels, height and width. Recordings may have a multiple of it, and are shrunk by means over blocks; or 2 or "
        "4 pixels more or less, which are cut off or added at the border, half on each side."),
    "data.channels": Option(1, whole(1, 4_096), NETWORK,
        "Channels of an image, 2 for recordings. The digits are grey: with more channels, they are all the same."),
    "data.num_classes": Option(10, whole(1, 10_000_000), FIXED,
        "Outputs of the network; no fewer than the data has classes."),
    "data.train_examples": Option(8192, whole(0, 2_147_483_647), FIXED,
        "Training images per epoch; 0: all there are. The digits are without end, and need a number."),
    "data.test_examples": Option(2000, whole(0, 2_147_483_647), FREE,
        "Test images, the same ones in every run; 0: all there are."),
    "data.test_seed": Option(1234, SEED, FIXED,
        "digits, digits_dvs: the test images follow from this seed alone."),
    "data.mean": Option((), numbers("must be numbers, one for each channel, or ()"), FIXED,
        "Mean of each channel, on a scale of 0 to 1, to normalise by; (): none."),
    "data.std": Option((), numbers("must be numbers above 0, one for each channel, or ()", above=0), FIXED,
        "Standard deviation of each channel, to normalise by."),
    "data.workers": Option(0, whole(0, 1_024), FREE,
        "imagenet, image_folder: processes that decode images; 0: threads of this one."),
    "data.frames": Option("count", one_of(FRAMES), FIXED,
        "Recordings: frames of equal event count, or of equal duration."),
    "data.split": Option("published", text("must be published, number or a file's name", r"(?s:.+)"), FIXED,
        "cifar10_dvs: which recordings test. published: 91 to 99 and 909 to 999 of a class, as in the published "
        "programs; number: 900 to 999; or the path of a file in the form of those beside its builder. This data set "
        "has no official split; the others have the split that they are published with.",
        former=("number", "data.source", ("cifar10_dvs",))),
    "data.test_crop": Option(0.875, SHARE, FIXED,
        "imagenet, image_folder: share of the shorter side that a test sees, centred."),
    "data.digits.size": Option(16, whole(1, 8_192), FIXED,
        "digits, digits_dvs: the digit's height and width, in pixels."),
    "data.digits.clutter": Option(8, whole(0, 10_000), FIXED,
        "digits, digits_dvs: distractor fragments per image."),
    "data.digits.fragment": Option(8, whole(1, 8_192), FIXED,
        "digits, digits_dvs: a fragment's height and width, in pixels."),
    "data.digits.noise": Option(0.1, at_least(0), FIXED,
        "digits: standard deviation of the pixel noise, on a scale of 0 to 1."),
    "data.sensor.threshold": Option(0.3, ABOVE_ZERO, FIXED,
        "digits_dvs: change of log intensity that makes an event of its sensor."),
    "data.sensor.noise": Option(1.0, at_least(0), FIXED,
        "digits_dvs: events a second that each pixel sends without a cause."),
}
