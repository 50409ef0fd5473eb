"""One small paper through Snakemake, DVC and git: what `make test` runs of the workflow."""

import pytest

from checkout import UP_TO_DATE, Checkout, copy_repository, job_table

CASES = ("teacher", "hard_800", "library", "compress_munge")


@pytest.mark.quick
def test_a_small_paper_is_made_by_snakemake_locked_by_dvc_and_up_to_date_in_a_clone(tmp_path):
    (tmp_path / "repository").mkdir()
    checkout = copy_repository(tmp_path / "repository")
    checkout.trim(CASES, claims=["teacher_beats_hard"])
    ran = job_table(checkout.snakemake())
    assert (ran["distill_train"], ran["distill_evaluate"], ran["distill_pages"]) == (2, 1, 1)
    made = checkout.results()
    assert any(name.endswith("model.safetensors") for name in made)
    assert "reports/smoke/distill/README.md" in made

    checkout.git("init", "--quiet", "--initial-branch", "main")
    text = checkout.dvc("repro")
    assert "distill_train" not in text  # all is there: DVC takes it up, and nothing runs
    assert checkout.results() == made
    checkout.commit("Results")
    clone = Checkout(tmp_path / "clone")
    checkout.git("clone", "--quiet", ".", str(clone.root))
    assert UP_TO_DATE in clone.dvc("repro", "--dry", "--allow-missing")
    assert not (clone / "build").exists()
