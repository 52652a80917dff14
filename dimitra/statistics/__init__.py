"""How sure a mean is, and whether two differ."""
