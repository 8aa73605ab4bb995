"""Augmentation of a training batch."""

from stata_jax.config.option import FIXED, RECORDED, Option
from stata_jax.config.rules import BELOW_ONE, RANGE, SWITCH, at_least, names_in, one_of, whole, within
from stata_jax.registries import AUGMENTATIONS, CUTOUTS, RANDAUGMENTS

# fmt: off
OPTIONS = {
    "augment.flip": Option(False, SWITCH, FIXED,
        "Mirrors half of the images."),
    "augment.crop_padding": Option(0, whole(0, 1_024), FIXED,
        "Pixels around an image, from which a crop of its size is cut; 0: no crops."),
    "augment.crop_scale": Option((1.0, 1.0), RANGE, FIXED,
        "imagenet, image_folder: least and most of an image's area in a random crop. At 1, the whole image is squeezed "
        "to a square, where its sides are not further apart than 3 to 4, and otherwise its middle up to that ratio."),
    "augment.randaugment_count": Option(0, whole(0, 100), FIXED,
        "RandAugment's operations on an image; 0: none."),
    "augment.randaugment_operations": Option("fifteen", one_of(RANDAUGMENTS), FIXED,
        "RandAugment's operations: timm's fifteen, or the five of Spikformer. The five, of its CIFAR recipe, are "
        "Equalize, Rotate, ShearX, TranslateX and TranslateY."),
    "augment.randaugment_magnitude": Option(9.0, within(0, 10), FIXED,
        "How strong RandAugment's operations are, 0 to 10."),
    "augment.randaugment_std": Option(0.0, at_least(0), FIXED,
        "Standard deviation of RandAugment's magnitude."),
    "augment.randaugment_increasing": Option(True, SWITCH, FIXED,
        "Whether a higher magnitude of RandAugment always changes an image more."),
    "augment.erasing": Option(0.0, within(0, 1), FIXED,
        "Probability of erasing a rectangle of an image."),
    "augment.erasing_noise": Option(True, SWITCH, FIXED,
        "Fills an erased rectangle with noise; False: with the mean colour. Published recipes do the latter."),
    "augment.events": Option(False, SWITCH, FIXED,
        "Recordings: mirrors half of them, and does one of six operations to each. They are identity, shear x, "
        "translate x, translate y, rotate and cutout. Spikformer's and Spikingformer's published recipes do so, the "
        "Spike-driven Transformer's do not."),
    "augment.event_cutout": Option("side", one_of(CUTOUTS), FIXED,
        "How large a cutout of a recording is. side: from 1 to 30 pixels, as the published list of operations has it; "
        "area: a share of 0.1 % to 11 % of the frame, as the published programs ran."),
    "augment.extra": Option("", names_in(AUGMENTATIONS), FIXED,
        "Further functions, module:object, with commas between them. Each makes images of a JAX key and images, after "
        "the others and before mixing."),
    "augment.mixup": Option(0.0, at_least(0), FIXED,
        "Alpha of mixup's Beta distribution; 0 turns it off. It draws the shares of two images."),
    "augment.cutmix": Option(0.0, at_least(0), FIXED,
        "Alpha of CutMix's Beta distribution; 0 turns it off. It draws the area that is cut from another image."),
    "augment.mix_probability": Option(1.0, within(0, 1), FIXED,
        "Probability that a batch is mixed at all."),
    "augment.switch_probability": Option(0.5, within(0, 1), FIXED,
        "Probability of CutMix, where mixup is on as well."),
    "augment.mix_off_epoch": Option(0, whole(0), RECORDED,
        "The first epoch, counted from 0, without mixing; 0: mixed to the end."),
    "augment.label_smoothing": Option(0.1, BELOW_ONE, FIXED,
        "Share of the label's weight that is spread over all classes."),
}
