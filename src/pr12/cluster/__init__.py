"""Running on a cluster: what jobs ask for, which go together, how long it takes, what failed."""
