"""Five papers of the PR12 series, reproduced."""
