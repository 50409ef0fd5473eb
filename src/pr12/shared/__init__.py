"""Small modules that several papers use."""
