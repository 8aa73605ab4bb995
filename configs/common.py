"""Every option of stata_jax with its default: the base that each config in this folder changes.

A config is `get_config(variant)` returning a locked `ConfigDict`. Each key below is read somewhere; a key that is not
here does not exist, and setting one is an error that names its neighbours. Override any of them on the command line:

    python -m stata_jax.main --config=configs/digits.py --config.sparsity.keep_rate=0.4

`placeholder(tuple)` marks a value that is derived from the others (here: from the depth) unless it is given.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults: Spikingformer-4-384 with STATA at keep rate 0.2."""
    config = ConfigDict()
    config.name = "common"  # names the run folder, runs/<name>
    config.seed = 0  # every random number of a run follows from this one
    config.init_from = ""  # folder of a run or of a converted checkpoint whose weights to start from; empty: none

    # Data. Static images are repeated over the timesteps of the model.
    config.data = data = ConfigDict()
    # digits: cluttered digits, drawn from scikit-learn's handwritten digits; digits_dvs: the same as recordings of
    # events; cifar10, cifar100, imagenet, cifar10_dvs, dvs128_gesture, nmnist: from files, see data_dir; image_folder:
    # your own pictures, see path; none: no data, as in the config of a converted checkpoint, until another source is
    # given.
    data.source = "digits"
    data.data_dir = ""  # folder of tensorflow-datasets; empty: its default, ~/tensorflow_datasets
    data.manual_dir = ""  # folder of downloaded archives, packed or unpacked; empty: downloads/manual in data_dir
    data.path = ""  # image_folder: the folder with train/ and val/ (or test/), in each a folder with a class's pictures
    # Pixels, height and width. Recordings may have a multiple of it, and are shrunk by means over blocks; or 2 or 4
    # pixels more or less, which are cut off or added at the border, half on each side.
    data.image_size = 32
    data.channels = 1  # 2 for recordings; the digits are grey: with more channels, they are all the same
    data.num_classes = 10  # outputs of the network; no fewer than the data has classes
    data.train_examples = 8192  # training images per epoch; 0: all there are, which are without end for the digits
    data.test_examples = 2000  # test images, the same ones in every run; 0: all there are
    data.test_seed = 1234  # digits: the test images follow from this seed alone
    data.mean = ()  # by which images are normalised, a number for each channel, on a scale of 0 to 1; (): they are not
    data.std = ()  # the standard deviations
    data.workers = 0  # imagenet, image_folder: processes that decode images; 0: threads of this one
    data.frames = "count"  # recordings: frames of equal event count, or of equal duration
    # cifar10_dvs, which has no official split: published (recordings 91 to 99 and 909 to 999 of a class test, as in the
    # published programs), number (900 to 999 test), or the path of a file in the form of those beside its builder.
    # The others have the split that they are published with.
    data.split = "published"
    data.test_crop = 0.875  # imagenet, image_folder: share of the shorter side that testing sees, in the middle

    # How hard the cluttered digits are.
    data.digits = digits = ConfigDict()
    digits.size = 16  # pixels, the digit's height and width
    digits.clutter = 8  # distractor fragments per image
    digits.fragment = 8  # pixels, a fragment's height and width
    digits.noise = 0.1  # standard deviation of the pixel noise, on a scale of 0 to 1; digits_dvs has none

    # The simulated sensor that records digits_dvs.
    data.sensor = sensor = ConfigDict()
    sensor.threshold = 0.3  # change of a pixel's log intensity that makes an event
    sensor.noise = 1.0  # events a second that each pixel sends without a cause

    # Augmentation of a training batch.
    config.augment = augment = ConfigDict()
    augment.flip = False  # mirrors half of the images
    augment.crop_padding = 0  # pixels around an image, from which a crop of its size is cut; 0: none
    # imagenet, image_folder: least and most of an image's area in a random crop. At 1, the whole image is squeezed to a
    # square, where its sides are not further apart than 3 to 4, and otherwise its middle up to that ratio.
    augment.crop_scale = (1.0, 1.0)
    augment.randaugment_count = 0  # RandAugment's operations on an image; 0: none
    # What they are drawn from: timm's fifteen, or the five of Spikformer's CIFAR recipe (Equalize, Rotate, ShearX,
    # TranslateX, TranslateY).
    augment.randaugment_operations = "fifteen"
    augment.randaugment_magnitude = 9.0  # how strong they are, 0 to 10
    augment.randaugment_std = 0.0  # standard deviation of the magnitude
    augment.randaugment_increasing = True  # whether a higher magnitude always changes an image more
    augment.erasing = 0.0  # probability of erasing a rectangle of an image
    augment.erasing_noise = True  # fill it with noise; False: with the mean colour, as published
    # Recordings: mirror half of them; one of identity, shear x, translate x, translate y, rotate and cutout for each.
    # Spikformer's and Spikingformer's published recipes do so, the Spike-driven Transformer's do not.
    augment.events = False
    # How large a cutout is: side, from 1 to 30 pixels, as the published list of operations has it; or area, a share of
    # 0.1 % to 11 % of it, as the published programs ran.
    augment.event_cutout = "side"
    augment.mixup = 0.0  # alpha of the Beta distribution that mixes two images; 0 turns mixup off
    augment.cutmix = 0.0  # alpha of the Beta distribution of the area that is cut from another image; 0 turns it off
    augment.mix_probability = 1.0  # that a batch is mixed at all
    augment.switch_probability = 0.5  # of cutmix, where both are on
    augment.mix_off_epoch = 0  # the first epoch, counted from 0, without mixing; 0: mixed to the end
    augment.label_smoothing = 0.1  # share of the label's weight that is spread over all classes

    # The network.
    config.model = model = ConfigDict()
    model.family = "spikingformer"  # spikformer, spikingformer, or sdt, the Spike-driven Transformer
    model.timesteps = 4  # T
    model.dim = 384  # D, the token width
    model.depth = 4  # L, the number of blocks
    model.heads = 12  # h, a divisor of the width
    model.mlp_ratio = 4  # hidden width of the MLP over the token width
    # Which of the four stages after the first convolution halve the image. Two pools make patches of 4x4 pixels
    # (0011, the CIFAR stem), four of 16x16 (1111, the ImageNet stem).
    model.pooling = "0011"
    model.attention_scale = 0.125  # s of Eq. 8, a constant whatever the head width
    model.qkv_bias = False  # biases of q, k and v; True for Spikformer's CIFAR models
    model.dvs_mode = False  # sdt only: local maxima of k, v and their products, as for CIFAR10-DVS
    model.neuron = "lif"  # lif, or plif: each layer learns its time constant
    model.tau = 2.0  # membrane time constant of every neuron, in timesteps; the initial one for plif
    model.threshold = 1.0  # V_th of every neuron but the one after attention
    model.attention_threshold = 0.5  # V_th of the neuron after attention
    model.surrogate_alpha = 4.0  # slope of the sigmoid surrogate gradient
    model.dtype = "float32"  # of convolutions and products: float32 or bfloat16; the membrane is always float32

    # Token sparsification (Section 4.2).
    config.sparsity = sparsity = ConfigDict()
    sparsity.anchor = True  # the anchor token at index 0
    sparsity.keep_rate = 0.2  # gamma: share of the patch tokens that a pruning block keeps; 1 keeps all
    sparsity.metric = "anchor"  # what ranks tokens: anchor (Eq. 9), ssa, l1 or random
    sparsity.timestep_wise = True  # each timestep keeps its own tokens (TAT); False: all keep the same (AT)
    sparsity.prune_at = placeholder(tuple)  # P_I, e.g. (2, 5); unset: every third block from depth // 3
    sparsity.slots = "sorted"  # order of the kept tokens: sorted, or stable (a token keeps its slot over time)
    sparsity.pool = "all"  # mean before the head: all (with the anchor) or tokens (without)
    sparsity.anchor_init = 2.0  # standard deviation of the anchor's initial values, large enough to fire

    # Dual alignment of attention maps (Sections 4.3 and 4.4).
    config.align = align = ConfigDict()
    align.alpha = 0.01  # weight of the intra-alignment loss; 0 turns it off
    align.beta = 0.01  # weight of the inter-alignment loss; 0 turns it off
    align.intra_time = True  # better timesteps teach worse ones
    align.intra_heads = True  # better heads teach worse ones
    # Timesteps that kept different tokens: patches compares the rows and columns of the patches that both kept, slots
    # compares slot by slot.
    align.intra_tokens = "patches"
    align.intra_at = placeholder(tuple)  # P_a, e.g. (0, 2, 3); unset: 0, depth // 3 + 1, depth - 1
    align.inter_at = placeholder(tuple)  # P_r; unset: the same
    align.match = "interpolate"  # maps of two sizes: interpolate (bilinear), or gather (the surviving tokens)
    # norm: l2 norm of the difference of two maps, as the paper's equations have it; mse: mean squared error, whose
    # gradient is so small at these weights that the alignment does nothing.
    align.distance = "norm"

    # Optimisation: linear warm-up, then cosine, then the minimum rate.
    config.train = train = ConfigDict()
    train.epochs = 310  # in all: warm-up, cosine and cool-down
    train.batch_size = 192  # of an update, over all devices
    # Micro-batches that each device's share of a batch is split into, one after the other, with one update for all: the
    # memory of one of them, in more time. Each is normalised by its own statistics.
    train.accumulate = 1
    train.optimizer = "adamw"  # adamw, or lamb as in timm, whose published recipes also clip: grad_clip 1
    train.learning_rate = 5e-4  # at the peak
    train.min_learning_rate = 1e-5  # at the end of the cosine, and in the cool-down
    train.warmup_epochs = 20.0
    train.warmup_learning_rate = 1e-5  # at the first step
    # Of `epochs`, the last ones, at the minimum rate. Recipes that give epochs and cool-down apart, such as 300 and 10,
    # have `epochs` 310 and `cooldown_epochs` 10 here.
    train.cooldown_epochs = 0
    # step: the rate changes at every step, and the cosine starts where the warm-up ends; epoch: constant within an
    # epoch, with a cosine that runs from epoch 0 behind the warm-up, as the published models were trained (timm).
    train.schedule_by = "step"
    # Batch size that the three rates above are meant for; all of them are multiplied by batch_size / base_batch_size.
    # This is the linear rule: k times the batch makes a k-th of the updates, and each goes k times as far. 0, the
    # default: the rates are taken as they are, for recipes give them for their own batch, and with adaptive optimisers
    # the rule goes too far (the square root of the ratio is common there).
    train.base_batch_size = 0
    train.weight_decay = 0.06  # on matrices and kernels only
    train.grad_clip = 0.0  # largest global norm of the gradient; 0: no clipping
    # Evaluate with running averages of the weights and of the running statistics, which start from the initial ones:
    # ema = ema_decay * ema + (1 - ema_decay) * new, after each update. 0: none; 0.9998 is common in long runs.
    train.ema_decay = 0.0
    # What to do when the loss, the gradient or what they lead to is not finite. stop: end the run with exit code 3, and
    # keep the last checkpoint, which is finite; skip: leave such an update out, and count it; 16
    # in a row end the run as well.
    train.on_nonfinite = "stop"
    train.loss = "cross_entropy"  # of the logits averaged over time; tet: of each timestep's logits
    train.tet_means = 1.0  # for tet: what its second term draws all logits to
    train.tet_lambda = 0.001  # for tet: weight of that term
    # Over what a batch is normalised in training. all: over all devices, as one device would; device: each by its own
    # share, as the published models were trained, with running statistics that are the mean of the devices'.
    train.batch_norm = "all"
    # Keep spikes in bytes for the backward pass: the same gradients with less memory.
    train.lean = True
    # With `lean`: compute those products again in the backward pass whose result is no narrower than their input, which
    # neurons follow, and each value of which is a sum of 1024 at most. The same gradients with much less memory, in
    # about a tenth more time. Where it is a sum of 32 at most, as in a convolution of images, that is always done.
    train.recompute = False
    # On a processor: as how many devices it works, each on its share of the batch. 1: one device that divides its
    # products among its threads. The devices draw random numbers of their own, so another number is another
    # run; accelerators are all used, whatever this says.
    train.cpu_devices = 1
    # On a processor: threads of each device. 0: one for each of several devices, and as many as there are cores for a
    # single one. With one, sums are in the same order whatever the number of cores, and small networks are as fast.
    train.cpu_threads = 0
    train.log_every = 50  # steps between two lines of metrics.jsonl

    # Evaluation and checkpoints.
    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 200  # over all devices; the last batch is padded and masked
    evaluation.every_epochs = 1  # also the time of a checkpoint
    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every_steps = 0  # further checkpoints between evaluations; 0: none
    checkpoint.every_minutes = 10.0  # and after so much time without one; 0: none
    checkpoint.keep = 1  # newest checkpoints kept, beside the best one

    return config.lock()
