"""Cluttered digits: draft."""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "stata") -> ConfigDict:
    config = common.get_config()
    with config.unlocked():
        config.name = "digits"
        config.model.dim = 64
        config.model.depth = 2
        config.model.heads = 4
        config.model.pooling = "1100"
        config.train.batch_size = 64
        config.train.epochs = 8
        config.train.learning_rate = 4e-3
        config.train.warmup_epochs = 0.5
    return config
