import itertools
import json
import os
import shutil
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

import rca_chain
from pr12.data import volumes
from pr12.rca import scans
from pr12.rca.data import hippocampus, phantom, scan_files
from pr12.rca.data.scan_files import SPLITS
from pr12.workflow import address, files

PHANTOM = scans.Params("phantom", (0, 3), 3, 2, 4, 5, 32, 1.0)
SIZES = {"train": 3, "reference": 2, "calibration": 4, "test": 5}
HIPPOCAMPUS = {"source": "hippocampus", "seeds": [0, 1], **SIZES} | {
    "phantom_size": 32,
    "phantom_variation": 1.0,
}


def read(folder):
    return {split: scan_files.read_scans(path) for split, path in rca_chain.splits(folder).items()}


# --- generated subjects ---


def test_every_split_of_every_seed_has_its_own_subjects():
    splits = scans.phantom_splits(PHANTOM)
    assert list(splits) == list(SPLITS)
    seen = []
    for split, (structures, by_seed) in splits.items():
        assert structures == phantom.STRUCTURES
        assert list(by_seed) == [0, 3]
        for ours in by_seed.values():
            assert [scan.name for scan in ours] == [f"{split}-{i}" for i in range(SIZES[split])]
            seen += [scan.image.tobytes() for scan in ours]
    assert len(seen) == 2 * sum(SIZES.values())
    assert len(set(seen)) == len(seen)  # no subject twice: not between splits, nor between seeds


def test_a_subject_does_not_depend_on_how_many_others_there_are():
    few = scans.phantom_splits(scans.Params("phantom", (3,), 1, 1, 1, 1, 32, 1.0))
    many = scans.phantom_splits(PHANTOM)
    for split in SPLITS:
        np.testing.assert_array_equal(
            few[split].by_seed[3][0].image, many[split].by_seed[3][0].image
        )


def test_size_and_variation_reach_the_slices():
    wide = scans.phantom_splits(scans.Params("phantom", (0,), 2, 1, 1, 1, 40, 0.0))
    assert wide["train"].by_seed[0][0].image.shape == (40, 40)
    labels = [ours.by_seed[0][0].labels for ours in wide.values()]
    assert all(np.array_equal(ours, labels[0]) for ours in labels)


# --- the hippocampus set ---


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Thirty small subjects; each image says by its pattern whose it is."""
    folder = tmp_path_factory.mktemp("hippocampus")
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    for index in range(30):
        image = np.random.default_rng(index).uniform(0, 1000, (5, 6, 7)).astype(np.float32)
        labels = np.zeros(image.shape, np.uint8)
        labels[1:3, 1:4, 1:3], labels[1:3, 1:4, 3:5] = 1, 2
        for part, array in (("imagesTr", image), ("labelsTr", labels)):
            written = sitk.GetImageFromArray(array)
            sitk.WriteImage(written, str(folder / part / f"hippocampus_{index:03d}.nii.gz"))
    subjects = tuple(f"hippocampus_{index:03d}" for index in range(30))
    with mock.patch.object(volumes, "SUBJECTS", subjects):
        record = {part: volumes.folder_checksum(folder / part) for part in ("imagesTr", "labelsTr")}
        files.write_json(folder / "verified.json", record)
        yield folder


def real(raw):
    return {"verified": raw / "verified.json", "folder": raw}


def test_subjects_are_dealt_out_and_none_is_in_two_splits_of_a_seed(tmp_path, raw):
    rca_chain.run("scans", HIPPOCAMPUS, **real(raw), **rca_chain.splits(tmp_path))
    splits = read(tmp_path)
    images = {name: image for name, image, _ in hippocampus.read_hippocampus(raw)}
    for seed in (0, 1):
        names = {s: [scan.name for scan in ours.by_seed[seed]] for s, ours in splits.items()}
        assert {split: len(ours) for split, ours in names.items()} == SIZES
        every = list(itertools.chain.from_iterable(names.values()))
        assert len(set(every)) == len(every)
        dealt = hippocampus.deal(sorted(images), **SIZES, seed=seed)
        assert names == dealt  # in the order in which they were drawn
    first, second = ({scan.name for scan in splits["test"].by_seed[seed]} for seed in (0, 1))
    assert not first & second
    for structures, by_seed in splits.values():
        assert structures == hippocampus.STRUCTURES
        for scan in itertools.chain.from_iterable(by_seed.values()):
            assert np.abs(scan.image - images[scan.name]).max() <= 1 / 4096
            assert set(np.unique(scan.labels)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": 22}, "there are 30 subjects; train, reference, calibration and test ask 31"),
        ({"seeds": [0, 6]}, "enough for test sets of 5 of the seeds 0 to 5; seed 6 has none"),
        ({"source": "phantom", "train": 0}, "--params.train is 0; it must be a number of at"),
    ],
)
def test_subjects_that_there_are_not_cannot_be_dealt_out(tmp_path, capsys, raw, change, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("scans", HIPPOCAMPUS | change, **real(raw), **rca_chain.splits(tmp_path))
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_is_no_json_is_told(tmp_path, capsys, raw):
    (tmp_path / "verified.json").write_text("{")
    given = real(raw) | {"verified": tmp_path / "verified.json"}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("scans", HIPPOCAMPUS, **given, **rca_chain.splits(tmp_path / "made"))
    assert "verified.json is not JSON" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "made").exists()


def test_a_volume_that_was_exchanged_is_refused(tmp_path, capsys, raw):
    folder = shutil.copytree(raw, tmp_path / "raw")
    labels = folder / "labelsTr"
    shutil.copyfile(labels / "hippocampus_003.nii.gz", labels / "hippocampus_004.nii.gz")
    image = sitk.ReadImage(str(labels / "hippocampus_003.nii.gz"))
    image[2, 2, 2] = 2
    sitk.WriteImage(image, str(labels / "hippocampus_003.nii.gz"))
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("scans", HIPPOCAMPUS, **real(folder), **rca_chain.splits(tmp_path / "made"))
    last = capsys.readouterr().err.splitlines()[-1]
    for words in ("labelsTr is not what was fetched", "wrong checksum", "fetched anew"):
        assert words in last
    assert not (tmp_path / "made").exists()


# --- the step ---


@pytest.mark.slow
def test_from_the_command_line_the_same_bytes_each_time(tmp_path):
    paths = rca_chain.splits(tmp_path)
    given = [f"{name}={path}" for name, path in paths.items()]
    done = subprocess.run(
        [sys.executable, "-m", "pr12.rca.scans", "--params", json.dumps(rca_chain.SCANS), *given],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 0, done.stderr
    assert "test: 6 scans of 2 seeds" in done.stderr.splitlines()
    for name, path in rca_chain.splits(rca_chain.chain()).items():
        assert path.read_bytes() == paths[name].read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "hippocampus"}, "hippocampus is read from files: add verified=PATH and "),
        ({"source": "liver"}, 'source is "liver"; it must be one of phantom, hippocampus'),
        ({"seeds": []}, "seeds is []; it must be a list with at least one element"),
        ({"seeds": [0.5]}, "seeds[0] is 0.5; it must be a whole number"),
        ({"train": 0}, "train is 0; it must be a number of at least 1"),
        ({"reference": 0}, "reference is 0; it must be a number of at least 1"),
        ({"calibration": 0}, "calibration is 0; it must be a number of at least 1"),
        ({"test": 0}, "test is 0; it must be a number of at least 1"),
        ({"phantom_size": 31}, "phantom_size is 31; it must be a number of at least 32"),
        ({"phantom_variation": 2.5}, "phantom_variation is 2.5; it must be a number from 0 to 2"),
        ({"scale": 1}, "scale is unknown; allowed here: calibration, phantom_size"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("scans", rca_chain.SCANS | change, **rca_chain.splits(tmp_path))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def test_all_four_splits_must_have_a_path(tmp_path, capsys):
    paths = rca_chain.splits(tmp_path, "train", "reference", "test")
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("scans", rca_chain.SCANS, **paths)
    assert "the path calibration is missing; add calibration=PATH" in capsys.readouterr().err
