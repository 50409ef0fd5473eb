import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pr12.cluster import jobs, measured, plan, replay, requests
from pr12.cluster.measured import Job, Measured
from pr12.workflow import settings, yaml_files
from pr12.workflow import step as workflow_step
from pr12.workflow.errors import UserError
from pr12.workflow.papers import Graphs

ROOT = Path(__file__).resolve().parents[3]
NO_OVERHEADS = replay.Overheads(0.0, 0.0, 0.001, 0.0, 0.001)


def step(name, reads=(), group=None, threads=1, rule="p_train"):
    return jobs.Step(
        rule,
        group,
        tuple(f"build/r/p/{each}/train.1/m" for each in reads),
        (f"build/r/p/{name}/train.1/m",),
        Job("p", name, "train"),
        threads,
        memory_mb=100,
        minutes=30,
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
    result = replayed(steps, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 0.5}, nodes=8)
    assert result.critical_path == 6.0
    assert result.makespan == pytest.approx(6.0, abs=0.02)


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
    result = replayed([step("a"), alone("b", "a")], {"a": 3.0, "b": 4.0}, nodes=1)
    assert (result.jobs, result.local_steps) == (1, 1)
    assert result.work == 4.0


def test_ends_are_noticed_at_the_next_look_whose_distance_grows():
    # Looks at 5, 5 + 15 and 20 + 25 seconds
    overheads = replay.Overheads(0.0, 0.0, 5.0, 10.0, 180.0)
    for seconds, noticed in ((4.0, 5.0), (5.5, 20.0), (30.0, 45.0)):
        assert replayed([alone("a")], {"a": seconds}, 1, overheads=overheads).makespan == noticed


def test_overheads_are_added_to_each_job_and_each_step():
    overheads = dataclasses.replace(NO_OVERHEADS, start=7.0, per_step=0.5)
    steps = [step("a", group="g"), step("b", group="g"), step("c")]
    result = replayed(steps, {"a": 1.0, "b": 1.0, "c": 1.0}, 1, overheads=overheads)
    assert result.makespan == pytest.approx(7.0 + 2 * 1.5, abs=0.02)
    assert result.added == pytest.approx((7.0 + 2 * 0.5) / 2.0)


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


TABLE = {Job("vae", "aevb_z2", "train"): Measured(100.0, 90.0, 500.0)}


@pytest.fixture(scope="module")
def smoke():
    """Return all jobs of the smoke run, of which one was measured."""
    config = yaml_files.load(ROOT / "params.yaml") | {"run": "smoke"}
    graphs = Graphs(settings.resolve(config), config["papers"])
    return jobs.of_run(graphs, requests.Requests(TABLE, 2, gpu=True))


def test_the_jobs_of_a_run_are_those_of_the_graphs_evidence_and_pages(smoke):
    (train,) = [each for each in smoke if each.job in TABLE]
    assert (train.rule, train.threads, train.gpus, train.priority) == ("vae_train", 1, 1, 100)
    assert (train.memory_mb, train.minutes) == (1000, 9)  # with their margins
    assert train.group.startswith("vae_nets_")
    (evidence,) = [each for each in smoke if each.job == Job("vae", "aevb_z2", "evidence")]
    (judged,) = [each for each in smoke if each.job == Job("vae", "aevb_z2", "evaluate")]
    assert evidence.inputs == judged.outputs
    assert set(train.outputs) & set(judged.inputs)
    (pages,) = [each for each in smoke if each.job == Job("vae", "", "pages")]
    assert set(evidence.outputs) <= set(pages.inputs)
    index = smoke[-1]
    assert (index.job, len(index.inputs)) == (Job("", "", "index"), 5)
    assert set(pages.outputs) <= set(index.inputs)
    assert {each.group for each in (evidence, pages, index)} == {None}


def test_every_job_waits_for_what_another_makes(smoke):
    outputs = [file for each in smoke for file in each.outputs]
    assert len(outputs) == len(set(outputs))
    assert {file for each in smoke for file in each.inputs} <= set(outputs)


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
    rows = ["vae,aevb_z2,train,100,90,500"]
    (tmp_path / "table.csv").write_text("\n".join([",".join(measured.HEADER), *rows]) + "\n")
    return (
        f"params={ROOT / 'params.yaml'}",
        f"measured={tmp_path / 'table.csv'}",
        f"overheads={ROOT / 'benchmarks/measured/slurm.json'}",
    )


def test_the_plan_is_told_with_what_it_does_not_know(files):
    message = called("plan", "--params", '{"run": "smoke", "nodes": 2, "cores": 4}', *files)
    words = r"jobs: (\d+) on the cluster, (\d+) steps on the submitting host"
    cluster, here = re.search(words, message).groups()
    assert int(cluster) > 50
    assert int(here) > 140  # evidence of all cases
    unknown, steps = re.search(r"(\d+) of (\d+) steps were never measured", message).groups()
    assert int(steps) - int(unknown) == 1 + 144 + 5 + 1  # measured; evidence, pages, index
    assert "vae_evaluate" in message


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ('{"run": "smoke", "nodes": 0, "cores": 4}', "--params.nodes is 0; it must be"),
        ('{"run": "smoke", "nodes": 2, "cores": x}', "--params is not JSON"),
        ('{"run": "smoke", "nodes": 2}', "--params.cores is missing"),
        ('{"run": "smok", "nodes": 2, "cores": 4}', "run is 'smok'; allowed: embedded, full"),
    ],
)
def test_a_wrong_number_of_nodes_is_told_in_one_sentence(files, params, sentence):
    assert sentence in called("plan", "--params", params, *files, code=2)


def test_a_table_is_gathered_from_the_command_line(tmp_path):
    folder = tmp_path / "build/vae/z2/train.0123456789"
    folder.mkdir(parents=True)
    table = tmp_path / "measured/full.csv"
    message = called("measured", f"folder={tmp_path / 'build'}", f"table={table}", code=2)
    assert "no timings.json below folder=" in message
    assert not table.exists()
    took = {"seconds": 9, "cpu_seconds": 8, "peak_memory_bytes": 100 * 2**20, "times": {}}
    (folder / "timings.json").write_text(json.dumps(took))
    called("measured", f"folder={tmp_path / 'build'}", f"table={table}")
    assert measured.read(table) == {Job("vae", "z2", "train"): Measured(9.0, 8.0, 100.0)}


BAD_INPUTS = [  # which argument, its content, words of the message
    ("params", "", ("empty", "a mapping")),
    ("params", "- a\n", ("list", "a mapping")),
    ("overheads", "[]", ("overheads", "numbers for")),
    ("overheads", '{"a": 1}', ("overheads", "numbers for")),
    ("overheads", '{"start": 1}', ("overheads", "numbers for")),
    ("overheads", "{", ("overheads", "not JSON")),
    ("measured", "a,b\n", ("measured", "make measured")),
    ("nodes", 0, ("nodes", "0", "from 1 to 10000")),
    ("nodes", 10**8, ("nodes", "100000000", "from 1 to 10000")),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_INPUTS)
def test_another_file_is_one_sentence(tmp_path, capsys, name, content, words):
    asked = {"run": "smoke", "nodes": 1, "cores": 1}
    paths = {
        "params": ROOT / "params.yaml",
        "measured": ROOT / "benchmarks/measured/smoke.csv",
        "overheads": ROOT / "benchmarks/measured/slurm.json",
    }
    if name in paths:
        paths[name] = tmp_path / name
        paths[name].write_text(content)
    else:
        asked[name] = content
    arguments = ["--params", json.dumps(asked), *(f"{key}={path}" for key, path in paths.items())]
    reads = {"reads": ["params", "overheads"], "optional": ["measured"]}
    with (
        pytest.raises(SystemExit) as caught,
        workflow_step.start(plan.Params, **reads, arguments=arguments) as job,
    ):
        plan.main(job)
    assert caught.value.code == 2
    *_, message = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ")
    assert [word for word in words if word not in message] == []
