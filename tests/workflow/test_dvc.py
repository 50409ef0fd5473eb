import csv
import io
import json
import re

from checkout import UP_TO_DATE, Checkout, job_table

METRICS = "reports/smoke/distill/metrics.json"
CLAIMS = "reports/smoke/distill/claims.csv"
PAGE = {"index", "all"}  # the page over all papers, which neither git nor DVC keeps
EVALUATE = "src/pr12/distill/evaluate.py"


def jobs_run(text):
    """Count the jobs of all Snakemake runs that a command of DVC made: rule -> count."""
    counts = {}
    for part in text.split("Building DAG of jobs...")[1:]:
        for rule, count in job_table(part).items():
            counts[rule] = counts.get(rule, 0) + count
    # What DVC asks for by name, and a page that git and DVC do not keep
    targets = ("data", "distill_results", "distill_report", "report", "prune", "index")
    return {rule: count for rule, count in counts.items() if rule not in targets}


def metric(results, key, case="soft_800_T20"):
    """Return the mean over seeds of a published metric."""
    return json.loads(results[METRICS])[case][key]["mean"]


def verdicts(results):
    """Return claim's id -> verdict."""
    rows = csv.DictReader(io.StringIO(results[CLAIMS].decode()))
    return {row["claim"]: row["verdict"] for row in rows}


def experiments(checkout):
    """Return temperature -> mean likelihood loss of all named rows of the table of experiments."""
    text = checkout.run("dvc", "exp", "show", "--csv", "--all-commits")
    rows = csv.DictReader(io.StringIO(text[text.index("Experiment,") :]))
    key = "soft_800_T20.test/nll_nats.mean"
    return {
        float(row["distill.cases.soft_800_T20.temperature"]): float(row[key])
        for row in rows
        if row["rev"] not in ("workspace", "main") and row["Experiment"]
    }


def test_repro_after_snakemake_does_no_work_and_leaves_none(locked, complete):
    text = locked.root.with_suffix(".log").read_text(encoding="utf-8")
    assert text.count("Building DAG of jobs...") == 5  # three stages, two with a prune
    assert jobs_run(text) == {}
    before, after = (each.bytes("build/smoke/*/**/*") for each in (complete, locked))
    nets = "build/smoke/nets/distill"
    copies = [f"{nets}/{name}.safetensors" for name in ("distilled-net", "teacher-ensemble")]
    assert sorted(after.keys() - before.keys()) == copies
    assert {name: after[name] for name in before} == before
    assert locked.results() == complete.results()
    assert locked.jobs() == {}
    assert UP_TO_DATE in locked.dvc("status")
    assert UP_TO_DATE in locked.dvc("repro")
    assert locked.git("status", "--porcelain") == ""


def test_a_bare_clone_is_up_to_date_exactly_when_its_reports_are(clone):
    # Where a stage must run, DVC ends with an error if data that it would read are not there
    dry = ("sh", "-c", "dvc repro --dry --allow-missing || true")
    assert not (clone / "build").exists()
    assert UP_TO_DATE in clone.run(*dry)
    for path in (
        METRICS,
        "reports/smoke/distill/README.md",
        "src/pr12/distill/train.py",
        "src/pr12/data/arrays.py",
        "requirements.lock",
        "papers/distill/claims.yaml",
    ):
        clone.append(path, "\n")
        text = clone.run(*dry)
        assert UP_TO_DATE not in text, path
        assert "stage" in text or "reproduce" in text, path
        clone.git("checkout", "--quiet", "--", path)
    clone.set("distill.seeds", [5])
    assert UP_TO_DATE not in clone.run(*dry)
    clone.git("checkout", "--quiet", "--", "params.yaml")
    assert UP_TO_DATE in clone.run(*dry)


def test_after_clone_and_pull_there_is_nothing_to_do(clone, locked):
    clone.dvc("pull", "--quiet")
    assert clone.jobs() == {}
    assert UP_TO_DATE in clone.dvc("status")
    assert clone.results() == locked.results()
    # Snakemake's own report: pages that came from elsewhere are written anew, by what it says
    text = clone.snakemake("--report", "report.zip", code=2)
    assert "error: snakemake --report shows pages that Snakemake wrote in this folder" in text
    assert "run `rm -f build/smoke/report/*/stamp.json` and `snakemake --cores all`" in text
    clone.run("bash", "-c", "rm -f build/smoke/report/*/stamp.json")
    assert set(job_table(clone.snakemake())) == {"distill_pages", "index", "all"}
    clone.snakemake("--report", "report.zip")
    assert (clone / "report.zip").exists()


def test_code_committed_without_a_run_is_run_by_the_next_who_pulls(clone, tmp_path):
    # The author changes what an evaluation gives, and commits without running it.
    clone.append(EVALUATE, "\nUNUSED = 1\n")
    clone.commit("Other evaluation, not run")
    other = Checkout(tmp_path / "other")
    clone.git("clone", "--quiet", ".", str(other.root))
    other.dvc("pull", "--quiet")
    old = {case: other.folder(case, "evaluate").name for case in ("hard_800", "soft_800_T20")}
    ran = jobs_run(other.dvc("repro"))
    assert ran == {"distill_evaluate": 2, "evidence": 2, "distill_pages": 1}
    for case, name in old.items():  # the stale ones are pruned, hence not locked
        assert other.folder(case, "evaluate").name != name
    assert UP_TO_DATE in other.dvc("status")
    assert other.jobs() == {}
    evidence = other / "reports/smoke/distill/evidence/hard_800/evidence.json"
    digest = other.run(
        "python",
        "-c",
        "from pr12.workflow import address; print(address.source_digest('pr12.distill.evaluate'))",
        PYTHONPATH="src",
    ).strip()
    assert json.loads(evidence.read_text())["chain"][-1]["source"] == digest


def test_branches_with_other_params_keep_their_results_and_are_compared(versioned, tmp_path):
    main = versioned.results()
    versioned.git("switch", "--quiet", "--create", "softer")
    versioned.set("distill.cases.soft_800_T20.temperature", 2.0)
    strict, *others = versioned.claims()
    versioned.write_claims([strict | {"margin": 1000}, *others])
    ran = jobs_run(versioned.dvc("repro"))
    assert ran["distill_train"] == ran["distill_evaluate"] == 1
    versioned.commit("Softer")
    softer = versioned.results()
    assert softer != main

    compared = json.loads(versioned.run("dvc", "metrics", "diff", "--json", "main"))
    change = compared[METRICS]["soft_800_T20.test/nll_nats.mean"]
    assert change["old"] == metric(main, "test/nll_nats")
    assert change["new"] == metric(softer, "test/nll_nats") != change["old"]
    compared = json.loads(versioned.run("dvc", "params", "diff", "--json", "main"))
    name = "distill.cases.soft_800_T20.temperature"
    assert compared == {"params.yaml": {name: {"old": 20.0, "new": 2.0, "diff": -18.0}}}
    versioned.dvc("plots", "diff", "--out", str(tmp_path / "diff"), "main")
    page = (tmp_path / "diff/index.html").read_text(encoding="utf-8")
    for rev, results in (("main", main), ("workspace", softer)):
        for row in csv.DictReader(io.StringIO(results[CLAIMS].decode())):
            point = rf'"claim": "{row["claim"]}", "measured": "{row["measured"]}"[^{{}}]*"{rev}"'
            assert re.search(point, page), point
    assert verdicts(main)["teacher_beats_hard"] == "inconclusive"
    assert verdicts(softer)["teacher_beats_hard"] == "no difference"  # of a thousand errors
    versioned.dvc("plots", "show", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots/index.html").read_text(encoding="utf-8")
    figures = versioned.bytes("reports/smoke/distill/figures/*.[sp][vn]g")
    assert len(figures) > 5
    assert all(name in page for name in figures)

    # params back to the older value: with them come their results
    for branch, results in (("main", main), ("softer", softer)):
        versioned.git("switch", "--quiet", branch)
        versioned.dvc("checkout", "--quiet")
        assert versioned.jobs().keys() <= PAGE
        assert UP_TO_DATE in versioned.dvc("status")
        assert versioned.results() == results


def test_experiments_in_place_and_in_two_queue_workers_are_all_kept(versioned):
    name = "distill.cases.soft_800_T20.temperature"
    versioned.dvc("exp", "run", "--set-param", f"{name}=2.0")
    here = metric(versioned.results(), "test/nll_nats")
    versioned.git("checkout", "--quiet", "--", ".")
    versioned.dvc("checkout", "--quiet")
    before = versioned.results()
    for temperature in (4.0, 8.0):
        versioned.dvc("exp", "run", "--queue", "--set-param", f"{name}={temperature}")
    versioned.dvc("exp", "run", "--run-all", "--jobs", "2")
    result = experiments(versioned)
    assert sorted(result) == [2.0, 4.0, 8.0]
    assert result[2.0] == here
    assert versioned.results() == before  # those of the workspace
    assert versioned.jobs().keys() <= PAGE
    # The same as Snakemake alone makes it
    versioned.set(name, 8.0)
    versioned.snakemake()
    assert result[8.0] == metric(versioned.results(), "test/nll_nats")
