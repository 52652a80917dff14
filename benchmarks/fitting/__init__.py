"""What `benchmarks/fit.py` measures, part by part."""
