import copy
import subprocess
import sys
from pathlib import Path

import pytest

from pr12.report import golden
from pr12.workflow import files
from pr12.workflow.errors import UserError

GOLDEN = {
    "capability": {"vectors": "AVX2"},
    "metrics": {
        "distill/teacher/evaluate": {"test/errors_class3": [2, 0], "test/nll_nats": [0.5, 0.25]},
        "rca/forest/evaluate": {"test/correlation": [0.001]},
    },
    "digests": {"distill/train": {"case": "teacher", "file": "history.json", "sha256": "a" * 64}},
}
NATS = ("distill/teacher/evaluate", "test/nll_nats")
ERRORS = ("distill/teacher/evaluate", "test/errors_class3")
CORRELATION = ("rca/forest/evaluate", "test/correlation")


def changed(place, values, capability="AVX2"):
    now = copy.deepcopy(GOLDEN) | {"capability": {"vectors": capability}}
    now["metrics"][place[0]][place[1]] = values
    return now


def test_equal_runs_do_not_differ():
    assert golden.differences(GOLDEN, copy.deepcopy(GOLDEN)) == []


@pytest.mark.parametrize(
    ("place", "near", "far"),
    [
        (NATS, [0.52, 0.25], [0.7, 0.25]),
        (ERRORS, [3, 0], [4, 0]),
        (ERRORS, [2, 1], [2, 2]),
        (CORRELATION, [-0.001], [0.05]),
    ],
)
def test_only_on_another_capability_values_may_move_and_not_far(place, near, far):
    assert golden.differences(GOLDEN, changed(place, near, "AVX512")) == []
    line = f"metrics of {place[0]}, {place[1]}: {GOLDEN['metrics'][place[0]][place[1]]}, now "
    assert golden.differences(GOLDEN, changed(place, near)) == [f"{line}{near}"]
    assert golden.differences(GOLDEN, changed(place, far, "AVX512")) == [f"{line}{far}"]


def test_the_last_bit_of_a_value_is_seen():
    assert len(golden.differences(GOLDEN, changed(NATS, [0.5, 0.25 + 2**-54]))) == 1


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_another_number_of_seeds_is_seen_anywhere(capability):
    assert len(golden.differences(GOLDEN, changed(NATS, [0.5], capability))) == 1


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_missing_and_new_keys_are_seen_anywhere(capability):
    now = copy.deepcopy(GOLDEN) | {"capability": {"vectors": capability}}
    now["metrics"]["vae/z2/evaluate"] = now["metrics"].pop("rca/forest/evaluate")
    metrics = now["metrics"]["distill/teacher/evaluate"]
    metrics["test/elbo_nats"] = metrics.pop("test/nll_nats")
    now["digests"] = {"distill/evaluate": GOLDEN["digests"]["distill/train"]}
    assert golden.differences(GOLDEN, now) == [
        "metrics of rca/forest/evaluate: not there any more",
        "metrics of vae/z2/evaluate: new",
        "metrics of distill/teacher/evaluate, test/nll_nats: not there any more",
        "metrics of distill/teacher/evaluate, test/elbo_nats: new",
        "digest of distill/train: not there any more",
        "digest of distill/evaluate: new",
    ]


def test_digests_are_compared_on_the_same_capability_only():
    now = copy.deepcopy(GOLDEN)
    now["digests"]["distill/train"] |= {"sha256": "b" * 64}
    (line,) = golden.differences(GOLDEN, now)
    assert line.startswith("digest of distill/train: aaaaaaaaaa (teacher, history.json), now bbbbb")
    assert golden.differences(GOLDEN, now | {"capability": {"vectors": "AVX512"}}) == []


def result(build, name, metrics=None, **written):
    """Write an addressed folder as a step leaves it."""
    folder = build / name
    folder.mkdir(parents=True)
    (folder / "timings.json").write_text("{}")
    (folder / "files.json").write_text("{}")
    (folder / "train.log").write_text("")
    (folder / "resume_0.safetensors").write_bytes(b"")
    if metrics is not None:
        content = {"metrics": metrics, "provenance": {"machine": "here"}}
        files.write_json(folder / "metrics.json", content)
    for stem, value in written.items():
        files.write_json(folder / f"{stem}.json", value)


@pytest.fixture
def build(tmp_path):
    result(
        tmp_path, "vae/z2/train.0123456789", history=[0.5, 0.25, 0.1, 0.1], cost={"provenance": {}}
    )
    result(
        tmp_path,
        "vae/z5/train.0123456789",
        history=[0.5, 0.25, 0.125],
        rows=[{"provenance": {}}],
    )
    result(tmp_path, "vae/z2/evaluate.abcdef0123", {"test/errors": [3], "test/nll_nats": [0.1]})
    result(tmp_path, "data/digits/data.abcdef0123", verified={"images": "md5"})
    graph = {"nodes": {}}
    for folder in tmp_path.glob("*/*/*.*"):
        name = f"build/{tmp_path.name}/{folder.relative_to(tmp_path)}"
        module = f"pr12.vae.{folder.stem}"
        graph["nodes"][name] = {"folder": name, "step": module, "source": f"of {folder.stem}"}
    files.write_json(tmp_path / "report/vae/chains.0123456789/chains.json", graph)
    return tmp_path


def test_of_each_step_the_smallest_file_that_is_steady_is_collected(build):
    answer = golden.collect(build)
    assert answer["metrics"] == {"vae/z2/evaluate": {"test/errors": [3], "test/nll_nats": [0.1]}}
    chosen = {name: (row["case"], row["file"]) for name, row in answer["digests"].items()}
    assert chosen == {
        "vae/train": ("z5", "history.json"),
        "vae/evaluate": ("z2", "metrics.json"),
        "data/data": ("digits", "verified.json"),
    }


def test_neither_another_address_nor_another_machine_changes_what_is_collected(build):
    before = golden.collect(build)
    (build / "vae/z2/evaluate.abcdef0123").rename(build / "vae/z2/evaluate.0000000000")
    path = build / "vae/z2/evaluate.0000000000/metrics.json"
    content = files.read_json(path)
    files.write_json(path, content | {"provenance": {"machine": "there"}})
    (build / "vae/z5/train.0123456789/train.log").write_text("epoch 1")
    assert golden.collect(build) == before
    files.write_json(path, content | {"metrics": {"test/errors": [4]}})
    assert golden.collect(build)["digests"] != before["digests"]


def test_two_results_of_one_step_are_refused(build):
    result(build, "vae/z5/train.1111111111", history=[1])
    with pytest.raises(UserError, match=r"results of one step: remove the older one \(snakemake"):
        golden.collect(build)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no metrics: make them first"):
        golden.collect(tmp_path)


def test_the_step_runs_by_hand(build, tmp_path):
    written = tmp_path / "smoke.json"
    paths = [f"build={build}", f"golden={written}"]
    command = [sys.executable, "-m", "pr12.report.golden", "--params", "{}", *paths]
    environment = {"PYTHONPATH": str(Path(golden.__file__).parents[2])}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    made = files.read_json(written)
    names = {"vae/train": "train", "vae/evaluate": "evaluate", "data/data": "data"}
    noted = {"sources": {name: f"of {step}" for name, step in names.items()}}
    assert made == golden.collect(build) | noted | {"capability": golden.capability()}
    assert golden.differences(made, made) == []


def test_a_result_that_is_not_of_todays_code_is_not_noted(build):
    result(build, "vae/z9/train.1111111111", history=[1])
    with pytest.raises(UserError, match=r"z9/train\.1111111111 is no result of today's code"):
        golden.sources(build)


def test_comparing_needs_no_torch():
    code = "import pr12.report.golden, sys; print('json' in sys.modules, 'torch' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(golden.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True False\n"
