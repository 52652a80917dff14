"""What is wrong with an encoder before it has heard or read anything."""


class EncoderError(ValueError):
    """An encoder cannot run as asked: its name, device, package or grid; says what to change."""


class WeightsError(EncoderError):
    """Weights, or what lies beside them, are not those of the network; names file and values."""
