import os

import numpy as np
import pytest

import rca_chain
from pr12.core import parallel
from pr12.rca import register
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import registration
from pr12.rca.model.registration import Effort
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

SPLITS = ("calibration", "test", "train")  # what multi-atlas segmentation reads


def paths(to, source=None, names=SPLITS):
    return rca_chain.splits(source or rca_chain.chain(), *names) | {"correspondences": to}


def whole(name="multi_atlas"):
    return rca_chain.chain() / name / "correspondences"


# --- efforts and one scan ---


def params(**change):
    values = rca_chain.MULTI_ATLAS | change
    return register.Params(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    )


def test_each_effort_has_its_own_iterations_and_shares_the_rest():
    actual = register.efforts(
        params(affine_iterations=[0, 5], deformable_iterations=[3, 0], shrink=[4, 2], smoothing=1.5)
    )
    assert actual == [Effort(0, (4, 2), 3, 1.5), Effort(5, (4, 2), 0, 1.5)]


@pytest.mark.parametrize(("affine", "deformable"), [([1], [0, 5]), ([1, 2, 3], [0, 5])])
def test_efforts_of_two_lengths_are_refused(affine, deformable):
    values = rca_chain.MULTI_ATLAS
    values = values | {"affine_iterations": affine, "deformable_iterations": deformable}
    with pytest.raises(UserError) as caught:
        make(register.Params, values, "rca.register")
    assert str(caught.value) == (
        f"rca.register.deformable_iterations is {deformable}; it must be {len(affine)} numbers, as "
        "affine_iterations has"
    )


def test_a_scan_is_registered_with_every_atlas_and_every_effort():
    stream = np.random.default_rng(0)
    fixed, *moving = (
        Scan(name, stream.random((20, 20), np.float32), np.zeros((20, 20), np.uint8))
        for name in ("f", "a", "b")
    )
    searches = [Effort(0, (1,), 0, 1.0), Effort(3, (2,), 4, 1.0)]
    actual = register.registered(fixed, moving, searches)
    assert list(actual) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    for (name, number), computed in actual.items():
        atlas = moving["ab".index(name)]
        expected = registration.correspondence(fixed.image, atlas.image, searches[number])
        np.testing.assert_array_equal(computed, expected)


# --- the step ---


def test_every_fixed_scan_meets_the_first_moving_ones_of_its_seed():
    actual = scan_files.read_correspondences(whole())
    splits = {
        name: scan_files.read_scans(path).by_seed
        for name, path in rca_chain.splits(rca_chain.chain()).items()
    }
    assert sorted(actual) == sorted(
        (seed, split, scan.name)
        for split in ("calibration", "test")
        for seed, computed in splits[split].items()
        for scan in computed
    )
    searches = register.efforts(params())
    for (seed, split, name), computed in actual.items():
        assert sorted(computed) == [("train", f"train-{i}", e) for i in range(2) for e in range(2)]
        fixed = next(scan for scan in splits[split][seed] if scan.name == name)
        for (_, atlas, effort), array in computed.items():
            moving = next(scan for scan in splits["train"][seed] if scan.name == atlas)
            assert array.dtype == np.uint16
            np.testing.assert_array_equal(
                array, registration.correspondence(fixed.image, moving.image, searches[effort])
            )


def test_several_splits_may_move_and_nothing_is_left_beside_the_output():
    actual = scan_files.read_correspondences(whole("atlas"))
    assert {fixed[1] for fixed in actual} == {"reference"}
    for computed in actual.values():
        assert sorted({moving[0] for moving in computed}) == ["calibration", "test"]
        assert len(computed) == 4 + 3
    assert [path.name for path in whole("atlas").parent.glob("*corr*")] == ["correspondences"]
    assert not list(whole("atlas").parent.glob("resume*"))


@pytest.mark.slow
def test_several_processes_give_the_same_bytes(tmp_path, monkeypatch):
    """As the command line does where several cores are granted; the function travels to them."""
    fixed = Scan("f", np.eye(16, dtype=np.float32), np.zeros((16, 16), np.uint8))
    work = [(fixed, [fixed._replace(name=name)], [Effort(2, (1,), 2, 1.0)]) for name in "abc"]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    many = list(parallel.spread(register.registered, work))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = list(parallel.spread(register.registered, work))
    assert (
        [list(computed) for computed in many]
        == [list(computed) for computed in one]
        == [[(n, 0)] for n in "abc"]
    )
    for ours, theirs in zip(many, one, strict=True):
        for key, array in ours.items():
            assert array.tobytes() == theirs[key].tobytes()
    # and a mistake in one of them is still one sentence
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(UserError, match="holds no scans"):
        list(parallel.spread(scan_files.read_scans, [(whole(),)]))


@pytest.mark.parametrize(
    ("granted", "expected"),
    [("3", 3), ("1", 1), ("0", 1), ("", None), ("2,1", None), ("-1", None), ("many", None)],
)
def test_as_many_processes_work_as_are_granted(monkeypatch, granted, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", granted)
    assert parallel.workers() == (expected or len(os.sched_getaffinity(0)))


def test_without_a_grant_every_core_works(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert parallel.workers() == len(os.sched_getaffinity(0))


# --- a killed run ---


class Killed:
    """Stand for `correspondence`: count the calls, and be interrupted at one of them."""

    def __init__(self, monkeypatch, at=None):
        self.calls, self.at = 0, at
        self.real = registration.correspondence
        monkeypatch.setattr(registration, "correspondence", self)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.real(*arguments)


def interrupted(tmp_path, monkeypatch, at, **change):
    """Run until the given registration; give the output's path and the folder of parts."""
    to = tmp_path / "correspondences"
    with monkeypatch.context() as patch:
        Killed(patch, at)
        with pytest.raises(SystemExit, match="130"):
            rca_chain.run("register", rca_chain.MULTI_ATLAS | change, **paths(to))
    assert not to.exists()
    (folder,) = tmp_path.glob("resume_*")
    return to, folder


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(
    tmp_path, monkeypatch, capsys
):
    to, folder = interrupted(tmp_path, monkeypatch, at=4 * 5 + 2)  # in the sixth scan of 14
    parts = sorted(path.name for path in folder.iterdir())
    assert parts == [f"{index}.safetensors" for index in range(5)]
    (folder / ".5.123.part.safetensors").write_bytes(b"what a kill leaves of a part")
    capsys.readouterr()
    counter = Killed(monkeypatch)
    rca_chain.run("register", rca_chain.MULTI_ATLAS, **paths(to))
    assert counter.calls == 4 * (14 - 5)  # the missing ones alone
    assert to.read_bytes() == whole().read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["correspondences"]
    rows = [line for line in capsys.readouterr().err.splitlines() if "/14  " in line]
    assert [row.split("/")[0] for row in rows] == [str(n) for n in range(6, 15)]


def test_when_all_parts_are_there_nothing_is_registered(tmp_path, monkeypatch):
    to = tmp_path / "correspondences"
    with monkeypatch.context() as patch:
        write = scan_files.write_arrays

        def full_disk(path, *rest):
            if path == to:
                raise UserError(f"cannot write {path}: No space left on device")
            write(path, *rest)

        patch.setattr(scan_files, "write_arrays", full_disk)
        with pytest.raises(SystemExit, match="2"):
            rca_chain.run("register", rca_chain.MULTI_ATLAS, **paths(to))
    counter = Killed(monkeypatch)
    rca_chain.run("register", rca_chain.MULTI_ATLAS, **paths(to))
    assert counter.calls == 0
    assert to.read_bytes() == whole().read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["correspondences"]


@pytest.mark.parametrize("change", ["params", "scans"])
def test_parts_of_other_params_or_scans_are_not_taken(tmp_path, monkeypatch, change):
    to, folder = interrupted(tmp_path, monkeypatch, at=9)
    assert len(list(folder.iterdir())) == 2
    values, source = rca_chain.MULTI_ATLAS, rca_chain.chain()
    if change == "params":
        values = values | {"smoothing": 1.1}
    else:
        source = tmp_path / "scans"
        rca_chain.run(
            "scans", rca_chain.SCANS | {"phantom_variation": 0.4}, **rca_chain.splits(source)
        )
    counter = Killed(monkeypatch)
    rca_chain.run("register", values, **paths(to, source))
    assert counter.calls == 4 * 14
    assert to.read_bytes() != whole().read_bytes()


def test_a_damaged_part_is_named(tmp_path, monkeypatch, capsys):
    to, folder = interrupted(tmp_path, monkeypatch, at=9)
    (folder / "1.safetensors").write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("register", rca_chain.MULTI_ATLAS, **paths(to))
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {folder / '1.safetensors'} is not a safetensors file; delete it and run again"
    )
    assert not to.exists()
    (folder / "1.safetensors").unlink()
    rca_chain.run("register", rca_chain.MULTI_ATLAS, **paths(to))
    assert to.read_bytes() == whole().read_bytes()


# --- mistakes ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fixed": ["validation"]},
            'fixed[0] is "validation"; it must be one of train',
        ),
        ({"moving": ["reference"]}, "the split reference is named in params; add reference=PATH"),
        ({"affine_iterations": [1]}, "it must be 1 numbers, as affine_iterations has"),
        ({"fixed": []}, "fixed is []; it must be a list with at least one element"),
        ({"moving": []}, "moving is []; it must be a list with at least one element"),
        ({"scans": 0}, "scans is 0; it must be a number of at least 1"),
        ({"shrink": []}, "shrink is []; it must be a list with at least one element"),
        ({"smoothing": 0}, "smoothing is 0; it must be a number above 0"),
        ({"affine_iterations": [0.5, 1]}, "affine_iterations[0] is 0.5; it must be a whole number"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run(
            "register", rca_chain.MULTI_ATLAS | change, **paths(tmp_path / "correspondences")
        )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def test_what_holds_no_scans_is_named(tmp_path, capsys):
    given = paths(tmp_path / "correspondences") | {"train": whole()}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("register", rca_chain.MULTI_ATLAS, **given)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {whole()} holds no scans; delete it and run again"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_no_step_makes_is_refused(tmp_path, capsys):
    given = paths(tmp_path / "correspondences") | {"validation": whole()}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("register", rca_chain.MULTI_ATLAS, **given)
    assert "unknown path validation; this step knows train, reference, " in capsys.readouterr().err
