"""The tool for people's own segmentations."""
