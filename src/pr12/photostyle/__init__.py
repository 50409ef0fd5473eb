"""PR-007: Deep Photo Style Transfer, and feature inversion, texture synthesis and neural style."""
