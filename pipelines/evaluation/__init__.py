"""What the stages `score` and `evaluate` and the command `dimitra evaluate` measure with."""
