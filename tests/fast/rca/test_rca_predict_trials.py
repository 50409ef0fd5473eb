"""What must not pass without a word in users' folders: headers, numbers, calibration, loss."""

import csv
import json
import os
import struct
import subprocess
import sys
from io import BytesIO

import filelock
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

import bad_inputs
from pr12.rca.predict import __main__ as predict
from pr12.rca.predict import cases, page, plot, running
from pr12.rca.predict.reading import picture
from pr12.rca.predict.settings import Settings
from pr12.workflow import address, step
from pr12.workflow.errors import UserError

QUICK = {"affine_iterations": 0, "deformable_iterations": 0}
SHAPE = (12, 18, 16)
LARGE = (300, 512, 512)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(plot, "plot", lambda summary: b"")
    monkeypatch.setattr(page, "overlay", lambda view: b"")


def subject(number, inverted=False):
    """Return image and labels of two structures, one half of an ellipsoid each, off the centre."""
    z, y, x = np.indices(SHAPE)
    inside = ((z - 5) / 4) ** 2 + ((y - 7) / 5) ** 2 + ((x - 9) / 5) ** 2 < 1
    labels = inside.astype(np.uint8) + (inside & (x > 8))
    noise = np.random.default_rng(number).normal(0, 0.1, SHAPE)
    image = labels + 0.1 * y + noise
    return (9 - image if inverted else image).astype(np.float32), labels


def nifti(path, array, codes=(1, 1), moved=0.0, flipped=False, shear=0.0, slope=None):
    """Write a NIfTI file; the codes and the sform are written over those of SimpleITK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2h", content, 252, *codes)
    row = [1.0, shear, 0.0, -(SHAPE[2] - 1.0) + moved] if flipped else [-1.0, shear, 0.0, moved]
    struct.pack_into("<4f", content, 280, *row)
    if slope is not None:
        struct.pack_into("<f", content, 112, slope)
    path.write_bytes(content)
    return path


def folders(folder, count=2, references=2):
    for number in range(count):
        image, labels = subject(number)
        nifti(folder / "images" / f"c{number}.nii", image)
        nifti(folder / "segmentations" / f"c{number}.nii", labels)
    for number in range(references):
        image, labels = subject(10 + number)
        nifti(folder / "reference/images" / f"r{number}.nii", image)
        nifti(folder / "reference/labels" / f"r{number}.nii", labels)
    return folder


def relabelled(folder, table, files="segmentations/*"):
    for path in sorted(folder.glob(files)):
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        new = np.zeros(labels.shape, np.int16)
        for number, other in table.items():
            new[labels == number] = other
        nifti(path, new)
    return folder


def calibration(folder, change, count=20):
    for number in range(count):
        image, labels = (np.roll(part, number % 4 - 1, 1) for part in subject(100 + number))
        for name, array in (
            ("images", image),
            ("segmentations", change(labels, number)),
            ("labels", labels),
        ):
            nifti(folder / "calibration" / name / f"k{number}.nii", array)
    return folder


def start(folder, params=None, **paths):
    """Run; return the exit code and the rows of the table."""
    names = ["images", "segmentations", "reference"]
    names += ["calibration"] if (folder / "calibration").exists() else []
    given = {name: folder / name for name in names} | {"out": folder / "out"} | paths
    line = [f"{name}={path}" for name, path in given.items()]
    line += ["--params", json.dumps(QUICK | (params or {}))]
    try:
        with step.start(
            Settings,
            reads=["images", "segmentations", "reference"],
            optional=["calibration"],
            writes=["out"],
            arguments=running.with_defaults(line),
        ) as job:
            code = predict.main(job)
    except SystemExit as stopped:
        return stopped.code, []
    with (given["out"] / "predictions.csv").open(encoding="utf-8") as stream:
        return code, list(csv.DictReader(stream))


def numbers(rows, case=None):
    return [float(row["raw_score"]) for row in rows if case in (None, row["case"])]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plot, "plot", lambda summary: b"")
        patch.setenv("OMP_NUM_THREADS", "1")
        code, rows = start(folders(tmp_path_factory.mktemp("plain")))
    assert code == 0
    assert min(numbers(rows)) > 0.99
    return rows


# --- bad inputs: subject, value, remedy ---


def arrays_beside_nifti(folder):
    for path in sorted(folder.glob("[is]*/*.nii")):
        np.save(path.with_suffix(".npy"), sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
        path.unlink()


def nifti_beside_arrays(folder):
    for path in sorted(folder.glob("reference/*/*.nii")):
        np.save(path.with_suffix(".npy"), sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
        path.unlink()


def without_place(folder):
    for number in range(2):
        nifti(folder / "images" / f"c{number}.nii", subject(number)[0], codes=(0, 0))


def shifted(folder):
    for number in range(2):
        nifti(folder / "segmentations" / f"c{number}.nii", subject(number)[1], moved=3.0)


def sheared(folder):
    for number in range(2):
        nifti(folder / "images" / f"c{number}.nii", subject(number)[0], codes=(0, 1), shear=4.0)


def halves(folder):
    for number in range(2):
        nifti(folder / "segmentations" / f"c{number}.nii", subject(number)[1] * np.float32(0.4))


def exchanged(folder):
    (folder / "images").rename(folder / "x")
    (folder / "segmentations").rename(folder / "images")
    (folder / "x").rename(folder / "segmentations")


def exchanged_bytes(folder):
    for path in sorted(folder.glob("images/*")):
        nifti(path, (40 * sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).clip(0).astype("u1"))
    exchanged(folder)


def through_jpeg(folder):
    for path in sorted(folder.glob("segmentations/*")):
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        slices = []
        for ours in 127 * labels:
            stream = BytesIO()
            Image.fromarray(ours.astype(np.uint8)).save(stream, "JPEG", quality=75)
            slices.append(np.asarray(Image.open(stream)))
        nifti(path, np.stack(slices))


def own_reference(folder):
    for kind, name in (("images", "images"), ("segmentations", "labels")):
        for path in (folder / "reference" / name).iterdir():
            path.write_bytes((folder / kind / "c0.nii").read_bytes())
        (folder / kind / "c1.nii").unlink()


def huge(folder):
    for number in range(2):
        path = folder / "images" / f"c{number}.nii"
        content = bytearray(path.read_bytes())
        struct.pack_into("<3h", content, 42, 30000, 30000, 30000)
        path.write_bytes(content)


def huge_array(folder):
    arrays_beside_nifti(folder)
    for number in range(2):
        with (folder / "images" / f"c{number}.npy").open("r+b") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "<f4", "fortran_order": False, "shape": (30000,) * 3}
            )


def out_is_a_file(folder):
    (folder / "out").write_text("")


HELD = []  # a lock that nobody knows any more is released


def another_run(folder):
    (folder / "out").mkdir()
    lock = filelock.FileLock(folder / "out" / running.LOCK)
    lock.acquire()
    HELD.append(lock)


def no_reference_structure(folder):
    relabelled(folder, {}, "reference/labels/*")


def copied(labels, number):
    return labels


def holed(labels, number):
    stream = np.random.default_rng(number)
    return labels * (stream.random(SHAPE) > stream.uniform(0, 0.6)).astype(np.uint8)


def other_numbers(labels, number):
    return (1000 + labels.astype(np.int16)) * (labels > 0)


BAD_INPUTS = [
    ("headerless cases", arrays_beside_nifti, ["c0.npy", "has no header", "save all as NIfTI"]),
    ("headerless references", nifti_beside_arrays, ["c0.nii", "has a header", "save all as NIfT"]),
    ("neither form is given", without_place, ["images/c0.nii", "has no header", "save all as NI"]),
    ("sform elsewhere", shifted, ["c0.nii", "same box", "up to 3 mm apart", "the sform was taken"]),
    ("sheared header", sheared, ["images/c0.nii", "76 degrees off", "resample it to a grid"]),
    ("labels of a wrong slope", halves, ["c0.nii", "such as 0.4", "scl_slope and scl_inter"]),
    ("exchanged folders", exchanged, ["images/c0.nii", "looks like a label map", "exchanged?"]),
    ("exchanged whole numbers", exchanged_bytes, ["c0.nii", "scattered voxels", "exchanged?"]),
    ("masks through JPEG", through_jpeg, ["c0.nii", "scattered voxels", "give the label map as i"]),
    (
        "foreign numbers",
        lambda folder: relabelled(folder, {1: 1001, 2: 1002}),
        ["of c0", "1001, 1002 and the references have 1, 2", "give both the same numbers"],
    ),
    (
        "greys for numbers",
        lambda folder: relabelled(folder, {1: 127, 2: 255}),
        ["of c0", "127, 255 and the references have 1, 2", "give both the same numbers"],
    ),
    (
        "a white mask beside two structures",
        lambda folder: relabelled(folder, {1: 255}),
        ["of c0", "255 and the references have 1, 2", "give both the same numbers"],
    ),
    (
        "its own reference",
        own_reference,
        ["nothing could be predicted", "the reference r1 has the same image"],
    ),
    ("a huge header", huge, ["c0.nii", "30000 x 30000 x 30000 voxels", "cut it to the part"]),
    ("a huge array", huge_array, ["c0.npy", "is not a whole NumPy file", "copy it anew"]),
    ("out is a file", out_is_a_file, ["out=", "File exists", "give another folder"]),
    ("two runs", another_run, ["another run", "out=", "wait for its end or give another folder"]),
    ("empty references", no_reference_structure, ["none of 2 references", "has no structure"]),
    (
        "copied calibration",
        lambda folder: calibration(folder, copied),
        ["calibration=DIR", "real Dice is 1.00 in all 20", "mend them, or leave"],
    ),
    (
        "calibration in other numbers",
        lambda folder: calibration(folder, other_numbers),
        ["calibration", "1001, 1002 and the labels", "have 1, 2", "give both the same numbers"],
    ),
    (
        "calibration of nothing",
        lambda folder: calibration(folder, lambda labels, number: 0 * labels),
        ["calibration=DIR", "real Dice is 0.00 in all 20", "mend them, or leave"],
    ),
]


@bad_inputs.each(BAD_INPUTS)
def test_what_is_wrong_everywhere_ends_in_one_sentence(tmp_path, capsys, row):
    (make,) = row.given
    make(folders(tmp_path))
    code, _ = start(tmp_path)
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert last.startswith("error: ")
    bad_inputs.check(last, row.words)
    assert not (tmp_path / "out").is_dir() or not list((tmp_path / "out").glob("[!.]*"))


BAD_PARAMS = [
    ({"structures": [0]}, ["structures has 0", "at least 1"]),
    ({"structures": ["liver"]}, ["called liver", "none has a name", "give another"]),
    ({"structures": [1.5]}, ["structures[0] is 1.5", "it must be a text"]),
    ({"structures": [7]}, ["structures 7", "they have 1, 2", "give references with the labels"]),
    ({"shrink": [0]}, ["shrink[0] is 0", "at least 1"]),
    ({"largest_voxels": 9}, ["largest_voxels is 9", "at least 1000"]),
]


@pytest.mark.parametrize(("params", "words"), BAD_PARAMS)
def test_params_are_refused_with_their_value(tmp_path, capsys, params, words):
    code, _ = start(folders(tmp_path), params)
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    bad_inputs.check(last, words)


# --- what is read all the same, with a note ---


@pytest.mark.parametrize(
    ("name", "note", "how"),
    [
        ("segmentations", "its qform and sform put voxels up to 15 mm apart", {"flipped": True}),
        ("images", "degrees off right angles", {"codes": (0, 1), "shear": 1e-3}),
        ("segmentations", "labels such as 1.00002 were rounded", {"slope": 1.00002}),
        ("segmentations", "laid on its image voxel by voxel", {"codes": (0, 0)}),
    ],
)
def test_what_can_be_read_is_scored_as_it_should_be_and_told(tmp_path, plain, name, note, how):
    folders(tmp_path)
    array = subject(0)[name == "segmentations"]
    if how.get("flipped"):
        array = np.ascontiguousarray(array[..., ::-1])
    nifti(tmp_path / name / "c0.nii", array, **how)
    code, rows = start(tmp_path)
    assert code == 0
    assert numbers(rows, "c0") == pytest.approx(numbers(plain, "c0"), abs=0.01)
    assert numbers(rows, "c1") == numbers(plain, "c1")
    for row in rows:
        assert (f"{name}/c0.nii" in row["note"] and note in row["note"]) == (row["case"] == "c0")


def test_what_is_wrong_with_a_reference_is_told_on_the_terminal(tmp_path, capsys):
    folders(tmp_path)
    turned = np.ascontiguousarray(subject(10)[1][..., ::-1])
    nifti(tmp_path / "reference/labels/r0.nii", turned, flipped=True)
    assert start(tmp_path)[0] == 0
    assert "warning: reference r0: " in (message := capsys.readouterr().err)
    assert "the sform was taken" in message


def test_a_name_that_is_not_utf_8_is_read(tmp_path, plain):
    folders(tmp_path)
    for kind in ("images", "segmentations"):
        os.rename(tmp_path / kind / "c0.nii", os.fsencode(tmp_path / kind) + b"/M\xfcller.nii")
    code, rows = start(tmp_path)
    assert code == 0
    assert numbers(rows, "M\\udcfcller") == numbers(plain, "c0")


def test_a_white_mask_is_the_only_structure_there_is(tmp_path):
    relabelled(folders(tmp_path), {1: 7, 2: 7}, "reference/labels/*")
    relabelled(tmp_path, {1: 255, 2: 255})
    code, rows = start(tmp_path)
    assert code == 0
    assert [row["structure"] for row in rows] == ["7", "7"]
    assert min(numbers(rows)) > 0.9
    assert "255 is taken as 7" in rows[0]["note"]


def test_references_of_inverted_contrast_are_told(tmp_path, capsys):
    folders(tmp_path)
    for number in range(2):
        nifti(tmp_path / "reference/images" / f"r{number}.nii", subject(10 + number, True)[0])
    code, rows = start(tmp_path)
    assert "the registrations of 2 of 2 cases to all references fail" in capsys.readouterr().err
    assert all("is the contrast another one" in row["note"] for row in rows)
    assert code == 0


# --- what is missing ---


def test_lost_cases_and_references_are_told_at_the_end_and_by_the_exit_code(tmp_path, capsys):
    folders(tmp_path, 3, 3)
    for name in ("images/c1.nii", "reference/images/r0.nii"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:999])
    (tmp_path / "images/lone.nii").write_bytes(b"x")
    (tmp_path / "images/dataset.json").write_text("{}")
    code, rows = start(tmp_path)
    assert code == 1
    *_, first, second, third, last = capsys.readouterr().err.splitlines()
    message = "\n".join((first, second, third))
    for name in ("not used: c1: ", "not used: reference r0: ", "lone.nii has no segmentation"):
        assert name in message
    assert "dataset.json" not in message
    assert "Not used: 2 cases, 1 reference." in last
    assert {row["case"] for row in rows} == {"c0", "c2", "c1", "reference r0", ""}


def test_files_of_other_formats_alone_are_no_loss(tmp_path, capsys):
    folders(tmp_path)
    (tmp_path / "images/readme.txt").write_text("")
    code, rows = start(tmp_path)
    assert code == 0
    assert "readme.txt is left out" in rows[-1]["note"]


def test_a_structure_that_was_asked_for_does_not_vanish(tmp_path, capsys):
    code, rows = start(folders(tmp_path), {"structures": [1, 7]})
    assert code == 1
    assert [row["structure"] for row in rows] == ["1", "7", "1", "7"]
    assert "no reference has it" in rows[1]["note"]
    assert "not predicted: c0, structure 7" in capsys.readouterr().err


def test_cases_in_other_numbers_are_left_out_and_the_others_go_on(tmp_path, plain, capsys):
    folders(tmp_path)
    relabelled(tmp_path, {1: 1001, 2: 1002}, "segmentations/c1*")
    code, rows = start(tmp_path)
    assert code == 1
    assert numbers(rows[:2]) == numbers(plain, "c0")
    assert rows[2]["case"] == "c1"
    assert "1001, 1002 and the references have 1, 2" in rows[2]["note"]
    assert "not used: c1" in capsys.readouterr().err


def test_a_structure_that_may_have_another_number_gets_no_zero(tmp_path, capsys):
    code, rows = start(relabelled(folders(tmp_path), {1: 1, 2: 255}))
    assert code == 1
    by_structure = {row["structure"]: row for row in rows[:3]}
    assert float(by_structure["1"]["raw_score"]) > 0.9
    assert by_structure["2"]["predicted_dice"] == by_structure["255"]["predicted_dice"] == ""
    assert "under a number that no reference has" in by_structure["2"]["note"]
    assert "no segmentation has structure 2, and there are 255" in capsys.readouterr().err


def test_a_structure_that_is_missed_in_one_case_is_still_zero(tmp_path):
    relabelled(folders(tmp_path), {1: 1}, "segmentations/c0*")
    code, rows = start(tmp_path)
    assert code == 0
    assert {row["structure"]: row["predicted_dice"] for row in rows[:2]}["2"] == "0.0000"


def test_what_does_not_fit_into_memory_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    folders(tmp_path)
    scale = cases.blocks.scale

    def small(array, where):
        if "c0" in where:
            raise MemoryError
        return scale(array, where)

    monkeypatch.setattr(cases.blocks, "scale", small)
    code, rows = start(tmp_path)
    assert code == 1
    assert rows[-1]["case"] == "c0"
    assert "c0.nii does not fit into the memory that is free; cut it" in rows[-1]["note"]


def test_a_volume_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 2**19 if "PAGES" in name else 2**10)
    with pytest.raises(UserError, match=r"512 x 512 voxels, which need 1 GiB of this .* cut it"):
        picture.refuse_huge(tmp_path, LARGE)


# --- calibration ---


def test_scores_that_are_high_where_the_real_dice_is_zero_are_no_calibration(tmp_path, capsys):
    """The labels of structure 2 were left out in half of the calibration cases."""
    calibration(folders(tmp_path), holed)
    relabelled(tmp_path, {1: 1}, "calibration/labels/k?.nii")
    code, rows = start(tmp_path)
    message = capsys.readouterr().err
    assert code == 0, message
    assert "structure 2 are raw scores without interval, for the calibration cases" in message
    for row in rows:
        assert bool(row["low"]) == (row["structure"] == "1")
        assert ("where the real Dice is 0.00" in row["note"]) == (row["structure"] == "2")


# --- killed and interrupted ---


def test_scores_and_parts_of_other_runs_are_removed(tmp_path):
    folders(tmp_path)
    start(tmp_path)
    (tmp_path / "out/.predictions.99.part.csv").write_text("half")
    first = {*tmp_path.glob("out/.scores/*")}
    start(tmp_path, {"smoothing": 2.0})
    second = {*tmp_path.glob("out/.scores/*")}
    assert first
    assert second
    assert not first & second
    assert not list(tmp_path.glob("out/*.part.*"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".lock", ".scores", "disagreement", "index.html", "predictions.csv", "predictions.json",
        "predictions.png",
    }  # fmt: skip


@pytest.mark.slow
def test_kills_at_any_moment_end_in_the_same_bytes(tmp_path):
    folders(tmp_path, 3, 3)
    line = [f"{name}={tmp_path / name}" for name in ("images", "segmentations", "reference")]
    line += ["--params", json.dumps({"coverage": 0.5, "affine_iterations": 5})]
    command = [sys.executable, "-m", "pr12.rca.predict", *line]
    environment = os.environ | {"PYTHONPATH": str(address.SRC)}

    def run(out, timeout=None):
        with (tmp_path / "log").open("w") as log:
            return subprocess.run(
                [*command, f"out={out}"], env=environment, stderr=log, timeout=timeout, check=False
            )

    whole = tmp_path / "whole"
    assert run(whole).returncode == 0
    killed, stream = tmp_path / "killed", np.random.default_rng(0)
    for _ in range(10):
        try:
            run(killed, timeout=stream.uniform(0.5, 5))  # its end is SIGKILL
        except subprocess.TimeoutExpired:
            continue
    assert run(killed).returncode == 0
    for name in ("predictions.csv", "predictions.json", "predictions.png", "index.html"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
