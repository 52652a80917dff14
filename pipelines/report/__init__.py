"""The report page: what a run gave, to look at. `python -m pipelines.report` writes it."""
