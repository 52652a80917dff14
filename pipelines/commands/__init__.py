"""The commands of ``dimitra`` that need the pipeline; they register as entry points."""
