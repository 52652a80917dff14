"""dimitra: audio-driven talking-head generation, from raw video to the paper's tables."""

__version__ = "0.1.0"
