"""Parts of `benchmarks/preprocess.py`."""
