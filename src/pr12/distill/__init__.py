"""PR-009: distilling the knowledge in a neural network, and the work around it."""
