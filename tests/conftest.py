"""What all tests share: checkouts to start from, and the mark of tests that run the tools."""

from pathlib import Path

import pytest

pytest_plugins = ["checkouts"]

REAL = [Path(__file__).parent / name for name in ("workflow", "servers")]


def pytest_collection_modifyitems(items):
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in REAL):
            item.add_marker(pytest.mark.workflow)
