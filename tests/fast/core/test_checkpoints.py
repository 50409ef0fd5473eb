import dataclasses
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pr12.core import checkpoints
from pr12.workflow.step import Job

LIMITED = """
import resource, signal, sys, torch
from pathlib import Path
from pr12.core import checkpoints
from pr12.workflow.errors import UserError
path = Path(sys.argv[1])
checkpoints.save_state(path, {"epoch": 1}, "a")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as on a full disk, write then fails
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    checkpoints.save_state(path, {"epoch": 2, "net": torch.zeros(100_000)}, "a")
except UserError as error:
    print(error)
print(checkpoints.load_state(path, "a"))
"""


def job(tmp_path, params=None, data=b"abc"):
    (tmp_path / "train").write_bytes(data)
    paths = {"train": tmp_path / "train", "model": tmp_path / "out" / "model"}
    return Job(params, paths, ("train",), "pr12.workflow.files", "python -m pr12.workflow.files")


def counting(state, end=3):
    yield from ({"epoch": epoch} for epoch in range((state or {"epoch": 0})["epoch"] + 1, end + 1))


def resumed(job, train=counting, **more):
    return checkpoints.resumed(job, train, 3, str, lambda state: state["epoch"], **more)


def stopping(state):
    yield next(counting(state))
    raise KeyboardInterrupt


def test_a_killed_training_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        resumed(job(tmp_path), stopping)
    seen = []

    def watched(state):
        seen.append(state)
        yield from counting(state)

    whole = job(tmp_path)
    assert resumed(whole, watched) == {"epoch": 3}
    assert seen == [{"epoch": 1}]
    assert whole.checkpoints == [tmp_path / "out" / "resume.pt"]


def test_a_training_at_its_end_is_not_run_again(tmp_path):
    resumed(job(tmp_path))
    assert resumed(job(tmp_path), lambda state: iter(())) == {"epoch": 3}


@dataclasses.dataclass
class Params:
    rate: float = 0.5


@pytest.mark.parametrize("change", [{"data": b"abd"}, {"params": Params()}])
def test_other_inputs_or_params_begin_anew(tmp_path, change):
    resumed(job(tmp_path))
    other = job(tmp_path, **change)
    assert resumed(other, lambda state: counting(state) if state is None else 1 / 0) == {"epoch": 3}


def test_the_place_of_inputs_does_not_count(tmp_path):
    first = job(tmp_path)
    (tmp_path / "moved").mkdir()
    assert checkpoints.fingerprint(first) == checkpoints.fingerprint(job(tmp_path / "moved"))


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stays(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "resume.pt"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    message, state = done.stdout.splitlines()
    assert "resume.pt" in message
    assert "df -h" in message
    assert state == "{'epoch': 1}"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["resume.pt"]
