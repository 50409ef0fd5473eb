"""The graphs of the papers, as params.yaml has them."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from pr12.cluster import measured
from pr12.cluster.requests import Requests
from pr12.data import graph
from pr12.report import rows
from pr12.report.targets import Targets
from pr12.workflow import settings
from pr12.workflow.papers import Graphs

ROOT = Path(__file__).resolve().parents[3]
CONFIG = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PAPERS = CONFIG["papers"]


def bound(run, papers=PAPERS, **sections):
    params = settings.resolve(CONFIG | {"run": run} | sections)
    return Graphs(params, list(papers)), params


def folders(graphs, paper, step):
    """Return case -> folders of a step's jobs."""
    known = {}
    for folder, job in graphs.jobs.items():
        if (job.step.paper.name, job.step.name) == (paper, step):
            known.setdefault(job.case, []).append(folder)
    return known


def test_all_cases_run_in_the_full_run_and_real_data_in_no_other():
    cases = {run: bound(run)[0].results for run in ("smoke", "embedded", "full")}
    left_out = {
        run: {c for paper in PAPERS for c in CONFIG[paper]["cases"] if c not in of[paper]}
        for run, of in cases.items()
    }
    assert left_out["full"] == set()
    for run in ("smoke", "embedded"):
        assert {"svhn_cnn_64", "cub_2st_448", "pair3", "vgg19_inversion"} <= left_out[run]
        assert not {"sequences_cnn", "parts_2st", "inversion", "china_rocket"} & left_out[run]


def test_cases_with_the_same_data_share_them_and_others_have_their_own():
    shared = folders(bound("full")[0], "stn", "sequences")
    assert {case: len(of) for case, of in shared.items()} == {
        "composed_64": 1,
        "svhn_64": 1,
        "svhn_128": 1,
    }
    stn = json.loads(json.dumps(CONFIG["stn"]))
    stn["cases"]["svhn_multi_64"]["max_digits"] = 3
    graphs, _ = bound("full", stn=stn)
    both = folders(graphs, "stn", "sequences")["svhn_64"]
    params = [graphs.job(folder).params["max_digits"] for folder in both]
    assert sorted(params) == sorted({3, CONFIG["stn"]["cases"]["svhn_cnn_64"]["max_digits"]})


def test_overrides_of_a_case_are_for_its_own_step_not_for_a_step_of_the_same_place():
    rca = json.loads(json.dumps(CONFIG["rca"]))
    rca["cases"]["forest"]["subjects"] = 2  # of the judgement; the forest has such a param too
    before = bound("smoke")[0].jobs
    names = {job.folder for job in before.values() if job.step.name == "reverse_forest"}
    after = bound("smoke", rca=rca)[0].jobs
    assert names == {job.folder for job in after.values() if job.step.name == "reverse_forest"}
    assert {f for f in after if "/forest/evaluate." in f} != {
        f for f in before if "/forest/evaluate." in f
    }


def test_what_temperature_and_gradient_limit_read_is_in_their_address():
    graphs, _ = bound("smoke")
    for case in ("soft_labels", "gradient_limit"):
        job = graphs.results["distill"][case]
        arrays = graph.arrays(CONFIG["distill"]["runs"]["smoke"]["dataset"])
        assert job.identities["train"] == f"{arrays.folder}/train.safetensors"


@pytest.fixture(scope="module")
def requests():
    table = measured.read(ROOT / "benchmarks/measured/embedded.csv")
    return {gpu: Requests(table, 8, gpu) for gpu in (False, True)}


def test_groups_and_priorities_of_some_jobs(requests):
    graphs, _ = bound("embedded")
    jobs = {(job.step.rule, job.case): job for job in graphs.jobs.values()}
    teacher = jobs["distill_train", "teacher"]
    assert requests[True].group(teacher) == "distill_teacher"
    assert requests[True].group(jobs["distill_soft_labels", "teacher"]) == "distill_teacher_looks"
    assert requests[True].group(jobs["distill_cost", "cost"]) == "distill_cost"
    assert requests[True].group(jobs["data_arrays", "placed_digits"]) is None
    student = [jobs[f"distill_{step}", "hard_30"] for step in ("train", "evaluate")]
    names = {requests[True].group(job) for job in student}
    assert len(names) == 1  # a short net and what judges it share a job
    assert names.pop().startswith("distill_students_")
    asked = {case: jobs["distill_train", case].ask("priority") for case in ("teacher", "hard_30")}
    assert asked == {"teacher": 100, "hard_30": 0}
    assert jobs["vae_train", "aevb_z10"].ask("priority") == 100  # looked at by other steps
    assert jobs["vae_train", "adam_z10"].ask("priority") == 0


def test_a_chain_is_one_job_if_short_and_else_one_for_each_case(requests):
    graphs, _ = bound("embedded")
    jobs = {(job.step.rule, job.case): job for job in graphs.jobs.values()}
    chain = [jobs["rca_train", "unet"], jobs["rca_register", "atlas"], jobs["rca_evaluate", "cnn"]]
    long = Requests({}, 1, False)
    assert [long.group(job) for job in chain] == [
        "rca_train_",  # a step for all cases
        "rca_register_atlas",
        "rca_evaluate_cnn",
    ]
    assert {requests[False].group(job) for job in chain} == {"rca_segmentation"}


def test_threads_and_gpus_are_those_of_the_machine(requests):
    graphs, _ = bound("embedded")
    jobs = {(job.step.rule, job.case): job for job in graphs.jobs.values()}
    assert requests[False].threads(jobs["distill_cost", "cost"]) == 8
    assert requests[False].threads(jobs["photostyle_invert", "inversion"]) == 1
    assert requests[False].threads(jobs["rca_quality", "segmenters"]) == 2
    assert [requests[gpu].gpus(jobs["stn_train", "fcn"]) for gpu in (False, True)] == [0, 1]
    assert requests[True].gpus(jobs["vae_evaluate", "aevb_z10"]) == 0
    assert jobs["stn_cost", "cost"].command.startswith("CUDA_VISIBLE_DEVICES= python -m pr12.stn")
    assert requests[True].local(jobs["data_arrays", "placed_digits"].step)
    assert not requests[True].local(jobs["vae_train", "aevb_z10"].step)


RE_ADDRESSED = {("distill", "soft_labels"), ("distill", "gradient_limit")}  # docs/decisions.md


@pytest.mark.parametrize("run", ["full", "embedded"])
def test_committed_evidence_is_of_todays_params(run, monkeypatch):
    """By today's graphs the same steps, params and raw files make it: its numbers count."""
    monkeypatch.chdir(ROOT)
    graphs, params = bound(run)
    texts = {paper: settings.paper(ROOT / "papers" / paper) for paper in PAPERS}
    targets = Targets(graphs, params, texts, ROOT)
    states = Counter()
    for paper in PAPERS:
        today = json.loads(json.dumps(targets.chains(paper)[1]))
        withdrawn = settings.withdrawn(ROOT / "papers" / paper)
        for case, row in rows.read(
            Path("reports", run, paper, "evidence"), today, withdrawn
        ).items():
            states[row.standing.state] += 1
            other = row.standing.state == "other params"
            assert not other or (paper, case) in RE_ADDRESSED, (paper, case, row.standing.note)
    assert states["current"] + states["earlier source"] > 100
