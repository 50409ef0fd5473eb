"""How steps run: nothing here computes a result, or is part of an address."""
