"""What is read, generated or dealt out."""
