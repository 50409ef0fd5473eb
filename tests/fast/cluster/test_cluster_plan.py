import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pr12.cluster import dag, measured, plan, replay
from pr12.cluster.measured import Job, Measured
from pr12.workflow.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
NO_OVERHEADS = replay.Overheads(0.0, 0.0, 0.001, 0.0, 0.001)


def step(name, reads=(), group=None, threads=1, rule="p_train"):
    return dag.Step(
        rule,
        group,
        tuple(f"build/r/p/{each}/train.1/m" for each in reads),
        (f"build/r/p/{name}/train.1/m",),
        threads,
        100,
        30,
        0,
        0,
    )


def replayed(steps, seconds, nodes, cores=1, overheads=NO_OVERHEADS):
    table = {Job("p", name, "train"): Measured(s, s, 1.0) for name, s in seconds.items()}
    known, unknown = plan.seconds_of(steps, table)
    assert not unknown
    return replay.replay(replay.works(steps), known, nodes, cores, overheads)


def alone(name, *reads, threads=1):
    return step(name, reads, group=name, threads=threads)


def test_independent_jobs_share_the_nodes():
    steps = [alone(name) for name in "abcd"]
    seconds = dict.fromkeys("abcd", 10.0)
    makespans = [replayed(steps, seconds, nodes).makespan for nodes in (1, 2, 4, 8)]
    assert makespans == pytest.approx([40, 20, 10, 10], abs=0.02)


def test_a_chain_takes_its_critical_path_however_many_nodes_there_are():
    steps = [alone("a"), alone("b", "a"), alone("c", "b"), alone("d")]
    found = replayed(steps, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 0.5}, nodes=8)
    assert found.critical_path == 6.0
    assert found.makespan == pytest.approx(6.0, abs=0.02)


def test_a_group_is_one_job_and_waits_inside_it():
    steps = [step("a", group="g"), step("b", "a", group="g"), step("c", group="g")]
    assert len(replay.works(steps)) == 1
    seconds = {"a": 4.0, "b": 5.0, "c": 6.0}
    assert replayed(steps, seconds, 1, cores=1).makespan == pytest.approx(15.0, abs=0.02)
    assert replayed(steps, seconds, 1, cores=2).makespan == pytest.approx(9.0, abs=0.02)


@pytest.mark.parametrize(("most", "expected"), [(8, 5), (4, 4), (1, 1)])
def test_a_job_asks_for_its_widest_level(most, expected):
    steps = [step("a", group="g", threads=2), step("b", group="g", threads=3), step("c", "ab", "g")]
    (work,) = replay.works(steps)
    assert replay.width(work, most) == expected


def test_steps_without_group_run_on_the_submitting_host():
    found = replayed([step("a"), alone("b", "a")], {"a": 3.0, "b": 4.0}, nodes=1)
    assert (found.jobs, found.local_steps) == (1, 1)
    assert found.work == 4.0


def test_ends_are_noticed_at_the_next_look_whose_distance_grows():
    # Looks at 5, 5 + 15 and 20 + 25 seconds
    overheads = replay.Overheads(0.0, 0.0, 5.0, 10.0, 180.0)
    for seconds, noticed in ((4.0, 5.0), (5.5, 20.0), (30.0, 45.0)):
        assert replayed([alone("a")], {"a": seconds}, 1, overheads=overheads).makespan == noticed


def test_overheads_are_added_to_each_job_and_each_step():
    overheads = dataclasses.replace(NO_OVERHEADS, start=7.0, per_step=0.5)
    steps = [step("a", group="g"), step("b", group="g"), step("c")]
    found = replayed(steps, {"a": 1.0, "b": 1.0, "c": 1.0}, 1, overheads=overheads)
    assert found.makespan == pytest.approx(7.0 + 2 * 1.5, abs=0.02)
    assert found.added == pytest.approx((7.0 + 2 * 0.5) / 2.0)


def test_what_was_never_measured_counts_as_its_rules_median_or_a_third_of_what_it_asks_for():
    steps = [step("a"), step("b"), step("c"), step("d"), step("e", rule="p_other")]
    table = {
        Job("p", n, "train"): Measured(s, s, 1.0)
        for n, s in zip("abc", (1.0, 9.0, 2.0), strict=True)
    }
    seconds, unknown = plan.seconds_of(steps, table)
    assert [s.outputs[0] for s in unknown] == [steps[3].outputs[0], steps[4].outputs[0]]
    assert [seconds[s] for s in steps] == [1.0, 9.0, 2.0, 2.0, 600.0]


def test_jobs_that_wait_for_one_another_are_told():
    with pytest.raises(UserError, match="wait for one another"):
        replayed([step("a", "b", "g"), step("b", "a", "h")], {"a": 1.0, "b": 1.0}, 1)


DRY_RUN = """
[Thu] Group job vae_nets_0 (jobs in lexicogr. order):

    [Thu]
    rule vae_evaluate:
        input: build/full/vae/z2/train.ab/m.safetensors
        output: build/full/vae/z2/evaluate.cd/metrics.json
        resources: tmpdir=<TBD>, mem_mb=900, mem=900 MB, runtime=12

    [Thu]
    rule vae_train:
        input: build/full/data/mnist/data.01/a, build/full/data/mnist/data.01/b
        output: build/full/vae/z2/train.ab/m.safetensors, build/full/vae/z2/train.ab/h.json
        priority: 5
        threads: 2
        resources: tmpdir=/tmp, mem_mb=800, gpu=1, runtime=6

[Thu]
localrule evidence:
    input: build/full/vae/z2/evaluate.cd/metrics.json
    output: build/full/vae/z2/evaluate.cd/evidence.json
    resources: tmpdir=/tmp

[Thu]
localrule vae_pages:
    input: build/full/vae/z2/evaluate.cd/evidence.json
    output: build/full/report/vae/all.done
    resources: tmpdir=/tmp

[Thu]
localrule index:
    input: build/full/report/vae/all.done
    output: build/full/report/all.done
    resources: tmpdir=/tmp

[Thu]
rule all:
    input: build/full/report/all.done
    jobid: 0
"""


def test_a_dry_run_is_read_with_its_groups():
    evaluate, train, *here = dag.parse(DRY_RUN)
    assert evaluate.group == train.group == "vae_nets_0"
    assert [each.group for each in here] == [None, None, None]
    assert (train.threads, train.memory_mb, train.gpus, train.minutes) == (2, 800, 1, 6)
    assert train.job == Job("vae", "z2", "train")
    # The mark of evidence lies in the folder of a result that has a time of its own
    assert evaluate.job == Job("vae", "z2", "evaluate")
    jobs = [Job("vae", "z2", "evidence"), Job("vae", "", "pages"), Job("", "", "index")]
    assert [each.job for each in here] == jobs
    assert len(train.inputs) == len(train.outputs) == 2
    with pytest.raises(UserError, match="the dry run has no job"):
        dag.parse("Nothing to be done")


def called(module, *arguments, code=0):
    """Call a command as make does; give what it says."""
    done = subprocess.run(
        [sys.executable, "-m", f"pr12.cluster.{module}", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def files(tmp_path):
    (tmp_path / "dag.txt").write_text(DRY_RUN)
    rows = ["vae,z2,train,100,90,500"]
    (tmp_path / "table.csv").write_text("\n".join([",".join(measured.HEADER), *rows]) + "\n")
    return (
        f"dag={tmp_path / 'dag.txt'}",
        f"measured={tmp_path / 'table.csv'}",
        f"overheads={ROOT / 'benchmarks/measured/slurm.json'}",
    )


def test_the_plan_is_told_with_what_it_does_not_know(files):
    said = called("plan", "--params", '{"nodes": 2, "cores": 4}', *files)
    assert "jobs: 1 on the cluster, 3 steps on the submitting host" in said
    # 100 + a third of 12 minutes + what evidence, pages and index take
    assert "critical path: 0:05:53 (353 s)" in said
    assert "1 of 5 steps were never measured" in said
    assert "vae_evaluate" in said


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ('{"nodes": 0, "cores": 4}', "--params.nodes is 0; it must be"),
        ('{"nodes": 2, "cores": x}', "--params is not JSON"),
        ('{"nodes": 2}', "--params.cores is missing"),
    ],
)
def test_a_wrong_number_of_nodes_is_told_in_one_sentence(files, params, sentence):
    assert sentence in called("plan", "--params", params, *files, code=2)


def test_a_table_is_gathered_from_the_command_line(tmp_path):
    folder = tmp_path / "build/vae/z2/train.0123456789"
    folder.mkdir(parents=True)
    table = tmp_path / "measured/full.csv"
    said = called("measured", f"folder={tmp_path / 'build'}", f"table={table}", code=2)
    assert "no timings.json below folder=" in said
    assert not table.exists()
    took = {"seconds": 9, "cpu_seconds": 8, "peak_memory_bytes": 100 * 2**20, "times": {}}
    (folder / "timings.json").write_text(json.dumps(took))
    called("measured", f"folder={tmp_path / 'build'}", f"table={table}")
    assert measured.read(table) == {Job("vae", "z2", "train"): Measured(9.0, 8.0, 100.0)}
