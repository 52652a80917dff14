"""The user study of the paper's supplement S-I: pairs of videos, one question, many raters."""
