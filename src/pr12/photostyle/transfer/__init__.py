"""The tool for people's own photographs."""
