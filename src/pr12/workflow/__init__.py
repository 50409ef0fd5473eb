"""How steps run: their params, addresses, graph and processes; computes nothing."""
