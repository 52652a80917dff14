"""Evaluation metrics of talking-head videos."""
