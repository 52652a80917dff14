"""Modules whose bytes are part of the version of the metric code (``dimitra.metrics.version``)."""

DATA_FILES = (
    "compact.py",
    "evaluator.py",
    "mfcc.py",
    "network.py",
    "pictures.py",
    "protocol.py",
    "training.py",
)
"""Every module of this package; who imports this depends on all of them."""
