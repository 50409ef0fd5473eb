import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pr12.rca.predict import plot, scores
from pr12.workflow import address
from quality_folders import (
    PARAMS,
    SIZE,
    arguments,
    by_case,
    calibration,
    case,
    grey,
    moved,
    predicted,
    put,
    references,
    run,
    subject,
    volume,
)  # fmt: skip

NASTY = "<img src=x onerror=alert(1)> & \"'[red]$x^{"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(plot, "plot", lambda output: b"")  # half a second


def failed(folder, capsys, params=PARAMS, **paths):
    """Give the one sentence with which a run ends."""
    with pytest.raises(SystemExit) as ended:
        run(folder, params, **paths)
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert lines[-1].startswith("error: ")
    assert not list((folder / "out").glob("*.*g")) + list((folder / "out").glob("*.csv"))
    return lines[-1]


# --- what comes out ---


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Run on cases of known order, in a folder of four references."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        folder = references(tmp_path_factory.mktemp("graded"))
        _, truth = subject(20)
        case(folder, "good")
        case(folder, "poor", moved(truth, 4))
        case(folder, "bad", moved(truth, 12))
        case(folder, "empty", np.zeros_like(truth))
        return folder, run(folder)


def test_bad_segmentations_are_predicted_worse_and_come_first(graded):
    _, rows = graded
    actual = by_case(rows)
    assert list(actual) == ["empty", "bad", "poor", "good"]
    for ours in actual.values():
        assert [row["structure"] for row in ours] == ["1", "2", "3"]
    for worse, better in (("empty", "poor"), ("bad", "poor"), ("poor", "good")):
        assert np.mean(predicted(actual[worse])) < np.mean(predicted(actual[better])) - 0.1
    assert min(predicted(actual["good"])) > 0.75


def test_what_is_predicted_below_the_threshold_is_flagged(graded):
    for row in graded[1]:
        assert row["flagged"] == str(float(row["predicted_dice"]) < 0.7).lower()
        assert row["low"] == row["high"] == row["at_least"] == ""  # nobody knows any truth


def test_a_rough_range_holds_its_prediction_and_stays_between_0_and_1(graded):
    for row in graded[1]:
        low, middle, high = (float(row[n]) for n in ("rough_low", "predicted_dice", "rough_high"))
        assert 0 <= low <= middle <= high <= 1
    assert len({row["references_used"] for row in graded[1]} - {"4"}) == 0


def test_an_empty_segmentation_is_flagged_and_said(graded):
    rows = by_case(graded[1])["empty"]
    assert predicted(rows) == [0, 0, 0]
    assert {row["note"] for row in rows} == {"the segmentation has no voxel of it"}


class Page(HTMLParser):
    """Collects what a page has: tags with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def page(folder):
    return Page((folder / "out/index.html").read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_shows_every_case_worst_first(graded):
    folder, _ = graded
    actual = page(folder)
    pictures = [ours["src"] for tag, ours in actual.tags if tag == "img"]
    assert len(pictures) == 1 + 4 * 2  # the segmentation, and where references disagree
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    linked = {"link", "script", "iframe", "a", "object"}
    assert not linked & {tag for tag, _ in actual.tags}
    places = [actual.text.index(name) for name in ("empty⚑ flagged", "bad⚑ flagged", "good")]
    assert places == sorted(places)
    assert "in 3 of 4 cases" in actual.text
    assert (folder / "out/predictions.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_and_one_line_at_the_end(graded):
    folder, _ = graded
    line = arguments(folder, out=folder / "again")
    done = subprocess.run(
        [sys.executable, "-m", "pr12.rca.predict", *line],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(address.SRC), "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"See {folder / 'again/index.html'}")
    assert "warning" not in done.stderr.lower()
    for name in ("predictions.csv", "predictions.json", "predictions.png", "index.html"):
        assert (folder / "again" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_without_arguments_it_says_how_it_is_used():
    done = subprocess.run(
        [sys.executable, "-m", "pr12.rca.predict"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0
    assert "images=DIR" in done.stdout
    assert '"largest_voxels": 262144' in done.stdout


# --- resuming ---


def counted(monkeypatch, limit=None, error=KeyboardInterrupt):
    """Count the registrations of cases, and break off after some."""
    calls, score = [], scores.score

    def counting(*given):
        if len(calls) == limit:
            raise error
        calls.append(given)
        return score(*given)

    monkeypatch.setattr(scores, "score", counting)
    return calls


def test_an_interrupted_run_goes_on_with_the_cases_that_are_missing(tmp_path, monkeypatch, capsys):
    references(tmp_path, 2)
    for number, name in enumerate("abc"):
        case(tmp_path, name, number=20 + number)
    with monkeypatch.context() as patch:
        counted(patch, limit=5)  # two cases of two references, and half of the third
        with pytest.raises(SystemExit) as ended:
            run(tmp_path)
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", ".scores"}
    calls = counted(monkeypatch)
    rows = run(tmp_path)
    assert len(calls) == 2 + 2 * 1  # the third case, then each reference on the other
    assert rows == run(tmp_path, out=tmp_path / "out")
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("params", "again"),
    [
        ({"threshold": 0.9, "estimator": "mean"}, 0),
        ({"affine_iterations": 0}, 2 + 2),
    ],
)
def test_only_what_changes_the_scores_makes_them_anew(tmp_path, monkeypatch, params, again):
    references(tmp_path, 2)
    case(tmp_path, "a")
    run(tmp_path)
    calls = counted(monkeypatch)
    run(tmp_path, PARAMS | params)
    assert len(calls) == again
    assert len(list((tmp_path / "out/.scores").iterdir())) == 1 + 2


def test_a_changed_file_makes_its_own_scores_anew_and_no_others(tmp_path, monkeypatch):
    references(tmp_path, 2)
    case(tmp_path, "a")
    case(tmp_path, "b", number=21)
    first = by_case(run(tmp_path))
    case(tmp_path, "a", moved(subject(20)[1], 10))
    calls = counted(monkeypatch)
    again = by_case(run(tmp_path))
    assert len(calls) == 2  # the case by both references
    assert again["b"] == first["b"]
    assert np.mean(predicted(again["a"])) < np.mean(predicted(first["a"])) - 0.2


@pytest.mark.slow
def test_a_killed_run_leaves_no_output_and_goes_on(tmp_path):
    references(tmp_path, 3)
    for number, name in enumerate("abcdef"):
        case(tmp_path, name, number=20 + number)
    process = subprocess.Popen(
        [sys.executable, "-m", "pr12.rca.predict", *arguments(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(address.SRC)},
        stderr=subprocess.PIPE,
        text=True,
    )
    # A line is printed just before its case is kept: two of them
    assert any(line.startswith("2/9  raw scores") for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", ".scores"}
    assert len(list((tmp_path / "out/.scores").glob("[!.]*.safetensors"))) >= 1
    assert len(run(tmp_path)) == 6 * 3


# --- bad input: the others go on ---

TRUTH = subject(20)[1]
IMAGE = grey(subject(20)[0])
COLOUR = np.stack([IMAGE, IMAGE // 2, IMAGE], axis=-1)
HOLED = np.where(TRUTH == 1, np.nan, TRUTH).astype(np.float32)


BAD = [
    (("png", COLOUR), ("png", TRUTH), "is a colour picture; save it as grey"),
    (("png", b"\x89PNG and no more"), ("png", TRUTH), "is not a whole PNG file"),
    (("nii.gz", b"nothing"), ("png", TRUTH), "is not a whole NIfTI file"),
    (("npy", HOLED), ("png", TRUTH), "has NaN or infinity in"),
    (("png", IMAGE), ("npy", HOLED), "has NaN or infinity in"),
    (("png", IMAGE), ("npy", TRUTH + 0.5), "has a value that is no whole number"),
    (("png", np.full_like(IMAGE, 9)), ("png", TRUTH), "has the value 9 in all voxels"),
    (("png", IMAGE), ("png", TRUTH[:-1]), "differ in shape"),
    (("npy", np.stack([IMAGE] * 4)), ("npy", np.stack([TRUTH] * 4)), "is 3-D and most"),
    (("nii", volume(IMAGE)), ("nii", volume(TRUTH, (2.0, 1.0))), "do not fill the same box"),
]


def test_bad_cases_are_listed_and_the_others_go_on(tmp_path):
    references(tmp_path, 1)
    case(tmp_path, "good")
    for index, (*parts, _) in enumerate(BAD):
        for folder, (suffix, content) in zip(("images", "segmentations"), parts, strict=True):
            put(tmp_path / folder, f"x{index}.{suffix}", content)
    actual = by_case(run(tmp_path))
    assert list(actual) == ["good", *(f"x{index}" for index in range(len(BAD)))]
    shown = page(tmp_path).text
    for index, (*_, note) in enumerate(BAD):
        (row,) = actual[f"x{index}"]
        assert note in row["note"]
        assert f"x{index}." in row["note"]
        assert {row[key] for key in row} == {f"x{index}", "", row["note"]}
        assert shown.index("What could not be used") < shown.index(row["note"])


def test_a_bad_reference_is_listed_and_the_others_judge(tmp_path):
    references(tmp_path, 2)
    put(tmp_path / "reference/images", "bad.png", COLOUR)
    put(tmp_path / "reference/labels", "bad.png", TRUTH)
    put(tmp_path / "reference/images", "bare.png", IMAGE)
    put(tmp_path / "reference/labels", "bare.png", np.zeros_like(TRUTH))
    put(tmp_path / "reference/images", "lone.png", IMAGE)
    case(tmp_path, "a", number=21)
    actual = by_case(run(tmp_path))
    assert list(actual) == ["a", "reference bad", "reference bare", ""]
    assert {row["references_used"] for row in actual["a"]} == {"2"}
    assert "has no structure" in actual["reference bare"][0]["note"]
    assert "lone.png has no label map" in actual[""][0]["note"]


def test_labels_in_another_orientation_are_turned_by_their_header(tmp_path):
    for number in range(2):
        image, labels = subject(number)
        put(tmp_path / "reference/images", f"r{number}.nii", volume(grey(image)))
        put(tmp_path / "reference/labels", f"r{number}.nii", volume(labels))
    put(tmp_path / "images", "plain.nii", volume(IMAGE))
    put(tmp_path / "segmentations", "plain.nii", volume(TRUTH))
    mirrored = volume(np.ascontiguousarray(TRUTH[:, ::-1]), direction=(-1.0, 0.0, 0.0, 1.0))
    mirrored.SetOrigin((SIZE - 1.0, 0.0))
    put(tmp_path / "images", "turned.nii", volume(IMAGE))
    put(tmp_path / "segmentations", "turned.nii", mirrored)
    actual = by_case(run(tmp_path))
    assert predicted(actual["turned"]) == predicted(actual["plain"])
    assert "was resampled to it by the headers" in actual["turned"][0]["note"]


def test_a_structure_of_no_reference_has_a_note_and_no_number(tmp_path):
    references(tmp_path, 2)
    labels = TRUTH.copy()
    labels[:4, :4] = 77
    case(tmp_path, "a", labels)
    *others, row = run(tmp_path)
    assert row["structure"] == "77"
    assert row["note"].startswith("no reference has it")
    assert {row[key] for key in ("predicted_dice", "raw_score", "low", "high", "flagged")} == {""}
    assert min(predicted(others)) > 0.7


def test_references_without_a_structure_do_not_judge_it(tmp_path):
    # Both are empty there, which Dice calls perfect
    references(tmp_path, 3)
    image, labels = subject(5)
    put(tmp_path / "reference/images", "less.png", grey(image))
    put(tmp_path / "reference/labels", "less.png", np.where(labels == 2, 0, labels))
    case(tmp_path, "a", np.where(TRUTH == 2, 0, TRUTH))
    rows = run(tmp_path)
    assert [row["references_used"] for row in rows] == ["4", "3", "4"]
    assert predicted(rows)[1] == 0


def test_one_reference_gives_raw_scores_and_a_warning(tmp_path, capsys):
    references(tmp_path, 1)
    case(tmp_path, "a")
    rows = run(tmp_path, {})
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "at least 9 references" in warnings[0]
    for row in rows:
        assert row["predicted_dice"] == row["raw_score"] != ""
        assert row["rough_low"] == row["rough_high"] == ""
        assert "not calibrated" in row["note"]
    assert "at least 9 references" in page(tmp_path).text


def test_a_reference_with_the_image_of_a_case_does_not_judge_it(tmp_path):
    references(tmp_path, 3)
    image, labels = subject(1)
    case(tmp_path, "a", moved(labels, 1), image=grey(image))
    rows = run(tmp_path)
    assert {row["references_used"] for row in rows} == {"2"}
    assert "the reference r1 has the same image" in rows[0]["note"]


def test_only_structures_that_are_asked_for_are_predicted(tmp_path, capsys):
    references(tmp_path, 2)
    case(tmp_path, "a", np.where(TRUTH == 1, 1, 0).astype(np.uint8))
    assert len(run(tmp_path)) == 3
    assert "no segmentation has structure 2, 3" in capsys.readouterr().err
    assert [row["structure"] for row in run(tmp_path, PARAMS | {"structures": [1]})] == ["1"]
    assert "warning" not in capsys.readouterr().err


def test_a_white_mask_beside_maps_of_several_greys_is_their_white(tmp_path):
    greys = np.array([0, 128, 200, 255], np.uint8)
    for number in range(2):
        image, labels = subject(number)
        put(tmp_path / "reference/images", f"{number}.png", grey(image))
        put(tmp_path / "reference/labels", f"{number}.png", greys[labels])
    case(tmp_path, "whole", greys[TRUTH])
    case(tmp_path, "lost", np.where(TRUTH == 3, 255, 0).astype(np.uint8))
    actual = by_case(run(tmp_path))
    assert [row["structure"] for row in actual["lost"]] == ["128", "200", "255"]
    assert predicted(actual["lost"])[:2] == [0, 0]
    assert predicted(actual["lost"])[2] == predicted(actual["whole"])[2] > 0.7


def test_names_are_written_and_never_read_as_html_or_markup(tmp_path):
    references(tmp_path, 2)
    case(tmp_path, NASTY)
    put(tmp_path / "images", f"broken {NASTY}.png", b"")
    put(tmp_path / "segmentations", f"broken {NASTY}.png", TRUTH)
    os.rename(
        tmp_path / "reference/images/r0.png", os.fsencode(tmp_path) + b"/reference/images/\xff.png"
    )
    os.rename(
        tmp_path / "reference/labels/r0.png", os.fsencode(tmp_path) + b"/reference/labels/\xff.png"
    )
    put(tmp_path / "images", "lone.png", IMAGE).rename(
        os.fsdecode(os.fsencode(tmp_path) + b"/images/\xfe.png")
    )
    rows = run(tmp_path)
    assert {row["case"] for row in rows} == {NASTY, f"broken {NASTY}", ""}
    actual = page(tmp_path)
    assert not [ours for tag, ours in actual.tags if tag == "img" and "onerror" in ours]
    assert NASTY in actual.text
    assert "\\udcfe.png has no segmentation" in actual.text


# --- calibration cases ---


def test_calibration_cases_replace_the_damaged_references(tmp_path, monkeypatch):
    references(tmp_path, 2)
    case(tmp_path, "a")
    calls = counted(monkeypatch)
    rows = run(tmp_path, calibration=calibration(tmp_path, 4))
    assert len(calls) == (1 + 4) * 2
    assert all(row["low"] for row in rows)
    assert "Calibrated on 4 cases of 4 patients whose truth is known." in page(tmp_path).text


def test_too_few_calibration_cases_are_a_warning(tmp_path, capsys):
    references(tmp_path, 2)
    case(tmp_path, "a")
    rows = run(tmp_path, {"coverage": 0.8}, calibration=calibration(tmp_path, 3))
    assert "80 % coverage need at least 4 calibration cases" in capsys.readouterr().err
    assert {row["low"] for row in rows} == {""}
    assert all(row["low"] for row in run(tmp_path, calibration=calibration(tmp_path, 4)))


def test_a_failed_case_is_found_by_calibration_cases_that_are_all_good(tmp_path):
    references(tmp_path, 2)
    for number in range(4):
        image, labels = subject(40 + number)
        drawn = labels * (np.arange(SIZE) != 20 + 2 * number).astype(np.uint8)  # a line less
        for name, ours in (("images", grey(image)), ("labels", labels), ("segmentations", drawn)):
            put(tmp_path / "calibration" / name, f"{number}.png", ours)
    case(tmp_path, "good")
    case(tmp_path, "bad", moved(TRUTH, 6))
    actual = by_case(run(tmp_path, calibration=tmp_path / "calibration"))
    assert {row["flagged"] for row in actual["bad"]} == {"true"}
    assert any("below all of the calibration" in row["note"] for row in actual["bad"])
    assert {row["flagged"] for row in actual["good"]} == {"false"}


# --- volumes ---


def ball(centre, size=24):
    z, y, x = np.indices((size // 2, size, size))
    inside = (2 * z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 49
    noise = np.random.default_rng(sum(centre)).normal(0, 0.05, inside.shape)
    return (inside + noise).astype(np.float32), inside.astype(np.uint8)


def test_volumes_with_thick_slices_are_predicted(tmp_path):
    for number in range(3):
        image, labels = ball((11, 11 + number, 12))
        for name, ours in (("images", image), ("labels", labels)):
            put(tmp_path / "reference" / name, f"{number}.nii.gz", volume(ours, (1.0, 1.0, 2.0)))
    image, labels = ball((12, 11, 11))
    for name, ours in (("good", labels), ("bad", np.roll(labels, 9, axis=2))):
        put(tmp_path / "images", f"{name}.nii.gz", volume(image, (1.0, 1.0, 2.0)))
        put(tmp_path / "segmentations", f"{name}.nii", volume(ours, (1.0, 1.0, 2.0)))
    actual = by_case(run(tmp_path, PARAMS | {"largest_voxels": 2000}))
    assert list(actual) == ["bad", "good"]
    assert predicted(actual["good"])[0] > 0.8 > 0.5 > predicted(actual["bad"])[0]
    assert "averaged down by 1 x 2 x 2 voxels" in actual["good"][0]["note"]
    assert "slice 7 of 12" in page(tmp_path).text


# --- mistakes that end the run ---


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"thresholds": 0.5}, "--params.thresholds is unknown; allowed here: affine_iterations,"),
        ({"threshold": 7}, "--params.threshold is 7; it must be a number from 0 to 1"),
        ({"coverage": 1.0}, "--params.coverage is 1.0; it must be a number from 0.5 to 0.99"),
        ({"estimator": "best"}, 'is "best"; it must be one of max, mean, top3'),
        ({"shrink": [2, 0]}, "--params.shrink[1] is 0; it must be a number of at least 1"),
        ({"structures": []}, "must be a list with at least one element"),
        ({"structures": [9]}, "no reference has one of the structures 9 (they have 1, 2, 3)"),
        ("{", "--params is not JSON"),
        ("[1]", "--params must be a JSON object"),
    ],
)
def test_a_mistake_in_the_params_is_one_sentence(tmp_path, capsys, params, message):
    references(tmp_path, 1)
    case(tmp_path, "a")
    assert message in failed(tmp_path, capsys, params)


def test_nothing_that_can_be_used_is_one_sentence(tmp_path, capsys):
    references(tmp_path, 1)
    case(tmp_path, "a", image=COLOUR)
    assert "none of 1 cases can be used; the first: " in failed(tmp_path, capsys)
    case(tmp_path, "a")
    put(tmp_path / "reference/images", "r0.png", COLOUR)
    assert "none of 1 references can be used; the first: " in failed(tmp_path, capsys)
    (tmp_path / "segmentations/a.png").rename(tmp_path / "segmentations/b.png")
    assert "has a segmentation of the same name" in failed(tmp_path, capsys)


@pytest.mark.parametrize("name", ["images", "segmentations", "reference", "calibration"])
def test_a_missing_folder_is_one_sentence(tmp_path, capsys, name):
    references(tmp_path, 1)
    case(tmp_path, "a")
    paths = {name: tmp_path / "nowhere"}
    assert f"{name}={tmp_path / 'nowhere'} does not exist" in failed(tmp_path, capsys, **paths)


def test_a_calibration_case_needs_three_files(tmp_path, capsys):
    references(tmp_path, 1)
    case(tmp_path, "a")
    calibration(tmp_path, 2)
    (tmp_path / "calibration/labels/c0.png").unlink()
    (tmp_path / "calibration/segmentations/c1.png").unlink()
    message = failed(tmp_path, capsys, calibration=tmp_path / "calibration")
    assert "has a file in each of images, segmentations and labels" in message


@pytest.mark.parametrize("where", ["images", "reference", "reference/labels", "file"])
def test_a_place_for_the_output_that_would_do_harm_is_refused(tmp_path, capsys, where):
    references(tmp_path, 1)
    case(tmp_path, "a")
    (tmp_path / "file").touch()
    message = failed(tmp_path, capsys, out=tmp_path / where)
    assert re.search(r"\bout\b", message)
    assert str(tmp_path / where) in message
    assert Path(tmp_path / "file").read_bytes() == b""
