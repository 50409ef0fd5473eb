import pytest

import rerun

STEPS = {
    "pr12.distill.compress",
    "pr12.distill.cost",
    "pr12.photostyle.stylise",
    "pr12.rca.quality",
    "pr12.stn.cost",
    "pr12.stn.train",
    "pr12.vae.mcem",
    "pr12.vae.train",
}


@pytest.mark.slow
def test_each_step_writes_the_same_bytes_when_it_runs_again_from_nothing(everything, tmp_path):
    checkout = everything.copy(tmp_path / "again")
    chosen = rerun.smallest_of_each_step(checkout / "build/smoke")
    assert set(chosen) > STEPS
    assert len(chosen) > 35
    differing = {
        module: names
        for module, folder in chosen.items()
        if (names := rerun.differences(checkout, folder))
    }
    assert differing == {}
