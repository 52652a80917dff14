"""Variants of the models as experiments of DVC, and the table of them."""
