"""What the commands say in one sentence and without a traceback: mistakes that the user can mend."""


class ConfigError(ValueError):
    """A mistake in a config or a flag."""
