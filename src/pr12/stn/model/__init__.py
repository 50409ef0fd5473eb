"""Networks, losses, estimators: pure functions."""
