"""What evidence holds of a picture."""
