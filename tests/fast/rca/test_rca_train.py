import dataclasses

import numpy as np
import pytest
import torch

import rca_chain
from pr12.core import tensor_files
from pr12.rca import train, train_forest
from pr12.rca.data import phantom, scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import features, forest, unet
from pr12.workflow import files
from pr12.workflow.errors import UserError

CPU = torch.device("cpu")
PARAMS = train.Params((4, 8, 16), 0.02, 2, (2, 5))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scans():
    return [Scan(f"s{i}", *phantom.slice_of((5, i), 32, 0.5)) for i in range(3)]


def rows(scans, seed=0, **change):
    return list(train.training(scans, 3, dataclasses.replace(PARAMS, **change), seed, CPU))


# --- the training ---


def test_a_training_is_kept_at_its_snapshots_and_ends_with_the_last(scans):
    actual = rows(scans, snapshots=(5, 2, 5))  # in any order, and one said twice
    assert [update for update, _, _ in actual] == [2, 5]
    early, late = (state for _, _, state in actual)
    assert not torch.equal(early["model.0.conv.weight"], late["model.0.conv.weight"])
    assert list(late) == list(unet.network(2, 3, (4, 8, 16), 0).state_dict())


def test_snapshots_do_not_change_the_training(scans):
    (_, _, early), (_, _, late) = rows(scans)
    ((_, _, alone),) = rows(scans, snapshots=(5,))
    assert all(torch.equal(late[name], alone[name]) for name in late)
    ((_, _, first),) = rows(scans, snapshots=(2,))
    assert all(torch.equal(early[name], first[name]) for name in early)


def test_the_loss_is_the_mean_since_the_last_snapshot(scans):
    every = [value for _, value, _ in rows(scans, snapshots=(1, 2, 3, 4, 5))]
    (_, first, _), (_, second, _) = rows(scans)
    assert first == pytest.approx(np.mean(every[:2]))
    assert second == pytest.approx(np.mean(every[2:]))
    initial = unet.network(2, 3, (4, 8, 16), 0)
    order = np.random.default_rng(0).permutation(3)[:2]
    value = unet.loss()(
        initial(unet.batched([scans[i].image for i in order], CPU)),
        unet.batched([scans[i].labels for i in order], CPU),
    )
    assert every[0] == pytest.approx(value.item())


def orders(scans, monkeypatch, seed, **change):
    """Train, and give which scan was seen when, and whether with its own labels."""
    seen, real = [], unet.batched
    monkeypatch.setattr(
        unet, "batched", lambda arrays, where: (seen.append(arrays), real(arrays, where))[1]
    )
    rows(scans, seed, **change)
    monkeypatch.undo()
    images, labels = seen[::2], seen[1::2]
    actual = [
        [next(i for i, scan in enumerate(scans) if scan.image is ours) for ours in batch]
        for batch in images
    ]
    for batch, ours in zip(actual, labels, strict=True):
        assert all(scans[i].labels is given for i, given in zip(batch, ours, strict=True))
    return actual


def test_every_scan_is_seen_as_often_as_any_other_in_the_seeds_order(scans, monkeypatch):
    actual = orders(scans, monkeypatch, 0, batch_size=2, snapshots=(6,))  # 12 of 3 scans
    flat = np.concatenate(actual).reshape(4, 3)
    assert np.sort(flat, axis=1).tolist() == [[0, 1, 2]] * 4  # each pass sees each once
    assert len({tuple(row) for row in flat}) > 1
    several = [orders(scans, monkeypatch, seed, snapshots=(6,)) for seed in range(3)]
    assert several[0] == actual
    assert len({str(ours) for ours in several}) == 3


def test_a_batch_may_be_larger_than_the_split(scans):
    ((update, value, _),) = rows(scans, batch_size=7, snapshots=(1,))
    assert update == 1
    assert np.isfinite(value)


def test_a_seed_is_a_training_and_another_seed_another(scans):
    first, again, other = (rows(scans, seed)[-1][2] for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.0.conv.weight"], other["model.0.conv.weight"])


def test_more_updates_segment_better(scans):
    actual = rows(scans, snapshots=(1, 60))
    right = []
    for _, _, state in actual:
        maps = unet.segment(unet.rebuilt(state), [scan.image for scan in scans], CPU)
        right.append(np.mean([m == s.labels for m, s in zip(maps, scans, strict=True)]))
    assert right[0] < 0.7 < 0.9 < right[1]


def test_volumes_are_learnt_from_too():
    stream = np.random.default_rng(0)
    volumes = [
        Scan("a", stream.random((7, 9, 8), np.float32), np.ones((7, 9, 8), np.uint8)),
        Scan("b", stream.random((8, 5, 10), np.float32), np.zeros((8, 5, 10), np.uint8)),
    ]
    ((_, value, state),) = rows(volumes, snapshots=(1,))
    assert np.isfinite(value)
    assert state["model.0.conv.weight"].ndim == 5


def test_a_loss_that_is_not_finite_ends_the_training_with_the_last_good_one(scans):
    with pytest.raises(UserError) as caught:
        rows(scans, learning_rate=1e30, snapshots=(9,))
    start, end = str(caught.value).split(" (before: ")
    assert start in {
        f"the loss of seed 0 is {value} at update {update}"
        for value in ("nan", "inf")
        for update in (2, 3, 4)
    }
    good, do = end.split("); ")
    assert 0 < float(good) < np.inf
    assert do == "lower rca.train.learning_rate"


# --- the step ---


def paths(to, source=None):
    return rca_chain.splits(source or rca_chain.chain(), "train") | {
        "model": to / "model",
        "history": to / "history.json",
    }


def whole():
    folder = rca_chain.chain()
    return (folder / "unet_model").read_bytes(), files.read_json(folder / "history.json")


def made(to):
    return (to / "model").read_bytes(), files.read_json(to / "history.json")


def test_the_step_keeps_every_seed_and_snapshot():
    tensors = tensor_files.read_tensors(rca_chain.chain() / "unet_model")
    names = set(unet.network(2, 3, (4, 8, 16), 0).state_dict())
    assert set(tensors) == {f"{seed}/{u}/{n}" for seed in (0, 3) for u in (1, 12) for n in names}
    history = files.read_json(rca_chain.chain() / "history.json")
    assert [(row["seed"], row["update"]) for row in history] == [(0, 1), (0, 12), (3, 1), (3, 12)]
    assert all(history[i + 1]["loss"] < history[i]["loss"] for i in (0, 2))
    by_seed = scan_files.read_scans(rca_chain.chain() / "train.safetensors").by_seed
    params = train.Params((4, 8, 16), 0.02, 2, (1, 12))
    for seed, ours in by_seed.items():
        for update, _, state in train.training(ours, 3, params, seed, CPU):
            for name, value in state.items():
                assert torch.equal(value, tensors[f"{seed}/{update}/{name}"])


class Killed:
    """Stand for `unet.network`: count the nets, and be interrupted at one of them."""

    def __init__(self, monkeypatch, at=None):
        self.calls, self.at, self.real = 0, at, unet.network
        monkeypatch.setattr(unet, "network", self)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.real(*arguments)


@pytest.fixture
def killed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Killed(patch, at=2)
        with pytest.raises(SystemExit, match="130"):
            rca_chain.run("train", rca_chain.TRAIN, **paths(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]
    return tmp_path


def test_a_killed_training_goes_on_with_the_next_seed_to_the_same_bytes(
    killed, monkeypatch, capsys
):
    capsys.readouterr()
    counter = Killed(monkeypatch)
    rca_chain.run("train", rca_chain.TRAIN, **paths(killed))
    assert counter.calls == 1
    assert made(killed) == whole()
    assert sorted(path.name for path in killed.iterdir()) == ["history.json", "model"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "/2  " in line]
    assert [line[: line.index(":")] for line in lines] == ["2/2  seed 3, update 12"]


@pytest.mark.parametrize("change", ["params", "scans", "damaged", "empty"])
def test_a_checkpoint_of_something_else_is_not_taken(killed, monkeypatch, change):
    values, source = rca_chain.TRAIN, rca_chain.chain()
    if change == "params":
        values = values | {"learning_rate": 0.01}
    elif change == "scans":
        source = killed / "scans"
        other = rca_chain.SCANS | {"phantom_variation": 0.4}
        rca_chain.run("scans", other, **rca_chain.splits(source))
    else:
        content = (killed / "resume.pt").read_bytes()
        (killed / "resume.pt").write_bytes(content[:500] if change == "damaged" else b"")
    counter = Killed(monkeypatch)
    rca_chain.run("train", values, **paths(killed, source))
    assert counter.calls == 2
    assert not (killed / "resume.pt").exists()
    assert (made(killed) == whole()) == (change in ("damaged", "empty"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": [4, 8]}, "it must be a list of 3 elements"),
        ({"channels": [4, 8, 16, 32]}, "it must be a list of 3 elements"),
        ({"channels": []}, "channels is []; it must be a list of 3 elements"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be a number above 0"),
        ({"learning_rate": 1e30}, "lower rca.train.learning_rate"),
        ({"batch_size": 0}, "batch_size is 0; it must be a number of at least 1"),
        ({"snapshots": []}, "snapshots is []; it must be a list with at least one element"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("train", rca_chain.TRAIN | change, **paths(tmp_path))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert list(tmp_path.iterdir()) == []


def test_what_holds_no_scans_is_named(tmp_path, capsys):
    given = paths(tmp_path) | {"train": rca_chain.chain() / "segmentations"}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("train", rca_chain.TRAIN, **given)
    assert "segmentations holds no scans; delete it" in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


# --- forests ---


def test_voxels_are_drawn_once_each_and_from_every_scan(scans):
    x, y = train_forest.sampled(scans, 100, seed=0)
    assert (x.shape, y.shape) == ((300, 11), (300,))
    for index, scan in enumerate(scans):
        ours = features.voxel_features(scan.image)
        places = {tuple(row): place for place, row in enumerate(ours)}
        drawn = [places[tuple(row)] for row in x[100 * index : 100 * index + 100]]
        assert len(set(drawn)) == 100
        np.testing.assert_array_equal(y[100 * index :][:100], scan.labels.ravel()[drawn])
    assert 0.2 < (y > 0).mean() / np.mean([scan.labels > 0 for scan in scans]) < 2


def test_all_voxels_are_taken_where_there_are_no_more_and_the_seed_sets_the_draw(scans):
    x, y = train_forest.sampled(scans[:2], 10**6, seed=0)
    assert len(x) == 2 * 32 * 32
    counted = np.bincount(y, minlength=4)
    np.testing.assert_array_equal(
        counted, sum(np.bincount(scan.labels.ravel(), minlength=4) for scan in scans[:2])
    )
    first, again, other = (train_forest.sampled(scans, 50, seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_the_step_grows_one_forest_per_seed_and_depth_on_the_first_subjects():
    arrays, _ = scan_files.read_arrays(rca_chain.chain() / "forest_model")
    assert set(arrays) == {f"{s}/{d}/{n}" for s in (0, 3) for d in (2, 8) for n in forest.ARRAYS}
    by_seed = scan_files.read_scans(rca_chain.chain() / "train.safetensors").by_seed
    for seed, ours in by_seed.items():
        x, y = train_forest.sampled(ours[: rca_chain.FOREST["subjects"]], 400, seed)
        for depth in (2, 8):
            grown = forest.to_arrays(forest.grow(x, y, 3, depth, seed), 4)
            for name, array in grown.items():
                np.testing.assert_array_equal(arrays[f"{seed}/{depth}/{name}"], array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trees": 0}, "trees is 0; it must be a number of at least 1"),
        ({"depths": []}, "depths is []; it must be a list with at least one element"),
        ({"subjects": 0}, "subjects is 0; it must be a number of at least 1"),
        ({"voxels": 9}, "voxels is 9; it must be a number of at least 10"),
    ],
)
def test_a_mistake_about_forests_is_one_sentence(tmp_path, capsys, change, message):
    given = rca_chain.splits(rca_chain.chain(), "train") | {"model": tmp_path / "model"}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run("train_forest", rca_chain.FOREST | change, **given)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
