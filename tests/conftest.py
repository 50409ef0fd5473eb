"""What all tests share: the mark of those that run Snakemake or DVC for real."""

from pathlib import Path

import pytest

WORKFLOW = Path(__file__).parent / "workflow"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(WORKFLOW):
            item.add_marker(pytest.mark.workflow)
