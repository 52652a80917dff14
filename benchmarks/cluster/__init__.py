"""How the runtime behaves on clusters: what its parts cost, and a simulation made of them."""
