"""The workflow on a real Slurm of two nodes: the same bytes as here, whatever happens meanwhile."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mini_slurm
import rerun
from checkout import UP_TO_DATE, job_table, wait_for
from checkouts import once

MISSING = mini_slurm.missing()
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
EPOCHS = 600  # some seconds of training
REQUIRED = os.environ.get("PR12_SERVERS") == "required"
AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 and not REQUIRED, reason="mounting a folder over another needs root"
)


@pytest.fixture(scope="module")
def cluster():
    if MISSING and not REQUIRED:
        pytest.skip(f"{MISSING[0]} is not installed: apt-get install slurm-wlm munge")
    assert not MISSING, f"apt-get install slurm-wlm munge: {MISSING} are missing"
    cluster = mini_slurm.Cluster(nodes=2, cpus=2, gpus=1)
    yield cluster
    assert cluster.down() == {}


@pytest.fixture(scope="session")
def trained(tmp_path_factory, worker, bare):
    """Return a checkout in which a longer training has run, on this machine."""

    def make(root):
        root.rmdir()
        checkout = bare.copy(root)
        checkout.set("distill.cases.hard_800.epochs", EPOCHS)
        checkout.snakemake(*targets(checkout))
        checkout.snakemake("prune")

    return once(tmp_path_factory, worker, "trained", make)


@pytest.fixture
def untrained(trained, tmp_path):
    """Return a copy of it in which all is to be done but the data."""
    checkout = trained.copy(tmp_path / "repository")
    shutil.rmtree(checkout / "build/smoke/distill")
    yield checkout
    for pid in checkout.processes():  # of a test that failed
        os.kill(pid, signal.SIGKILL)


def targets(checkout):
    """Return the result of the longer training, and its nets."""
    text = checkout.snakemake("--dry-run", "distill")
    text = re.sub(r"(?m)^ +output: \S+/evidence.json$", "", text)
    wanted = r"^ +output: (build/smoke/distill/hard_800/(?:evaluate|train)\S+?)(?:,|$)"
    return re.findall(wanted, text, re.M)


def nets(checkout):
    result = checkout.bytes("build/smoke/distill/hard_800/**/*.safetensors")
    assert result
    return result


def submit(checkout, cluster, *arguments, **more):
    """Start Snakemake with the profile of the cluster."""
    path = f"{cluster.bin}{os.pathsep}{checkout.environment()['PATH']}"
    command = ("snakemake", "--profile", "profiles/slurm", "--cores", "2", *QUICK, *arguments)
    return checkout.start(*command, PATH=path, **more)


def run(checkout, cluster, *arguments, code=0, **more):
    return checkout.finish(submit(checkout, cluster, *arguments, **more), code)


def saved(checkout):
    """Return the checkpoints of the longer training."""
    return checkout.bytes("build/smoke/distill/hard_800/train.*/resume_*")


def start_training(checkout, cluster, *arguments, **more):
    """Start the longer training on the cluster; give Snakemake's process and Slurm's number."""
    running = submit(checkout, cluster, *arguments, **more)
    wait_for(lambda: saved(checkout), running)
    return running, cluster.number_of_job()


def errors(text, start="error: Slurm job "):
    return [line for line in text.splitlines() if line.startswith(start)]


def message(number, cause):
    """Return the pattern of a sentence on a failed job of the longer training."""
    name = r"distill_students_\w+"
    logs = rf"build/smoke/distill/hard_800/train\.\w+/train\.log, \S+/{number}\.log"
    return rf"error: Slurm job {number} \({name}\) on n[12] {cause}; log: {logs}"


def test_each_step_of_all_papers_gives_the_same_bytes_through_the_cluster(
    everything, bare_smoke, cluster, tmp_path
):
    checkout = bare_smoke.copy(tmp_path / "repository")
    wanted = wanted_of_each_step(everything)
    assert len(wanted) > 35
    ended = threading.Event()
    skewed = threading.Thread(target=skew_clocks, args=(checkout.root / "build", ended))
    skewed.start()
    try:
        environment = checkout.environment()
        path = os.pathsep.join([environment["PR12_WARM"], str(cluster.bin), environment["PATH"]])
        command = ("snakemake", "--profile", "profiles/slurm", "--cores", "2", *QUICK, *wanted)
        text = checkout.finish(checkout.start(*command, PATH=path), timeout=1500)
    finally:
        ended.set()
        skewed.join()
    jobs = len(re.findall("submitted with SLURM jobid", text))
    assert 5 < jobs < sum(job_table(text).values()) / 2  # short ones went together
    assert different(everything, checkout) == set()
    assert not cluster.call("squeue", "-h")
    cluster.wait_for_silence()


def skew_clocks(folder, ended):
    """Date every file as nodes would whose clocks are up to an hour off."""
    choose = random.Random(0)
    seen = set()
    while not ended.wait(0.2):
        for path in folder.glob("smoke/**/*.*/*"):
            if path not in seen and not path.name.startswith("."):
                seen.add(path)
                date = time.time() + choose.uniform(-3600, 3600)
                try:
                    os.utime(path, (date, date))
                except FileNotFoundError:
                    continue


def wanted_of_each_step(everything):
    """Return a file of the quickest result of each step, with all that it needs."""
    folders = rerun.smallest_of_each_step(everything / "build/smoke").values()
    return [
        str((folder / min(rerun.bytes_of(folder))).relative_to(everything.root))
        for folder in folders
    ]


def different(whole, part):
    """List the results of a checkout that another does not have, byte by byte.

    Timings, and what vouches for files, are left out: one holds seconds, the other dates.
    """
    patterns = ("build/smoke/*/*/*/*.safetensors", "build/smoke/*/*/*/metrics.json")
    first, second = whole.bytes(*patterns), part.bytes(*patterns)
    assert len(second) > 60
    return {name for name, content in second.items() if first.get(name) != content}


def test_a_cancelled_job_is_named_and_goes_on_where_it_was(untrained, trained, cluster):
    goal = targets(untrained)
    running, number = start_training(untrained, cluster, "--retries", "0", *goal, PR12_GPU="1")
    assert "TresPerJob=gres:gpu:1" in cluster.call("scontrol", "show", "job", number)
    cluster.call("scancel", number)
    text = untrained.finish(running, code=1)
    (sentence,) = errors(text)
    assert re.fullmatch(message(number, "was cancelled"), sentence)
    assert text.index("the same command goes on from there") > text.index(sentence)
    assert saved(untrained)
    untrained.snakemake(*goal)  # here or there: what was reached is gone on from
    assert first_epoch(untrained) > 1
    assert nets(untrained) == nets(trained)


def first_epoch(checkout):
    """Return the first epoch that the log of the longer training tells of."""
    (log,) = checkout.bytes("build/smoke/distill/hard_800/train.*/train.log").values()
    return int(re.search(rf"(\d+)/{EPOCHS} ", log.decode())[1])


def test_a_job_out_of_time_is_named_with_its_limit(untrained, cluster):
    _, net = targets(untrained)[:2]
    limited = ("--retries", "0", "--set-resources", "distill_train:runtime=1", "--", net)
    running, number = start_training(untrained, cluster, *limited)
    for pid in training_processes(untrained):  # it would end in time
        os.kill(pid, signal.SIGSTOP)
    (sentence,) = errors(untrained.finish(running, code=1))
    assert re.fullmatch(message(number, "ran past its time limit of 1:00"), sentence)
    assert saved(untrained)


def training_processes(checkout):
    result = []
    for pid in checkout.processes():
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"pr12.distill.train" in arguments and b"-m" in arguments:
            result.append(pid)
    assert result
    return result


def test_a_job_out_of_memory_is_named_with_what_it_asked_for(untrained, cluster):
    net = targets(untrained)[1]
    little = ("--retries", "0", "--set-resources", "distill_train:mem_mb=90", "--", net)
    (sentence,) = errors(run(untrained, cluster, *little, code=1))
    assert re.search(r"on n[12] needed more than its 90M of memory; log: ", sentence)
    assert not untrained.bytes("build/smoke/distill/hard_800/**/*.safetensors")


def test_a_steps_own_mistake_is_told_and_what_was_done_before_it_is_kept(untrained, cluster):
    goal = targets(untrained)
    (data,) = untrained.root.glob("build/smoke/data/few_digits/arrays.*/test.safetensors")
    data.write_bytes(b"damaged")  # the training does not read it
    text = run(untrained, cluster, "--retries", "0", *goal, code=1)
    (sentence,) = errors(text)
    cause = r" ended as FAILED, .*test\.safetensors.*; log: build/smoke/distill/hard_800/evaluate"
    assert re.search(cause, sentence)
    assert nets(untrained)  # the training in the same job had ended well
    left = job_table(run(untrained, cluster, "--dry-run", *goal))
    # What was damaged was removed; it is made again, with what has read its other files
    assert left == {"data_arrays": 1, "distill_train": 1, "distill_evaluate": 1}


def test_dvc_hands_the_profile_to_its_snakemake(versioned, cluster):
    versioned.set("distill.cases.hard_800.epochs", 3)
    path = f"{cluster.bin}{os.pathsep}{versioned.environment()['PATH']}"
    text = versioned.run("dvc", "repro", SNAKEMAKE_PROFILE="profiles/slurm", PATH=path)
    assert text.count("submitted with SLURM jobid") == 1  # a training and what judges it
    assert UP_TO_DATE in versioned.dvc("status")
    assert set(versioned.jobs()) <= {"index", "all"}  # index.html is not DVC's


def test_a_node_that_loses_power_costs_no_result(untrained, trained, cluster):
    goal = targets(untrained)
    running, number = start_training(untrained, cluster, *goal)
    node = cluster.call("squeue", "-h", "-j", number, "-o", "%N").strip()
    cluster.cut_power(node)
    try:
        text = untrained.finish(running)
    finally:
        cluster.start_node(node)
        cluster.wait_for_nodes([node])
    assert nets(untrained) == nets(trained)
    assert not errors(text)


def test_a_controller_that_restarts_costs_no_result(untrained, trained, cluster):
    goal = targets(untrained)
    running, _ = start_training(untrained, cluster, *goal)
    started, state = time.time(), cluster.folder / "state/job_state"
    # It writes every few seconds what it knows; a job that it never wrote it would forget
    wait_for(lambda: state.exists() and state.stat().st_mtime > started, running)
    cluster.kill_controller()
    time.sleep(4)
    cluster.start_controller()
    if running.wait(300):  # it gave up: jobs went on, and another start takes over what is done
        run(untrained, cluster, *goal)
    assert nets(untrained) == nets(trained)


def test_a_killed_snakemake_takes_over_the_jobs_that_ran_on(untrained, trained, cluster):
    goal = targets(untrained)
    running, number = start_training(untrained, cluster, *goal)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert cluster.number_of_job() == number
    training = training_processes(untrained)
    for pid in training:  # it shall not end before the next start
        os.kill(pid, signal.SIGSTOP)
    assert "--unlock" in run(untrained, cluster, *goal, code=2)[-2000:]
    untrained.snakemake("--unlock")
    again = submit(untrained, cluster, *goal)
    waiting = f"waiting for Slurm jobs {number} that an earlier run started here; "
    wait_for(lambda: waiting in again.log.read_text(encoding="utf-8"), again)
    for pid in training:
        os.kill(pid, signal.SIGCONT)
    text = untrained.finish(again)
    assert "submitted with SLURM jobid" not in text  # its results were taken over
    assert nets(untrained) == nets(trained)


@AS_ROOT
def test_a_full_disk_is_told_and_leaves_no_partial_result(untrained, trained, cluster):
    place = untrained / "build/smoke/distill/hard_800"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=True)
    try:
        text = run(untrained, cluster, "--retries", "0", *targets(untrained), code=1)
        result = untrained.bytes("build/smoke/distill/hard_800/**/*.safetensors")
    finally:
        subprocess.run(["umount", place], check=True)
    (sentence,) = errors(text)
    assert re.search(r"on n[12] found no space left on a disk \(df -h build \$TMPDIR\)", sentence)
    assert not result
    untrained.snakemake(*targets(untrained))
    assert nets(untrained) == nets(trained)


def refused(checkout, cluster, *arguments, **more):
    """Return the one sentence with which Snakemake refuses to start, having submitted nothing."""
    text = run(checkout, cluster, *arguments, "--", *targets(checkout), code=2, **more)
    assert "submitted with SLURM jobid" not in text
    assert "Traceback" not in text
    (sentence,) = errors(text, "error: ")
    return sentence


def test_a_cluster_ends_with_its_owner_also_one_that_was_killed(cluster):
    script = (
        "import mini_slurm, time; c = mini_slurm.Cluster(nodes=1); print(c.folder, flush=True); "
    )
    script += "c.call('sbatch', '--output=/dev/null', '--wrap', 'sleep 600'); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(mini_slurm.__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        folder = Path(owner.stdout.readline().strip())
        ours = mini_slurm.running_in
        mini_slurm.wait_until(lambda: len(ours(folder)) > 4, "daemons and a job")
        owner.kill()
    mini_slurm.wait_until(lambda: not ours(folder) and not folder.exists(), "their end")
    assert not ours(folder)


def test_a_partition_that_does_not_exist_is_told_before_any_job(untrained, cluster):
    sentence = refused(untrained, cluster, "--default-resources", "slurm_partition=nope")
    assert "invalid partition specified: nope" in sentence
    assert sentence.endswith("set slurm_partition in profiles/slurm/config.yaml")
    assert "cannot be locked" not in run(untrained, cluster, "--dry-run")


def test_a_job_that_no_node_can_hold_is_named_with_sbatchs_words(untrained, cluster):
    much = ("--retries", "0", "--set-resources", "distill_train:mem_mb=90000", "--")
    text = run(untrained, cluster, *much, *targets(untrained), code=1)
    (sentence,) = errors(text, "error: job ")
    start = "error: job distill_students_0 could not be submitted: "
    assert sentence.startswith(start)
    assert "emory" in sentence.removeprefix(start)


def test_a_host_without_slurm_is_told_also_without_a_probe(untrained):
    tools = untrained.root.parent / "tools"
    tools.mkdir()
    for name in ("snakemake", "python", "bash", "sh", "which"):
        (tools / name).symlink_to(shutil.which(name, path=untrained.environment()["PATH"]))
    command = ("snakemake", "--profile", "profiles/slurm", *targets(untrained))
    text = untrained.run(*command, code=2, PATH=str(tools), PR12_PROBE="0")
    (sentence,) = errors(text, "error: ")
    assert sentence.startswith("error: sbatch is not to be found; use profiles/slurm on a host")


@AS_ROOT
def test_a_node_that_does_not_see_the_folder_is_told_before_any_job(untrained, cluster):
    cluster.stop_node("n2")
    cluster.start_node("n2", hidden=untrained.root)
    try:
        cluster.wait_for_nodes(["n2"])
        sentence = refused(untrained, cluster)
        assert sentence.startswith(f"error: node n2 does not see {untrained.root}: put the ")
        assert "n1" not in sentence
        # ... and the way out that the sentence names
        run(untrained, cluster, "--slurm-exclude-failed-nodes", "n2", *targets(untrained))
    finally:
        cluster.stop_node("n2")
        cluster.start_node("n2")
        cluster.wait_for_nodes(["n2"])


@AS_ROOT
def test_a_node_with_a_full_scratch_disk_is_told_before_any_job(untrained, cluster, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cluster.stop_node("n1")
    cluster.start_node("n1", hidden=scratch, size="1m")
    try:
        cluster.wait_for_nodes(["n1"])
        sentence = refused(untrained, cluster, TMPDIR=str(scratch))
    finally:
        cluster.stop_node("n1")
        cluster.start_node("n1")
        cluster.wait_for_nodes(["n1"])
    assert re.match("error: node n1 has less than 200 MiB free for temporary files", sentence)
