"""Two dry runs beside each other."""

import pytest

from pr12.workflow import same

DRY_RUN = """
[Thu] Group job vae_nets_0 (jobs in lexicogr. order):

    [Thu]
    rule vae_train:
        input: build/full/data/mnist/data.0123456789/b, build/full/data/mnist/data.0123456789/a
        output: build/full/vae/z2/train.0123456789/m.json, build/full/vae/z2/train.0123456789/h.json
        priority: 5
        threads: 2
        resources: tmpdir=/tmp, mem_mb=800, mem=800 MB, gpu=1, runtime=6
Shell command: python -m pr12.vae.train --params '{"x": 1}'  m=build/vae/train.0123456789/m

[Thu]
localrule index:
    input: build/full/report/vae/all.done
    output: build/full/report/all.done
    resources: tmpdir=/tmp
Shell command: python -m pr12.report.index --params '{"fixed": "0123456789"}'

[Thu]
rule all:
    input: build/full/report/all.done
    jobid: 0
"""


def test_digests_order_of_files_and_spaces_are_no_difference():
    train, index = same.parse(DRY_RUN)
    assert dict(train.fields)["gpu"] == "1"
    assert (dict(train.fields)["runs"], dict(index.fields)["runs"]) == ("job", "submitting host")
    assert (dict(train.fields)["group"], dict(index.fields)["group"]) == ("vae_nets_0", "")
    other = DRY_RUN.replace("0123456789", "fedcba9876").replace("}'  m", "}' m")
    other = other.replace("m.json, build/full/vae/z2/train.fedcba9876/h.json", "h.json, X").replace(
        "X", "build/full/vae/z2/train.fedcba9876/m.json"
    )
    assert other != DRY_RUN
    assert list(same.differences(same.parse(DRY_RUN), same.parse(other))) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threads: 2", "threads: 3", "threads was '2', now '3'"),
        ("        threads: 2\n", "", "threads was '2', now '1'"),
        ("mem_mb=800", "mem_mb=900", "mem_mb was '800', now '900'"),
        ("runtime=6", "runtime=7", "runtime was '6', now '7'"),
        ("gpu=1, ", "", "gpu was '1', now 'nothing'"),
        ("priority: 5", "priority: 50", "priority was '5', now '50'"),
        ("vae_nets_0", "vae_nets_1", "group was 'vae_nets_0', now 'vae_nets_1'"),
        ('"x": 1', '"x": 2', "command was"),
        ("mnist/data.0123456789/b", "mnist/data.0123456789/c", "input was"),
        ("localrule index", "rule index", "runs was 'submitting host', now 'job'"),
    ],
)
def test_each_kind_of_difference_is_told(old, new, message):
    assert old in DRY_RUN
    changed = same.parse(DRY_RUN.replace(old, new))
    (line,) = same.differences(same.parse(DRY_RUN), changed)
    assert message in line


def test_a_job_more_or_less_is_told():
    jobs = same.parse(DRY_RUN)
    (line,) = same.differences(jobs, jobs[:1])
    assert line.endswith("all.done: 1 fewer")
    (line,) = same.differences(jobs[1:], jobs)
    assert line.startswith("vae_train ")
    assert line.endswith(": 1 more")


def test_of_two_jobs_at_one_place_both_are_compared():
    first, _ = same.parse(DRY_RUN)
    second = same.parse(DRY_RUN.replace('"x": 1', '"x": 2'))[0]
    assert list(same.differences([first, second], [second, first])) == []
    third = same.parse(DRY_RUN.replace('"x": 1', '"x": 3'))[0]
    (line,) = same.differences([first, second], [third, first])
    assert """command was "2}'", now "3}'\"""" in line


def test_what_is_no_revision_is_refused_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert same.main(["nowhere", "HEAD"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: nowhere is neither a folder with a Snakefile nor a revision")
    assert message.count("\n") == 1


def test_the_exit_code_tells_whether_anything_differs(monkeypatch, capsys):
    texts = {"old": DRY_RUN, "new": DRY_RUN}
    monkeypatch.setattr(same, "check_out", lambda revision, folder: None)
    monkeypatch.setattr(same, "dry_run", lambda folder, *_: same.parse(texts[folder.name]))
    assert same.main(["old", "new"]) == 0
    texts["new"] = DRY_RUN.replace("threads: 2", "threads: 3")
    assert same.main(["old", "new", "--runs", "full", "--profiles", "slurm"]) == 1
    assert capsys.readouterr().out.endswith("threads was '2', now '3' (full slurm)\n")
