"""Numbers that papers share: determinism, tensors, checkpoints, replicas."""
