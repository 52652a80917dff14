"""Modules whose bytes are part of the version of the metric code (``dimitra.metrics.version``)."""

DATA_FILES = ("intervals.py", "paired.py")
"""Every module of this package; who imports this depends on all of them."""
