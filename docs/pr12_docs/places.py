"""Where things lie."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = DOCS / "generated"  # git-ignored: copies of texts, and the gallery
PARAMS = ROOT / "params.yaml"


def papers() -> list[str]:
    """Return the short names of all papers, in the order of params.yaml."""
    return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["papers"]
