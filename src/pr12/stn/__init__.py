"""PR-011: Spatial Transformer Networks."""
