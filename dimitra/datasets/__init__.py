"""Datasets as they lie on disk: which files are clips, who speaks, and how they are split."""
