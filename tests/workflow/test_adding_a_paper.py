"""The sixth paper, as docs/adding-a-paper.md shows it, is run to its verdicts."""

import json

import pytest

import page_files
from checkout import BIN, REPOSITORY, copy_repository, job_table

VERDICTS = {
    "below_twice_the_best": "reproduced",
    "above_the_best": "reproduced",
    "a_third": "inconclusive",
    "nine_err_less": "reproduced",
    "one_example_is_guessing": "differs",
}


@pytest.mark.slow
def test_the_paper_that_the_page_adds_runs_to_its_verdicts(tmp_path):
    (tmp_path / "repository").mkdir()
    checkout = copy_repository(tmp_path / "repository")
    page = (REPOSITORY / "docs/adding-a-paper.md").read_text(encoding="utf-8")
    names = page_files.write(page, checkout.root)
    assert len(names) == len(page_files.shown(page)) > 12

    text = checkout.snakemake("--config", "run=smoke", "--", "neighbours")
    ran = job_table(text)
    assert (ran["neighbours_evaluate"], ran["evidence"], ran["neighbours_pages"]) == (5, 5, 1)
    folder = checkout / "reports/smoke/neighbours"
    claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert {claim["id"]: claim["verdict"] for claim in claims} == VERDICTS
    assert (folder / "figures/errors.svg").is_file()
    assert "Theorem 1" in (folder / "README.md").read_text(encoding="utf-8")

    written = [checkout / name for name in names if name.endswith(".py")]
    checkout.run(str(BIN / "ruff"), "check", *map(str, written))
    checkout.run(str(BIN / "ruff"), "format", "--check", *map(str, written))
    tests = ("tests/fast/neighbours", "src/pr12/neighbours/model", "-p", "no:cacheprovider")
    checkout.run(str(BIN / "python"), "-m", "pytest", "--quiet", *tests, PYTHONPATH="src")
