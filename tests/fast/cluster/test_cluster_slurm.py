import itertools
import json
import os
import stat
from pathlib import Path

import pytest

from pr12.cluster import measured, probe, requests, slurm
from pr12.cluster.measured import Job, Measured
from pr12.workflow import files
from pr12.workflow.errors import UserError

HEADER = "paper,case,step,seconds,cpu_seconds,memory_mb"
WELL = probe.Seen("n1", 100.0, True, True, True, 5000.0, 5000.0)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Put stand-ins of Slurm's commands first on PATH."""

    def add(name, script):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return add


@pytest.mark.parametrize(
    ("state", "log", "cause"),
    [
        ("CANCELLED", "", "was cancelled"),
        ("TIMEOUT", "", "ran past its time limit of 5:00"),
        ("OUT_OF_MEMORY", "", "needed more than its 900M of memory"),
        (
            "FAILED",
            "StepId=1.0 exceeded memory limit (9 > 8)",
            "needed more than its 900M of memory",
        ),
        (
            "FAILED",
            "Detected 1 oom_kill event in StepId=1.0",
            "needed more than its 900M of memory",
        ),
        ("FAILED", "OSError: No space left on device", "found no space left on a disk"),
        (
            "FAILED",
            "error: the checkpoint build/a.pt cannot be written; free some",
            "found no space",
        ),
        ("NODE_FAIL", "", "lost its node"),
        ("FAILED", "", "ended as FAILED"),
    ],
)
def test_each_way_to_fail_has_its_words(state, log, cause):
    job = slurm.Submitted("7", Path("logs/rule_vae_train/z2_0123456789/7.log"))
    answer = slurm.explain(job, slurm.State(state, "n1", "5:00", "900M"), log, {})
    assert answer.startswith("Slurm job 7 (")
    assert f") on n1 {cause}" in answer
    assert "; log: logs/" in answer


def test_a_steps_own_sentence_and_log_are_told():
    job = slurm.Submitted("7", Path("logs/group_vae_nets_0/7.log"))
    ours = {"build/train.log": "epoch 1\nerror: the loss is not finite; lower the step\n"}
    answer = slurm.explain(job, slurm.State("FAILED", "", "5:00", "1G"), "", ours)
    assert answer == (
        "Slurm job 7 (vae_nets_0) ended as FAILED, the loss is not finite; lower the step; "
        "log: build/train.log, logs/group_vae_nets_0/7.log"
    )


def test_only_jobs_that_failed_for_good_are_told(commands, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands(
        "squeue", "printf '1|FAILED|n1|5:00|1G\\n2|COMPLETED|n1|5:00|1G\\n3|RUNNING|n1|5|1G\\n'"
    )
    text = "".join(
        f"Job 5 has been submitted with SLURM jobid {n} (log: {tmp_path}/logs/group_{g}/{n}.log).\n"
        for n, g in ((1, "tried_twice"), (2, "tried_twice"), (3, "running"), (4, "forgotten"))
    )
    commands("sacct", "exit 1")
    assert slurm.failures(text) == []
    ours = tmp_path / "build/x/train.1/train.log"
    ours.parent.mkdir(parents=True)
    ours.write_text("error: no more\n")
    log = tmp_path / "logs/group_g/1.log"
    log.parent.mkdir(parents=True)
    other = "rule a:\n    log: build/x/other.1/o.log\n"
    log.write_text(f"{other}Error in rule b:\n    log: build/x/train.1/train.log (check)\n")
    (forgotten,) = slurm.failures(f"submitted with SLURM jobid 77 (log: {log}).")
    assert "Slurm job 77 (g) ended as an unknown state, forgotten by Slurm, no more" in forgotten
    commands("sacct", "echo '77|CANCELLED by 1000|n4|5:00|1G'")
    (remembered,) = slurm.failures(f"submitted with SLURM jobid 77 (log: {log}).")
    assert "Slurm job 77 (g) on n4 was cancelled, no more; log: " in remembered
    (answer,) = slurm.failures(f"submitted with SLURM jobid 1 (log: {log}).")
    assert (
        answer
        == f"Slurm job 1 (g) on n1 ended as FAILED, no more; log: build/x/train.1/train.log, {log}"
    )


def test_jobs_of_this_folder_alone_are_waited_for(commands, tmp_path, monkeypatch, capsys):
    looks = tmp_path / "looks"
    looks.write_text("")
    count = f"echo x >> {looks}; test $(wc -l < {looks}) -le 2"
    others = f'echo "7|(null)|{tmp_path}"; echo "9|rule_vae_train|/elsewhere"'
    commands("squeue", f'{count} && echo "8|rule_vae_train|{tmp_path}"; {others}')
    monkeypatch.setattr(slurm, "LOOK_EVERY", 0.0)
    slurm.wait(tmp_path)
    assert len(looks.read_text().split()) == 3
    message = capsys.readouterr().err
    assert message.count("waiting for Slurm jobs 8 that an earlier run started here") == 1
    assert "scancel 8" in message


def test_a_cluster_that_does_not_answer_is_told_in_one_sentence(commands, tmp_path):
    commands("squeue", "echo 'squeue: error: no route' >&2; exit 1")
    with pytest.raises(UserError, match=r"squeue failed \(squeue: error: no route\); sinfo"):
        slurm.running(tmp_path)
    with pytest.raises(
        UserError, match="no_such_command is not to be found; use profiles/slurm on"
    ):
        slurm.ask(["no_such_command"])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sees": False}, "n1 does not see /w"),
        ({"writes": False}, "n1 cannot write to /w"),
        ({"python": False}, "n1 has no /w/python"),
        ({"scratch": 3.0}, "n1 has less than 200 MiB free for temporary files"),
        ({"build": 3.0}, "n1 finds less than 200 MiB free in /w"),
        ({}, None),
    ],
)
def test_each_fault_of_a_node_has_one_sentence(change, fault):
    answer = probe.complaints([WELL._replace(**change)], Path("/w"), "/w/python")
    assert [each.partition(":")[0].removeprefix("node ") for each in answer] == [fault] * bool(
        fault
    )


def test_a_clock_that_differs_is_told_and_refuses_nothing(commands, tmp_path, capsys):
    line = "sees=yes writes=yes python=yes scratch=9999 build=9999"
    commands("sinfo", "echo 'n3|idle|up|main*'")
    commands("srun", f'echo "probe node=n3 clock=$(($(date +%s) + 400)).5 {line}"')
    probe.check(tmp_path)
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("warning: the clock of node n3 is +4")
    assert not list(tmp_path.glob(".snakemake/probe_*"))


NODES = """
n1|idle|up|main*
n2|idle|up|main*
n3|idle~|up|main*
n4|drain|up|main*
n5|alloc|up|main*
n6|idle|up|long
n2|idle|up|long
n7|idle|down|dead"""


def test_nodes_that_are_idle_now_in_the_partition_are_asked(commands):
    commands("sinfo", f"cat <<'E'{NODES}\nE")
    commands("scontrol", 'test "$*" = "show hostnames n[1-2],n9" && printf "n1\\nn2\\nn9\\n"')
    assert probe.idle_nodes([]) == ["n1", "n2"]
    assert probe.idle_nodes(["--partition=long"]) == ["n2", "n6"]
    assert probe.idle_nodes(["--partition=long", "--exclude=n[1-2],n9"]) == ["n6"]
    assert probe.idle_nodes(["--partition=nope"]) == []
    with pytest.raises(UserError, match="the partition is not up and takes no jobs"):
        probe.idle_nodes(["--partition=dead"])


def test_an_idle_node_that_does_not_answer_is_told(commands, tmp_path, monkeypatch):
    commands("sinfo", "echo 'n1|idle|up|main*'")
    monkeypatch.setattr(probe, "PATIENCE", -59.5)
    commands("srun", "exec sleep 60")
    with pytest.raises(UserError, match=r"node n1 gave no answer to a probe"):
        probe.nodes(tmp_path)


def test_a_probe_that_finds_no_free_node_goes_on(commands, tmp_path, capsys):
    commands("sinfo", "true")
    commands(
        "srun",
        "echo 'srun: error: Unable to allocate resources: Requested nodes are busy' >&2; exit 1",
    )
    probe.check(tmp_path)
    assert "no node was free for a probe" in capsys.readouterr().err


def test_a_refused_probe_says_what_to_set(commands, tmp_path):
    commands("sinfo", "true")
    commands("srun", "echo 'srun: error: Invalid account or account/partition' >&2; exit 1")
    with pytest.raises(UserError, match=r"Slurm refuses a job .*set slurm_"):
        probe.check(tmp_path, ["--account=nobody"])


def test_the_probe_itself_sees_a_folder_and_a_missing_one(commands, tmp_path):
    commands("sinfo", "echo 'here|idle|up|main*'")
    commands("srun", 'for last; do :; done; SLURMD_NODENAME=here sh -c "$last"')
    (seen,) = probe.nodes(tmp_path)
    assert (seen.node, seen.sees, seen.writes, seen.python) == ("here", True, True, True)
    assert seen.scratch > 0
    commands(
        "srun", f'for last; do :; done; mv {tmp_path}/.snakemake {tmp_path}/gone; sh -c "$last"'
    )
    (seen,) = probe.nodes(tmp_path)
    assert not seen.sees
    assert not seen.writes


def test_requests_grow_with_attempts_and_never_fall_below_what_was_measured():
    for seconds, memory, attempt in itertools.product(
        (1.0, 100.0, 9999.0), (50.0, 5000.0), (1, 2, 3)
    ):
        took = Measured(seconds, seconds, memory)
        assert requests.memory_mb(took, 10, attempt) >= attempt * 1.3 * memory
        assert 60 * requests.minutes(took, 10, attempt) >= attempt * 3 * seconds
        assert (
            requests.memory_mb(None, 10, attempt)
            == requests.minutes(None, 10, attempt)
            == 10 * attempt
        )
    assert requests.memory_mb(Measured(1.0, 1.0, 0.0), 700) == 700  # too short for a look


def test_short_cases_fill_bins_and_long_ones_have_none():
    seconds = {f"case{i}": 10.0 + i for i in range(20)} | {"long": 500.0}
    dealt = requests.packed(seconds, 100.0)
    assert set(dealt) == set(seconds) - {"long"}
    loads = [sum(seconds[c] for c in dealt if dealt[c] == b) for b in set(dealt.values())]
    assert len(loads) == 3
    assert min(loads) >= 100.0
    assert dealt == requests.packed(dict(reversed(seconds.items())), 100.0)
    assert requests.packed({}, 100.0) == {}


def test_a_table_keeps_what_did_not_run_here(tmp_path):
    path = tmp_path / "measured.csv"
    old = {
        Job("vae", "z2", "train"): Measured(1.0, 2.0, 3.0),
        Job("data", "mnist", "data"): Measured(4.0, 5.0, 6.0),
    }
    measured.write(path, old)
    assert measured.read(path) == old
    assert measured.read(tmp_path / "none.csv") == {}
    for text in (*(f"{HEADER}\na,b,c,1,2,{wrong}\n" for wrong in ("x", "nan", "-1")), "a,b\n1,2\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"line [12]: not paper,case,step,"):
            measured.read(path)


def test_the_newest_timings_count(tmp_path):
    for number, (name, seconds) in enumerate((("train.aaaaaaaaaa", 9), ("train.bbbbbbbbbb", 2.04))):
        path = tmp_path / "vae/z2" / name / "timings.json"
        took = {
            "seconds": seconds,
            "cpu_seconds": 1.26,
            "peak_memory_bytes": 3 * 2**20,
            "times": {},
        }
        files.write_json(path, took)
        os.utime(path, (number, number))
    assert measured.gather(tmp_path) == {Job("vae", "z2", "train"): Measured(2.0, 1.3, 3.0)}
    for wrong in ("{", "[]", json.dumps(took | {"seconds": "9"}), json.dumps(took | {"times": 3})):
        path.write_text(wrong)
        with pytest.raises(UserError, match=r"timings\.json .*; remove .* and run snakemake again"):
            measured.gather(tmp_path)
