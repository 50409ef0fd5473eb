"""Published files become arrays."""
