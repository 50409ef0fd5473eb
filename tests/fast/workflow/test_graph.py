"""What a graph makes of its declarations, on a toy of two steps."""

import pytest

from pr12.workflow import address, graph
from pr12.workflow.errors import UserError
from pr12.workflow.graph import Group, Paper, Raw

SECTION = {"cases": {"a": {}, "b": {}}}


def toy(makes=None, model="model.safetensors", raw=None, run="smoke", **asks):
    """Return the jobs of a training and what judges it, of a paper with the name of a real one."""
    paper = Paper("vae", section=SECTION, run=run)
    raw = raw or Raw("data/raw/mnist", {"x": "md5:0"})

    @paper.step(makes={"model": model}, params=lambda job: {"case": job.case}, **asks)
    def train(job):
        return {"folder": raw}

    outputs = makes or {"metrics": "metrics.json", "picture": "{case}_picture.json"}

    @paper.step(makes=outputs, params=lambda job: {})
    def evaluate(job):
        return {"model": train(job.case)["model"]}

    return train, evaluate


@pytest.fixture
def jobs():
    return graph.reachable(toy()[1](case) for case in "ab")


def test_what_is_read_comes_before_who_reads_it(jobs):
    names = [(job.step.name, job.case) for job in jobs.values()]
    assert names == [("train", "a"), ("evaluate", "a"), ("train", "b"), ("evaluate", "b")]


def test_a_job_is_found_by_its_folder(jobs):
    for folder, job in jobs.items():
        assert folder == f"build/smoke/vae/{job.case}/{job.step.name}.{folder[-10:]}"
        assert graph.look_up(jobs, folder) is job


def test_an_unknown_digest_is_refused_with_what_there_is_today(jobs):
    folder = next(iter(jobs))
    unknown = f"{folder[:-10]}0123456789"
    with pytest.raises(UserError) as refused:
        graph.look_up(jobs, unknown)
    assert str(refused.value).startswith(f"{unknown} is not what today's code and params make")
    assert str(refused.value).endswith(f"that is {folder}")


def test_a_job_is_one_object_however_often_it_is_asked_for():
    train, evaluate = toy()
    assert train("a") is train("a")
    assert evaluate("a").inputs["model"].job is train("a")
    assert train("a") is not train("b")


def test_a_command_has_params_then_inputs_then_outputs():
    train, evaluate = toy()
    job = evaluate("a")
    assert job.command == (
        f"python -m pr12.vae.evaluate --params '{{}}' model={train('a').folder}/model.safetensors "
        f"metrics={job.folder}/metrics.json picture={job.folder}/a_picture.json"
    )


def folder(**changes):
    return toy(**changes)[1]("a").folder


def test_two_outputs_that_are_exchanged_have_another_address():
    swapped = {"metrics": "a_picture.json", "picture": "metrics.json"}
    assert folder(makes=swapped) != folder()
    assert folder() == folder()


def test_another_file_of_the_same_result_is_another_input():
    assert folder(model="other.safetensors") != folder()


def test_raw_data_count_by_their_checksums(monkeypatch):
    sums = {"mnist": {"x": "md5:0"}}
    monkeypatch.setattr(address, "checksums", lambda table: sums)
    before = folder()
    sums["cub"] = {"y": "md5:1"}
    assert folder() == before
    sums["mnist"] = {"x": "md5:2"}
    assert folder() != before


def test_a_job_waits_for_the_record_of_what_it_reads_not_for_raw_files():
    train, evaluate = toy()
    record = train("b")["model"]  # stands for what a fetch writes
    reader, _ = toy(raw=Raw("data/raw/mnist", {"x": "md5:0"}, record))
    assert reader("a").waits_for == [record]
    assert train("a").waits_for == []
    assert evaluate("a").waits_for == [train("a")["model"]]
    assert evaluate("a").identities == {"model": train("a")["model"].path}
    assert train("a").identities == {"folder": {"x": "md5:0"}}


@pytest.mark.parametrize(("run", "memory"), [("smoke", 100), ("full", 900)])
def test_what_a_job_asks_for_may_differ_in_the_full_run_or_by_case(run, memory):
    nets = Group("nets", "cases")
    train, _ = toy(
        run=run, memory=(100, 900), group=nets, priority=lambda job: 7 if job.case == "b" else 0
    )
    asked = {name: train("b").ask(name) for name in graph.DEFAULTS}
    assert asked == {
        "threads": 1,
        "memory": memory,
        "minutes": 10,
        "gpu": False,
        "priority": 7,
        "group": nets,
    }
    assert train("a").ask("priority") == 0


def test_a_step_for_all_cases_has_one_job_with_params_of_no_case():
    paper = Paper("vae", section=SECTION, run="smoke")

    @paper.step(makes={"train": "{case}.json"}, place="faces")
    def faces(job):
        return {}

    assert faces() is faces("a")
    assert (faces().case, faces().params_of) == ("faces", None)
    assert faces().outputs == {"train": "faces.json"}
