"""Folders as people have them: nnU-Net, TotalSegmentator, DICOM; and the names of structures."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

import bad_inputs
from pr12.rca.predict import __main__ as predict
from pr12.rca.predict import folders, page, plot, running
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict.reading import dicom, files, layouts, names
from pr12.rca.predict.settings import Settings
from pr12.workflow import step
from pr12.workflow.errors import UserError

QUICK = {"affine_iterations": 0, "deformable_iterations": 0}
SHAPE = (12, 18, 16)
ORGANS = {1: "spleen", 2: "liver"}
DATA_SET = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "outer": 1, "inner": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(plot, "plot", lambda summary: b"")
    monkeypatch.setattr(page, "overlay", lambda view: b"")


def subject(number):
    """Return image and labels of two structures, one half of an ellipsoid each, off the centre."""
    z, y, x = np.indices(SHAPE)
    inside = ((z - 5) / 4) ** 2 + ((y - 7) / 5) ** 2 + ((x - 9) / 5) ** 2 < 1
    labels = inside.astype(np.uint8) + (inside & (x > 8))
    noise = np.random.default_rng(number).normal(0, 0.1, SHAPE)
    return (labels + 0.1 * y + noise).astype(np.float32), labels


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.0))
    sitk.WriteImage(image, str(path))
    return path


def write_series(folder, array, step=(0.0, 0.0, 2.0), left_out=(), uid="1.2.3"):
    """Write a DICOM series; the slices of 1 x 1.5 mm lie a step from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, pixels in enumerate(array):
        if index in left_out:
            continue
        image = sitk.GetImageFromArray(pixels.astype(np.int16)[None])
        image.SetSpacing((1.0, 1.5, 2.0))
        place = [index * part for part in step]
        image.SetOrigin(place)
        for key, value in {
            "0008|0060": "CT", "0020|000d": "1.2", "0020|000e": uid, "0008|0018": f"{uid}.{index}",
            dicom.POSITION: "\\".join(map(str, place)), dicom.ORIENTATION: "1\\0\\0\\0\\1\\0",
            "0020|0013": str(index), "0028|1052": "-1024", "0028|1053": "1",
        }.items():  # fmt: skip
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{index:03d}.dcm"))
        writer.Execute(image)
    return folder


def plain(root, image="nii.gz", labels="nii.gz", cases=2):
    """Write folders whose files are paired by name."""
    for folder, other, stem, first in (
        ("images", "segmentations", "c", 0),
        ("reference/images", "reference/labels", "r", 10),
    ):
        for number in range(cases):
            pixels, drawn = subject(first + number)
            put(root / folder / f"{stem}{number}.{image}", pixels)
            put(root / other / f"{stem}{number}.{labels}", drawn)
    return root


def as_nnunet(root):
    """Rename as nnU-Net does; of two channels the second is of no use."""
    (root / "reference/images").rename(root / "reference/imagesTr")
    (root / "reference/labels").rename(root / "reference/labelsTr")
    (root / "images").rename(root / "imagesTs")
    for path in [*root.glob("reference/imagesTr/*"), *root.glob("imagesTs/*")]:
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
        put(path.with_name(path.name.replace(".nii.gz", "_0001.nii.gz")), np.zeros(SHAPE, "f4"))
    (root / "reference/dataset.json").write_text(json.dumps(DATA_SET))
    for name in ("plans.json", "c0.npz", "c0.pkl", "predict_from_raw_data_args.json"):
        (root / "segmentations" / name).write_text("{}")
    return root


def in_organs(folder, table=None, inner=""):
    """Write a folder for each label map, with a mask for each organ."""
    for path in sorted(folder.glob("*.nii.gz")):
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for number, organ in (table or ORGANS).items():
            case = folder / path.name.partition(".")[0]
            put(case / inner / f"{organ}.nii.gz", (labels == number).astype(np.uint8))
        path.unlink()


def read(root, wanted=None, **paths):
    """Find, read and number all files; return cases, structures and what is unused."""
    images = root / ("imagesTs" if (root / "imagesTs").is_dir() else "images")
    given = {"images": images} | {n: root / n for n in ("reference", "segmentations")}
    found, lost = folders.find(given | paths)
    cases, unread = folders.read(found, 10**6)
    numbered, structures, unused = predict_structures.numbered_alike(cases, wanted)
    structures = predict_structures.titles(structures, numbered["reference"][0].names)
    return numbered, structures, [*lost, *unread, *unused]


def maps(cases, kind="case"):
    return {case.name: case.labels for case in cases[kind]}


def start(root, params=None, **paths):
    """Run; return the exit code and the rows of the table."""
    given = {"images": root / "images", "segmentations": root / "segmentations"} | {
        "reference": root / "reference",
        "out": root / "out",
    }
    line = [f"{name}={path}" for name, path in (given | paths).items()]
    line += ["--params", json.dumps(QUICK | (params or {}))]
    with step.start(
        Settings,
        reads=["images", "segmentations", "reference"],
        optional=["calibration"],
        writes=["out"],
        arguments=running.with_defaults(line),
    ) as job:
        code = predict.main(job)
    with (root / "out/predictions.csv").open(encoding="utf-8") as stream:
        return code, list(csv.DictReader(stream))


# --- nnU-Net ---


def test_nnunets_folders_are_read_with_the_names_of_its_data_set(tmp_path):
    expected, _, _ = read(plain(tmp_path / "plain"))
    cases, structures, unused = read(as_nnunet(plain(tmp_path)))
    assert structures == ("outer", "inner")
    assert unused == []
    for kind in ("case", "reference"):
        assert maps(cases, kind).keys() == maps(expected, kind).keys()
        for case, other in zip(cases[kind], expected[kind], strict=True):
            assert np.array_equal(case.labels, other.labels)
            assert np.array_equal(case.image, other.image)
    note = "the first of its 2 channels was taken, c0_0000.nii.gz"
    assert note in cases["case"][0].notes


def test_names_are_in_the_table_and_on_the_page(tmp_path, capsys):
    as_nnunet(plain(tmp_path))
    code, rows = start(tmp_path, images=tmp_path / "imagesTs")
    assert code == 0
    assert {row["structure"] for row in rows} == {"outer", "inner"}
    assert min(float(row["raw_score"]) for row in rows) > 0.9
    shown = (tmp_path / "out/index.html").read_text()
    assert re.search(r"</span>\s*outer\s*</td>", shown)
    message = capsys.readouterr().err
    assert "structure inner, outer are raw scores" in message
    assert "channels" not in message  # it is in the table, not once a case on the terminal


@pytest.mark.parametrize("wanted", [["inner"], ["Inner"], [2], ["2"]])
def test_structures_are_asked_for_by_name_or_number(tmp_path, wanted):
    as_nnunet(plain(tmp_path))
    code, rows = start(tmp_path, {"structures": wanted}, images=tmp_path / "imagesTs")
    assert code == 0
    assert [row["structure"] for row in rows] == ["inner", "inner"]


def test_a_plain_name_that_looks_like_a_channel_is_a_plain_name(tmp_path):
    root = plain(tmp_path)
    for path in [*root.glob("images/*"), *root.glob("segmentations/*")]:
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    cases, _, unused = read(root)
    assert list(maps(cases)) == ["c0_0000", "c1_0000"]
    assert unused == []


def test_an_image_without_its_first_channel_is_told(tmp_path):
    root = as_nnunet(plain(tmp_path))
    (root / "imagesTs/c0_0000.nii.gz").unlink()
    pairs, unpaired, _ = layouts.pair_files(root / "imagesTs", root / "segmentations", "map")
    assert pairs[0].image.name == "c0_0001.nii.gz"
    (root / "segmentations/c1.nii.gz").unlink()
    pairs, unpaired, _ = layouts.pair_files(root / "imagesTs", root / "segmentations", "map")
    assert "c1_0000.nii.gz has no map in" in unpaired[0]


def test_the_ending_of_the_data_set_decides_between_files_of_one_case(tmp_path):
    root = as_nnunet(plain(tmp_path))
    put(root / "reference/labelsTr/r0.nrrd", subject(10)[1])
    cases, _, unused = read(root)
    assert list(maps(cases, "reference")) == ["r0", "r1"]
    assert unused == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "liver": 1, "ignore": 2}, {1: "liver", 2: "ignore"}),
        ({"0": "background", "1": "liver", "2": "tumour"}, {1: "liver", 2: "tumour"}),
        ({"background": 0, "whole": [1, 2], "liver\n tumour": 2}, {2: "liver tumour"}),
    ],
)
def test_labels_of_every_kind_of_data_set_are_names(tmp_path, labels, expected):
    (tmp_path / names.FILE).write_text(json.dumps({"labels": labels}))
    assert names.data_set([tmp_path / "none", tmp_path]).names == expected


@pytest.mark.parametrize("text", ["{", "[1]", '{"labels": [1]}', "\xff", ""])
def test_a_data_set_that_cannot_be_read_is_told_and_numbers_are_left(tmp_path, text):
    root = as_nnunet(plain(tmp_path))
    (root / "reference/dataset.json").write_bytes(text.encode("latin-1"))
    _, structures, unused = read(root)
    assert structures == (1, 2)
    assert unused[0].kind == ""
    bad_inputs.check(unused[0].note, ["dataset.json", "no JSON object with labels", "write it"])


def test_the_label_ignore_is_background(tmp_path):
    root = as_nnunet(plain(tmp_path))
    labels = {"background": 0, "outer": 1, "ignore": 2}
    (root / "reference/dataset.json").write_text(json.dumps(DATA_SET | {"labels": labels}))
    (root / "segmentations/dataset.json").write_text(json.dumps(DATA_SET | {"labels": labels}))
    cases, structures, _ = read(root)
    assert structures == ("outer",)
    assert cases["reference"][0].labels.max() == 1
    assert any("its label ignore is taken as background" in n for n in cases["case"][0].notes)


# --- TotalSegmentator ---


def test_a_folder_for_each_case_with_a_file_for_each_organ(tmp_path):
    expected, _, _ = read(plain(tmp_path / "plain"))
    root = plain(tmp_path)
    in_organs(root / "segmentations")
    in_organs(root / "reference/labels")
    cases, structures, unused = read(root)
    assert structures == ("liver", "spleen")
    assert unused == []
    for case, other in zip(cases["case"], expected["case"], strict=True):
        for number, organ in ORGANS.items():
            ours = structures.index(organ) + 1
            assert np.array_equal(case.labels == ours, other.labels == number)


def test_totalsegmentators_data_set_is_a_reference_and_cases(tmp_path):
    root = tmp_path
    for place, first in (("reference", 10), ("cases", 0)):
        for number in range(2):
            pixels, drawn = subject(first + number)
            put(root / place / f"s{number}/ct.nii.gz", pixels)
            put(root / place / f"s{number}.nii.gz", drawn)
        in_organs(root / place, inner=layouts.ORGANS)
    cases, structures, _ = read(root, images=root / "cases", segmentations=root / "cases")
    assert structures == ("liver", "spleen")
    assert list(maps(cases)) == ["s0", "s1"]
    assert cases["case"][0].labels.max() == 2


def test_organs_and_a_data_set_meet_by_their_names(tmp_path):
    root = as_nnunet(plain(tmp_path))
    in_organs(root / "segmentations", {1: "Outer", 2: "inner", 3: "absent"})
    cases, structures, _ = read(root)
    assert structures == ("outer", "inner")
    assert np.array_equal(maps(cases)["c0"], subject(0)[1])


def test_names_without_numbers_beside_numbers_without_names_are_refused(tmp_path):
    root = plain(tmp_path)
    in_organs(root / "segmentations")
    with pytest.raises(UserError) as caught:
        read(root)
    words = ["of c0", "liver, spleen and the references have 1, 2", "give both the same names"]
    bad_inputs.check(str(caught.value), words)


def test_the_only_organ_is_the_references_only_structure(tmp_path):
    root = plain(tmp_path)
    in_organs(root / "segmentations", {2: "liver"})
    for path in root.glob("reference/labels/*"):
        put(path, (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == 2).astype(np.uint8))
    cases, structures, _ = read(root)
    assert structures == ("liver",)
    assert np.array_equal(maps(cases)["c0"], subject(0)[1] == 2)


def test_a_lone_file_of_several_labels_in_a_folder_is_the_label_map(tmp_path):
    root = plain(tmp_path)
    for path in sorted(root.glob("segmentations/*")):
        put(path.with_name(path.name[:2]) / "segmentation.nii.gz", subject(int(path.name[1]))[1])
        path.unlink()
    cases, structures, _ = read(root)
    assert structures == (1, 2)
    assert np.array_equal(maps(cases)["c0"], subject(0)[1])


def no_mask(folder):
    put(folder / "liver.nii.gz", subject(0)[1])


def other_grid(folder):
    put(folder / "liver.nii.gz", subject(0)[1][:-1] // 2)


def many_organs(folder):
    for number in range(files.MOST_STRUCTURES):
        shutil.copy(folder / "liver.nii.gz", folder / f"organ{number}.nii.gz")


BAD_ORGANS = [
    ("a label map among masks", no_mask, ["liver.nii.gz", "the labels 1 and 2", "the mask of one"]),
    ("two grids", other_grid, ["spleen.nii.gz", "another grid than", "write both on one grid"]),
    ("too many", many_organs, ["c0", "has 257 files and may have 255", "one for each"]),
]


@bad_inputs.each(BAD_ORGANS)
def test_a_folder_of_organs_that_cannot_be_a_label_map_is_told(tmp_path, row):
    root = plain(tmp_path)
    in_organs(root / "segmentations")
    in_organs(root / "reference/labels")
    row.given[0](root / "segmentations/c0")
    cases, _, unused = read(root)
    assert list(maps(cases)) == ["c1"]
    assert [lost.case for lost in unused] == ["c0"]
    bad_inputs.check(unused[0].note, row.words)


def test_voxels_in_two_organs_are_told(tmp_path):
    root = plain(tmp_path)
    in_organs(root / "segmentations")
    in_organs(root / "reference/labels")
    put(root / "segmentations/c0/spleen.nii.gz", (subject(0)[1] > 0).astype(np.uint8))
    cases, _, _ = read(root)
    both = np.count_nonzero(subject(0)[1] == 2)
    assert f"{both} voxels are in two of its organs" in " ".join(cases["case"][0].notes)


def test_a_folder_beside_files_is_no_loss_and_a_case_without_image_is_one(tmp_path):
    root = plain(tmp_path)
    put(root / "segmentations/postprocessed/x.nii.gz", subject(0)[1])
    _, _, unused = read(root)
    assert [lost.kind for lost in unused] == [""]
    assert "postprocessed has no image" in unused[0].note
    (root / "segmentations/c0").mkdir()
    (root / "segmentations/c0.nii.gz").rename(root / "segmentations/c0/all.nii.gz")
    _, _, unused = read(root)
    assert [lost.kind for lost in unused] == ["case"]


# --- names and numbers ---


def with_names(root, kind, labels):
    (root / kind / names.FILE).write_text(json.dumps({"labels": labels}))


def test_equal_names_are_equal_structures_whatever_their_numbers(tmp_path):
    root = plain(tmp_path)
    with_names(root, "reference", {"background": 0, "outer": 1, "inner": 2})
    with_names(root, "segmentations", {"background": 0, "Inner": 1, "outer": 2})
    cases, structures, _ = read(root)
    assert structures == ("outer", "inner")
    drawn = subject(0)[1]
    assert np.array_equal(maps(cases)["c0"], np.choose(drawn, [0, 2, 1]))


def test_another_name_under_a_number_that_is_taken_is_another_structure(tmp_path):
    root = plain(tmp_path)
    with_names(root, "reference", {"outer": 1, "inner": 2})
    with_names(root, "segmentations", {"outer": 1, "kidney": 2})
    cases, structures, _ = read(root)
    assert structures == ("outer", "inner", "kidney")
    assert np.array_equal(maps(cases)["c0"], np.choose(subject(0)[1], [0, 1, 3]))
    assert cases["case"][0].foreign == ("kidney",)


def test_no_name_in_common_is_refused_with_both(tmp_path):
    root = plain(tmp_path)
    with_names(root, "reference", {"outer": 1, "inner": 2})
    with_names(root, "segmentations", {"kidney": 1, "heart": 2})
    with pytest.raises(UserError) as caught:
        read(root)
    words = ["heart, kidney and the references have inner, outer", "no name is in both"]
    bad_inputs.check(str(caught.value), words)


@pytest.mark.parametrize("kind", ["reference", "segmentations"])
def test_names_of_one_side_are_those_of_the_numbers(tmp_path, kind):
    root = plain(tmp_path)
    with_names(root, kind, {"outer": 1, "inner": 2})
    _, structures, _ = read(root)
    assert structures == ("outer", "inner")


def test_slicers_segments_meet_by_their_names(tmp_path):
    root = plain(tmp_path)
    with_names(root, "reference", {"outer": 1, "inner": 2})
    for path in sorted(root.glob("segmentations/*.nii.gz")):
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        image = sitk.GetImageFromArray(np.choose(labels, [0, 2, 1]).astype(np.uint8))
        image.SetSpacing((1.0, 1.5, 2.0))
        for index, name in enumerate(["inner", "outer"]):
            image.SetMetaData(f"Segment{index}_LabelValue", str(index + 1))
            image.SetMetaData(f"Segment{index}_Name", name)
        sitk.WriteImage(image, str(path).replace(".nii.gz", ".seg.nrrd"))
        path.unlink()
    cases, structures, _ = read(root)
    assert structures == ("outer", "inner")
    assert np.array_equal(maps(cases)["c0"], subject(0)[1])


def test_truth_and_segmentation_of_calibration_meet_by_their_names(tmp_path):
    root = plain(tmp_path)
    with_names(root, "reference", {"spleen": 1, "liver": 2})
    for number in range(2):
        pixels, drawn = subject(30 + number)
        put(root / f"calibration/images/k{number}_0000.nii.gz", pixels)
        put(root / f"calibration/segmentations/k{number}.nii.gz", np.roll(drawn, 1, 1))
        put(root / f"calibration/labels/k{number}.nii.gz", drawn)
    in_organs(root / "calibration/labels")
    with_names(root, "calibration", {"spleen": 1, "liver": 2})
    cases, structures, _ = read(root, calibration=root / "calibration")
    drawn = subject(30)[1]
    for number in (1, 2):
        moved, truth = np.roll(drawn, 1, 1) == number, drawn == number
        expected = 2 * (moved & truth).sum() / (moved.sum() + truth.sum())
        assert cases["calibration"][0].real[number] == pytest.approx(expected)
    assert structures == ("spleen", "liver")


# --- formats and DICOM ---


@pytest.mark.parametrize("kinds", [("nrrd", "mha"), ("mhd", "nii"), ("nii.gz", "seg.nrrd")])
def test_formats_are_mixed_and_score_alike(tmp_path, kinds):
    expected, _, _ = read(plain(tmp_path / "plain"))
    cases, structures, unused = read(plain(tmp_path, *kinds))
    assert structures == (1, 2)
    assert unused == []
    for case, other in zip(cases["case"], expected["case"], strict=True):
        assert np.array_equal(case.labels, other.labels)
        assert np.array_equal(case.image, other.image)
        assert case.content == other.content
        assert case.placed


def test_a_dicom_series_is_read_as_the_same_nifti_file(tmp_path):
    root = plain(tmp_path)
    pixels = (1000 * subject(0)[0]).astype(np.int16)
    path = put(root / "images/c0.nii.gz", pixels)
    expected, _, _ = read(root)
    path.unlink()
    write_series(root / "images/c0", pixels)
    cases, _, unused = read(root)
    assert unused == []
    assert np.array_equal(cases["case"][0].image, expected["case"][0].image)
    assert np.array_equal(maps(cases)["c0"], maps(expected)["c0"])
    assert cases["case"][0].spacing == pytest.approx((2.0, 1.5, 1.0))


def test_slices_of_any_names_and_order_are_a_series(tmp_path):
    pixels = (1000 * subject(0)[0]).astype(np.int16)
    folder = write_series(tmp_path / "series", pixels)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"IM{99 - int(path.stem)}")  # without a suffix, the last first
    assert np.array_equal(files.read_image(folder).array, pixels)


def test_a_tilted_gantry_is_a_sheared_volume(tmp_path):
    folder = write_series(tmp_path / "series", 1000 * subject(0)[0], step=(0.0, 0.5, 2.0))
    picture = files.read_image(folder)
    assert picture.spacing == pytest.approx((4.25**0.5, 1.5, 1.0))
    assert np.reshape(picture.direction, (3, 3))[:, 2] == pytest.approx(
        np.array([0, 0.5, 2]) / 4.25**0.5
    )


def truncated(folder):
    path = write_series(folder, subject(0)[0]) / "005.dcm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def two_series(folder):
    write_series(folder, subject(0)[0])
    other = write_series(folder.parent.parent / "other", subject(1)[0], uid="1.9")
    for path in other.iterdir():
        path.rename(folder / f"x{path.name}")


def no_dicom(folder):
    folder.mkdir()
    (folder / "a.dcm").write_bytes(b"nothing")


def not_unicode(folder):
    path = write_series(folder, subject(0)[0]) / "005.dcm"
    os.rename(path, os.fsencode(folder) + b"/\xff.dcm")


BAD_SERIES = [
    ("a file that ends too early", truncated, ["005.dcm", "not a whole DICOM file", "anew"]),
    (
        "a slice is missing",
        lambda folder: write_series(folder, subject(0)[0], left_out=(5,)),
        ["c0", "2 to 4 mm apart", "give a series of even spacing"],
    ),
    ("two series", two_series, ["c0", "2 DICOM series", "leave one per folder"]),
    ("no DICOM", no_dicom, ["a.dcm", "not a whole DICOM file", "anew"]),
    ("a name", not_unicode, ["c0", "not UTF-8", "rename it"]),
]


@bad_inputs.each(BAD_SERIES)
def test_a_series_that_is_none_is_told_and_the_others_go_on(tmp_path, row):
    root = plain(tmp_path)
    (root / "images/c0.nii.gz").unlink()
    row.given[0](root / "images/c0")
    cases, _, unused = read(root)
    assert list(maps(cases)) == ["c1"]
    bad_inputs.check(unused[0].note, row.words)


def test_dicom_files_without_a_folder_of_their_case_are_told(tmp_path):
    root = plain(tmp_path)
    shutil.rmtree(root / "images")
    write_series(root / "images", subject(0)[0])
    with pytest.raises(UserError, match="a DICOM series needs a folder of its case's name"):
        read(root)


# --- what is no layout ---


def test_a_reference_of_no_known_layout_is_one_sentence(tmp_path):
    root = plain(tmp_path)
    (root / "reference/images").rename(root / "reference/scans")
    with pytest.raises(UserError) as caught:
        read(root)
    bad_inputs.check(str(caught.value), ["reference", "neither the folders images and labels"])
