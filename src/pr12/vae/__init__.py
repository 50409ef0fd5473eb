"""PR-010: auto-encoding variational Bayes, and the work around it."""
