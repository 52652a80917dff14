"""Noise schedule, training target and samplers."""
