"""References that are scored once, and new cases by a model."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pr12.rca.predict import fit, patients, plot, running, scores
from pr12.rca.predict.settings import FITTED, Settings
from pr12.workflow import address, step
from pr12.workflow.errors import UserError
from quality_folders import (
    PARAMS,
    arguments,
    calibration,
    case,
    code_and_rows,
    grey,
    moved,
    put,
    references,
    run,
    subject,
    volume,
)  # fmt: skip

QUICK = {"affine_iterations": 5, "deformable_iterations": 3}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(plot, "plot", lambda output: b"")  # half a second


def fitted(folder, params=QUICK, out="model", **paths):
    """Fit a model, and give its folder."""
    given = {"reference": folder / "reference", "out": folder / out} | paths
    line = [f"{name}={path}" for name, path in given.items()] + ["--params", json.dumps(params)]
    line = running.with_defaults(line, FITTED)
    names = {"reads": ["reference"], "optional": ["calibration"], "writes": ["out"]}
    with step.start(Settings, **names, arguments=line) as job:
        assert fit.main(job) == 0
    return folder / out


def toy(folder, count=3):
    references(folder, count)
    _, truth = subject(20)
    case(folder, "good")
    case(folder, "bad", moved(truth, 12))
    return folder


def failed(capsys, function, *given, **more):
    with pytest.raises(SystemExit) as ended:
        function(*given, **more)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


# --- models ---


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_model_predicts_as_its_references_do(tmp_path, calibrated):
    toy(tmp_path)
    more = {"calibration": calibration(tmp_path, 4)} if calibrated else {}
    expected = run(tmp_path, PARAMS | QUICK, **more)
    model = fitted(tmp_path, **more)
    assert {path.name for path in model.iterdir()} == {
        ".lock", "model.json", "references.safetensors", "scores.safetensors"
    }  # fmt: skip
    assert run(tmp_path, reference=None, model=model) == expected


def test_new_cases_cost_their_own_registrations_alone(tmp_path, monkeypatch):
    model = fitted(toy(tmp_path, 4))
    calls, score = [], scores.score
    monkeypatch.setattr(scores, "score", lambda *given: calls.append(given) or score(*given))
    run(tmp_path, reference=None, model=model)
    assert len(calls) == 2 * 4
    case(tmp_path, "new", number=23)
    run(tmp_path, PARAMS | {"threshold": 0.9}, reference=None, model=model)
    assert len(calls) == 3 * 4


def test_a_fit_goes_on_where_it_was_and_refuses_a_second_one(tmp_path, monkeypatch, capsys):
    toy(tmp_path)
    calls, score = [], scores.score

    def breaking(*given):
        if len(calls) == 4:  # two references by two others each
            raise KeyboardInterrupt
        calls.append(given)
        return score(*given)

    with monkeypatch.context() as patch:
        patch.setattr(scores, "score", breaking)
        with pytest.raises(SystemExit):
            fitted(tmp_path)
    message = failed(capsys, run, tmp_path, reference=None, model=tmp_path / "model")
    assert "model has no model.json; give a folder that pr12 quality fit wrote" in message
    monkeypatch.setattr(scores, "score", lambda *given: calls.append(given) or score(*given))
    fitted(tmp_path)
    assert len(calls) == 6
    with running.alone({"out": tmp_path / "model"}, "predictions.csv"):
        assert "another run is writing into out=" in failed(capsys, fitted, tmp_path)


def cut(model):
    path = model / "scores.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def other_version(model):
    path = model / "model.json"
    path.write_text(path.read_text().replace('"code": "', '"code": "x'))


def no_json(model):
    (model / "model.json").write_text("{")


def no_settings(model):
    path = model / "model.json"
    content = json.loads(path.read_text())
    del content["settings"]["shrink"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "is no whole model; fit it again"),
        (other_version, "was fitted by another version of the tool; fit it again"),
        (no_json, "model.json"),
        (no_settings, "is no whole model; fit it again"),
    ],
)
def test_a_damaged_model_is_one_sentence(tmp_path, capsys, damage, words):
    model = fitted(toy(tmp_path, 2))
    damage(model)
    assert words in failed(capsys, run, tmp_path, reference=None, model=model)


@pytest.mark.parametrize(
    ("params", "paths", "words"),
    [
        ({}, {"model": "model"}, "give either reference=DIR or model=MODEL"),
        ({}, {"reference": None}, "give either reference=DIR or model=MODEL"),
        (
            {"smoothing": 2.0},
            {"reference": None, "model": "model"},
            "--params.smoothing is 2.0 and the model",
        ),
        (
            {},
            {"reference": None, "model": "model", "calibration": "reference"},
            "calibration=DIR belongs to the fit of a model",
        ),
        ({"patients": "("}, {"calibration": "calibration"}, "patients=( is no regular expression"),
        ({"patients": "x"}, {"calibration": "calibration"}, "finds no patient in the name c0"),
        ({"patients": "x*"}, {"calibration": "calibration"}, "finds no patient in the name c0"),
        ({"patients": "c0|(c)"}, {"calibration": "calibration"}, "finds no patient in the name c0"),
        ({"patients": "^r"}, {}, "patients are those of calibration=DIR, which is not given"),
        ({"jobs": 10_000}, {}, "jobs is 10000, and there are"),
        ({}, {"out": "images/a/b"}, "lies in images="),
        ({}, {"out": "model"}, "holds model.json of another command"),
    ],
)
def test_what_does_not_belong_together_is_one_sentence(tmp_path, capsys, params, paths, words):
    fitted(toy(tmp_path, 2))
    calibration(tmp_path, 2)
    paths = {name: path and tmp_path / path for name, path in paths.items()}
    assert words in failed(capsys, run, tmp_path, PARAMS | params, **paths)


def test_a_fit_is_not_asked_for_thresholds():
    with pytest.raises(UserError, match="threshold is not asked for here; leave it out"):
        running.with_defaults(["--params", '{"threshold": 0.5}'], FITTED)


def test_a_structure_that_the_model_has_not_is_no_number(tmp_path):
    model = fitted(toy(tmp_path, 3))
    _, truth = subject(20)
    case(tmp_path, "more", np.where(truth == 2, 9, truth).astype(np.uint8))
    rows = [row for row in run(tmp_path, reference=None, model=model) if row["case"] == "more"]
    by_structure = {row["structure"]: row for row in rows}
    assert by_structure["9"]["predicted_dice"] == ""
    assert "no reference has it" in by_structure["9"]["note"]
    assert float(by_structure["1"]["predicted_dice"]) > 0.5


@pytest.mark.parametrize("calibrated", [False, True])
def test_so_many_references_judge_as_are_asked_for(tmp_path, monkeypatch, calibrated):
    toy(tmp_path, 5)
    calls, score = [], scores.score
    monkeypatch.setattr(scores, "score", lambda *given: calls.append(given) or score(*given))
    more = {"calibration": calibration(tmp_path, 3)} if calibrated else {}
    rows = run(tmp_path, PARAMS | QUICK | {"references": 2}, **more)
    assert {row["references_used"] for row in rows} == {"2"}
    assert len({given[2].name for given in calls[:4]}) == 2  # the same for both cases
    # Damaged references are judged by two others; what was carried from one of them by the other
    assert len(calls) == 2 * 2 + (3 * 2 if calibrated else 5 * 2)


# --- patients ---


def test_patients_come_from_names_or_from_a_table(tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("case,patient,age\na,p1,3\nb,p1,4\n")
    assert patients.patients(["a", "b"], None, table) == ["p1", "p1"]
    assert patients.patients(["p1_l", "p2_l"], "^(p[0-9])_", table) == ["p1", "p2"]
    with pytest.raises(UserError, match="has no line for the case c; add one"):
        patients.patients(["a", "c"], None, table)
    table.write_text("case,patient\na, p1 \nb,p1\n")
    assert patients.patients(["a", "b"], None, table) == ["p1", "p1"]
    for text, words in (
        ("name\na\n", "is no table with the columns case and patient"),
        ("case;patient\na;p1\n", "is no table with the columns case and patient"),
        ("case,patient\na,\n", "has no patient for the case a; fill it in"),
        ("case,patient\na\n", "has no patient for the case a; fill it in"),
        ("case,patient\na,p1\na,p2\n", "has two patients for the case a; leave one"),
    ):
        table.write_text(text)
        with pytest.raises(UserError, match=words):
            patients.patients(["a"], None, table)


def test_two_sides_of_a_patient_are_one(tmp_path, capsys):
    toy(tmp_path, 2)
    folder = calibration(tmp_path, 4)
    (folder / "patients.csv").write_text("case,patient\nc0,a\nc1,a\nc2,b\nc3,b\n")
    rows = run(tmp_path, {"coverage": 0.75} | QUICK, calibration=folder)
    assert {row["low"] for row in rows} == {""}
    assert "need at least 3 calibration cases" in capsys.readouterr().err
    rows = run(tmp_path, {"coverage": 0.5} | QUICK, calibration=folder)
    assert all(row["low"] for row in rows)
    assert "Calibrated on 4 cases of 2 patients" in (tmp_path / "out/index.html").read_text("utf-8")


# --- what comes out ---


def test_what_the_tool_did_not_write_stays(tmp_path):
    toy(tmp_path, 2)
    run(tmp_path, PARAMS | QUICK)
    own = {}
    for name in (".movie.part.1", ".scores/x.txt", ".scores/mine.safetensors",
                 "disagreement/mine.nii.gz"):  # fmt: skip
        own[name] = put(tmp_path / "out" / name.rpartition("/")[0], name.rpartition("/")[2], b"a")
    for folder in ("images", "segmentations"):
        (tmp_path / folder / "bad.png").unlink()
    run(tmp_path, PARAMS | QUICK)
    assert all(path.read_bytes() == b"a" for path in own.values())
    assert (tmp_path / "out/disagreement/good.nii.gz").is_file()
    assert not (tmp_path / "out/disagreement/bad.nii.gz").exists()


def test_one_patient_calibrates_nothing_and_is_no_crash(tmp_path):
    toy(tmp_path, 2)
    folder = calibration(tmp_path, 2)
    (folder / "patients.csv").write_text("case,patient\nc0,a\nc1,a\n")
    model = fitted(tmp_path, calibration=folder)
    rows = run(tmp_path, PARAMS | QUICK, reference=None, model=model)
    assert {row["low"] for row in rows} == {""}


def test_flags_end_in_a_code_of_their_own_if_asked(tmp_path):
    toy(tmp_path)
    assert code_and_rows(tmp_path, PARAMS | QUICK)[0] == 0
    assert code_and_rows(tmp_path, PARAMS | QUICK | {"fail_on_flag": True})[0] == 3
    assert code_and_rows(tmp_path, {"fail_on_flag": True, "threshold": 0.0} | QUICK)[0] == 0


def test_json_says_what_the_table_says(tmp_path):
    rows = run(toy(tmp_path), PARAMS | QUICK)
    content = json.loads((tmp_path / "out/predictions.json").read_text())
    listed = [(c["case"], s) for c in content["cases"] for s in c["structures"]]
    assert [(name, str(s["structure"])) for name, s in listed] == [
        (row["case"], row["structure"]) for row in rows
    ]
    for (_, ours), row in zip(listed, rows, strict=True):
        assert f"{ours['predicted_dice']:.4f}" == row["predicted_dice"]
        assert ours["flagged"] == (row["flagged"] == "true")
    assert content["threshold"] == 0.7
    assert "rough ranges, no intervals" in content["calibration"]


def test_maps_of_disagreement_lie_on_the_image_and_mark_what_is_missing(tmp_path):
    size = 24

    def ball(centre):
        z, y, x = np.indices((size, size, size)) - np.array(centre)[:, None, None, None]
        inside = z**2 + y**2 + x**2 < 36
        noise = np.random.default_rng(sum(centre)).normal(0, 0.05, inside.shape)
        return (inside + noise).astype(np.float32), inside.astype(np.uint8)

    direction = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # turned about an axis
    for number in range(4):
        image, labels = ball((12 + number % 2, 11, 12 + number // 2))
        put(tmp_path / "reference/images", f"r{number}.nii.gz", volume(image, (1.0, 1.0, 2.0)))
        put(tmp_path / "reference/labels", f"r{number}.nii.gz", volume(labels, (1.0, 1.0, 2.0)))
    image, truth = ball((12, 12, 12))
    half = truth * (np.arange(size) < 12).astype(np.uint8)[:, None, None]
    for folder, array in (("images", image), ("segmentations", half)):
        ours = volume(array, (1.0, 1.0, 2.0), direction)
        ours.SetOrigin((5.0, 6.0, 7.0))
        put(tmp_path / folder, "half.nii.gz", ours)
    (row,) = run(tmp_path)
    written = sitk.ReadImage(str(tmp_path / "out/disagreement/half.nii.gz"))
    shown = sitk.Resample(
        written, sitk.ReadImage(str(tmp_path / "images/half.nii.gz")), sitk.Transform(),
        sitk.sitkNearestNeighbor, -1.0,
    )  # fmt: skip
    share = sitk.GetArrayFromImage(shown)
    assert share.min() >= 0  # it covers the image
    missing = (truth > 0) & (half == 0)
    assert share[missing].mean() > 0.7
    assert share[(truth == 0)].mean() < 0.05
    assert 0.2 < float(row["disagreement"]) < 0.8
    assert 3 < float(row["hd95_mm"]) < 15  # half a ball of a radius of six voxels


def test_a_reference_of_inverted_contrast_is_named(tmp_path, capsys):
    toy(tmp_path, 4)
    image, _ = subject(2)
    put(tmp_path / "reference/images", "r2.png", grey(1 - image))
    run(tmp_path, PARAMS | {"deformable_iterations": 0})
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "registers badly" in each]
    assert "the reference r2 registers badly with most cases" in line
    assert "its contrast is inverted" in line


def test_cases_of_another_kind_than_the_calibration_are_told(tmp_path, capsys):
    references(tmp_path, 2)
    folder = calibration(tmp_path, 12)
    stream = np.random.default_rng(0)
    for number in range(12):
        image, truth = subject(60 + number)
        noisy = np.clip(0.2 * image + stream.normal(0.4, 0.3, image.shape), 0, 1)
        case(tmp_path, f"n{number}", truth, image=grey(noisy))
    run(tmp_path, PARAMS | QUICK, calibration=folder)
    assert "the cases are unlike those that calibrated in" in capsys.readouterr().err
    for number in range(12):
        image, truth = subject(60 + number)
        case(tmp_path, f"n{number}", moved(truth, number % 4), image=grey(image))
    run(tmp_path, PARAMS | QUICK, calibration=folder)
    assert "unlike" not in capsys.readouterr().err


# --- other systems ---

HIDDEN = """
import os, runpy, sys
sys.modules["resource"] = sys.modules["fcntl"] = None  # Windows has neither
del os.sched_getaffinity  # nor has macOS
sys.argv = ["pr12", *sys.argv[1:]]
runpy.run_module("pr12.cli", run_name="__main__")
"""


def test_it_runs_where_windows_and_macos_lack_parts_of_the_library(tmp_path):
    toy(tmp_path, 2)
    fast = ["--affine-iterations", "5", "--deformable-iterations", "3"]
    fit_line = ["fit", tmp_path / "reference", "-o", tmp_path / "model", *fast, "--jobs", "1"]
    score_line = [
        "score", tmp_path / "segmentations", tmp_path / "images", "--model", tmp_path / "model",
        "-o", tmp_path / "out", "--coverage", "0.5", "--fail-on-flag",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(address.SRC)
    for line, code in ((fit_line, 0), (score_line, 3)):
        done = subprocess.run(
            [sys.executable, "-c", HIDDEN, "quality", *map(str, line)],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    assert (tmp_path / "out/index.html").is_file()
    assert len(arguments(tmp_path)) == 6
