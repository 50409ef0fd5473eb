"""Claims as people ask for them, and where their numbers come from."""
