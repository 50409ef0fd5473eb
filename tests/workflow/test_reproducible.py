"""Each step's quickest result, made a second time in a process that starts from nothing.

One of the two runs compared is that of the workflow, whose steps are forks of a warm process; the
other is cold: plain Python, by the command in the step's own log, with another hash seed, locale
and zone. A second cold run of each of the more than 35 steps would cost some 80 processor seconds
more for their imports alone (0.9 to 2.7 each), and would show less: that warm and cold agree is
shown here too.
"""

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
