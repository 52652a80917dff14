"""Parts of `benchmarks/cmdt.py`."""
