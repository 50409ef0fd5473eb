import io
import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from pr12.rca.data import intensity, phantom
from pr12.rca.model import conformal, measures
from pr12.rca.model.registration import Effort
from pr12.rca.predict import calibration, damage, plot, summary
from pr12.rca.predict import cases as predict_cases
from pr12.rca.predict import page as predict_page
from pr12.rca.predict import rows as predict_rows
from pr12.rca.predict import scores as predict_scores
from pr12.rca.predict import structures as predict_structures
from pr12.rca.predict import subjects as predict_subjects
from pr12.rca.predict.cases import Case, Unused, View
from pr12.rca.predict.reading import blocks
from pr12.rca.predict.rows import Row
from pr12.workflow.errors import UserError

EFFORT = Effort(15, (2,), 5, 1.0)
RANDOM = np.random.default_rng(3)


def case(number=0, labels=None, spacing=(1.0, 1.0), size=48, name="a"):
    image, ours = phantom.slice_of((9, number), size, 1.0)
    labels = ours if labels is None else labels
    view = View(np.zeros((4, 4), np.uint8), np.zeros((4, 4), int), (1.0, 1.0), "")
    return Case(name, image, labels, spacing, (view,), {}, (), str(number))


# --- scores ---


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_dice_is_the_overlap_of_each_structure_that_the_reference_has(seed, structures):
    stream = np.random.default_rng(seed)
    first, second = stream.integers(0, structures + 1, (2, 3, 4)).astype(np.uint8)
    actual = predict_scores.dice(first, second, structures)
    for structure in range(1, structures + 1):
        if (second == structure).any():
            expected, _ = measures.overlaps(first == structure, second == structure)
            assert actual[structure - 1] == pytest.approx(expected)
        else:
            assert math.isnan(actual[structure - 1])


def test_a_segmentation_scores_highest_on_its_own_image():
    ours = case()
    maps = np.stack([ours.labels, np.roll(ours.labels, 6, axis=0), np.zeros_like(ours.labels)])
    scores, similarity, carried = predict_scores.score(ours, maps, ours, EFFORT, 3)
    assert similarity > 0.99
    assert (carried == ours.labels).mean() > 0.98
    assert scores.shape == (3, 3)
    assert scores[0].min() > 0.95
    assert scores[1].max() < 0.8
    assert scores[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("unit", [0.001, 30.0])
def test_the_unit_of_the_spacing_does_not_matter(unit):
    pairs = [
        predict_scores.matched(
            case(0, spacing=(step, step)), case(1, spacing=(step, 1.1 * step)), EFFORT
        )
        for step in (1.0, unit)
    ]
    assert (pairs[0] == pairs[1]).mean() > 0.99


def test_what_itk_cannot_register_is_no_score(monkeypatch):
    def fails(*_):
        raise RuntimeError("ITK ERROR")

    monkeypatch.setattr(predict_scores.registration, "correspondence", fails)
    ours = case()
    scores, similarity, carried = predict_scores.score(ours, ours.labels[None], ours, EFFORT, 3)
    assert carried is None
    assert np.isnan(scores).all()
    assert np.isnan(similarity)


# --- damage ---


def damaged(ours, others=(), seed=4):
    return damage.damaged(ours, list(others), EFFORT, int(ours.labels.max()), seed)


def test_damage_is_graded_and_its_dice_is_known():
    ours = case(size=96)
    actual = [damaged(ours, seed=seed) for seed in range(10)]
    assert {carried for *_, carried in actual} == {0}
    assert actual[0][0].dtype == ours.labels.dtype
    by_kind = {}
    for (kind, level), dice in zip(
        damage.DAMAGES, np.mean([real for _, real, _ in actual], axis=0), strict=True
    ):
        by_kind.setdefault(kind, {})[level] = dice
    for kind in ("moved", "deformed"):
        assert (np.diff(list(by_kind[kind].values()), axis=0) < -0.08).all(), kind
    for share, dice in by_kind["volume"].items():
        # As far as no other structure is in the way
        assert dice == pytest.approx(2 * min(share, 1) / (1 + share), abs=0.05), share
    for share, dice in by_kind["cut"].items():
        assert dice == pytest.approx(2 * share / (1 + share), abs=0.02), share


@pytest.mark.parametrize("kind", ["moved", "deformed"])
def test_damage_is_measured_in_millimetres(kind):
    # A disc of thick voxels is damaged as one of thin voxels is
    y, x = np.indices((64, 64)) - 31.5
    thin = (y**2 + x**2 < 15**2).astype(np.uint8)
    image = thin.astype(np.float32)
    both = []
    for labels, spacing in ((thin, (1.0, 1.0)), (thin[::4], (4.0, 1.0))):
        ours = Case("a", image, np.ascontiguousarray(labels), spacing, (), {}, (), "")
        reals = [damage.damaged(ours, [], EFFORT, 1, seed)[1][:, 0] for seed in range(20)]
        both.append(np.mean(reals, axis=0))
    chosen = [index for index, (ours, _) in enumerate(damage.DAMAGES) if ours == kind]
    assert both[0][chosen] == pytest.approx(both[1][chosen], abs=0.06)


def test_damage_is_the_same_each_time_and_another_for_another_seed():
    ours = case()
    one, two, other = (damage.damaged(ours, [], EFFORT, 3, s)[0] for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_labels_of_other_references_are_carried_over():
    ours, others = case(), [case(1), case(2)]
    maps, real, carried = damaged(ours, others)
    assert carried == 2
    assert len(maps) == len(real) == len(damage.DAMAGES) + 2
    assert (real[-2:] > 0.3).all()
    assert (real[-2:] < 1).all()
    scores, _, expected = predict_scores.score(ours, maps[-1:], others[1], EFFORT, 3)
    assert np.array_equal(maps[-1], expected)
    assert scores.min() == 1  # why that reference does not judge it
    assert real[-1] == pytest.approx(predict_scores.dice(maps[-1], ours.labels, 3))


def test_a_structure_that_a_reference_lacks_is_no_calibration():
    ours = case()
    _, real, _ = damaged(ours._replace(labels=np.where(ours.labels == 2, 0, ours.labels)))
    assert np.isnan(real[:, 1]).all()
    assert not np.isnan(real[:, [0, 2]]).any()


@pytest.mark.parametrize("shape", [(2, 2), (48, 48), (3, 4, 5)])
@pytest.mark.parametrize("filled", ["one", "all"])
def test_the_smallest_and_the_largest_structure_can_be_damaged(shape, filled):
    labels = np.ones(shape, np.uint8)
    if filled == "one":
        labels[...] = 0
        labels[(0,) * len(shape)] = 1
    ours = Case("a", labels.astype(np.float32), labels, (1.0,) * len(shape), (), {}, (), "")
    _, real, _ = damage.damaged(ours, [], EFFORT, 1, 0)
    assert ((real >= 0) & (real <= 1)).all()


def test_carried_labels_are_not_judged_by_their_own_reference():
    cases = [case(number) for number in range(3)]
    cases.append(cases[0]._replace(name="twin"))
    actual = list(predict_subjects.damaged([0, 2], cases, EFFORT, 3, 8))
    plain = len(damage.DAMAGES)
    assert [ours.case.name for ours in actual] == ["a", "a"]
    # Reference 0 and its twin do not judge each other
    assert actual[0].judged[:plain].all(axis=0).tolist() == [False, True, True, False]
    assert actual[0].judged[plain:].tolist() == [
        [False, False, True, False],
        [False, True, False, False],
    ]
    assert actual[1].judged[plain:].tolist() == [
        [False, True, False, False],
        [False, True, False, False],
        [True, False, False, True],
    ]


# --- calibration ---


def points(raw, real, patients=None, structure=0):
    """Gather what is known of one structure of subjects with K segmentations each."""
    names = [str(n) for n in range(len(raw))] if patients is None else patients
    return calibration.points(raw, real, names, [[""] * len(each) for each in raw], structure)


def calibrated(*given, coverage=0.9, threshold=0.7, missed=0.1):
    return calibration.calibrate(points(*given), coverage, threshold, missed)


@pytest.mark.parametrize("maps", [1, 10])
def test_intervals_bounds_and_flags_hold_as_they_promise(maps):
    # Real Dice is a curve of the raw score with noise that subjects share
    stream = np.random.default_rng(0)

    def subjects(count, maps):
        raw = stream.uniform(0, 0.9, (count, maps, 1))
        shared = stream.normal(0, 0.05, (count, 1, 1))
        noise = stream.normal(0, 0.05, raw.shape)
        return raw, np.clip(raw**0.5 + shared + noise, 0, 1)

    covered, above, passed = [], [], []
    for _ in range(150):
        raw, real = subjects(40, maps)
        ours, _ = calibrated(list(raw), list(real))
        new, truth = (each.ravel() for each in subjects(40, 1))
        low, high, at_least = calibration.interval(ours, new, 0.9)
        covered.append(np.mean((low <= truth) & (truth <= high)))
        above.append(np.mean(at_least <= truth))
        passed.append(np.mean(new[truth < 0.7] > ours.cutoff))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.025)
    assert np.mean(above) == pytest.approx(0.9, abs=0.025)
    assert np.mean(passed) <= 0.1
    low, high = calibration.realised(40, 0.9)
    if maps == 1:  # then the spread between data sets is that of the Beta law
        share = np.mean((np.array(covered) >= low - 0.05) & (np.array(covered) <= high + 0.05))
        assert share > 0.85


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_as_many_subjects_as_are_needed_are_enough_and_one_less_is_not(coverage):
    count = calibration.needed(coverage)
    raw = [np.array([[index / count]]) for index in range(count)]
    real = [score + 0.03 * (-1) ** (index // 2) for index, score in enumerate(raw)]
    assert calibrated(raw, real, coverage=coverage)[0] is not None
    assert calibrated(raw[1:], real[1:], coverage=coverage) == (None, "")


def test_patients_are_counted_and_not_their_segmentations():
    many = [np.linspace(0, 1, 500)[:, None]] * 8
    assert calibrated(many, many) == (None, "")
    stream = np.random.default_rng(2)
    raw = list(stream.uniform(0, 1, (16, 1, 1)))
    real = [each + stream.normal(0, 0.02, each.shape) for each in raw]
    assert calibrated(raw, real)[0].patients == 16
    both = [f"p{index // 2}" for index in range(16)]  # left and right of eight patients
    assert calibrated(raw, real, both) == (None, "")


def test_no_map_has_seen_the_patient_that_it_is_asked_about():
    stream = np.random.default_rng(3)
    raw = list(stream.uniform(0, 1, (30, 2, 1)))
    real = [each + stream.normal(0, 0.1, each.shape) for each in raw]
    patients = [f"p{index // 2}" for index in range(30)]
    ours, _ = calibrated(raw, real, patients)
    by_patient = {}
    for patient, fold in zip(np.repeat(patients, 2), ours.fold, strict=True):
        by_patient.setdefault(patient, set()).add(int(fold))
    assert {len(folds) for folds in by_patient.values()} == {1}
    assert len(ours.folds) == calibration.FOLDS
    # The residuals of one fold follow from the others alone
    chosen = ours.fold == 0
    rest = [np.concatenate(part).ravel()[~chosen] for part in (raw, real)]
    steps = conformal.isotonic_map(*(np.append(part, 0.0) for part in rest))
    expected = np.concatenate(real).ravel()[chosen] - steps(np.concatenate(raw).ravel()[chosen])
    assert ours.residuals[chosen] == pytest.approx(expected)


def test_a_structure_is_calibrated_by_the_subjects_that_have_it():
    stream = np.random.default_rng(1)
    raw = [stream.uniform(0, 1, (4, 2)) for _ in range(9)]
    real = [ours + stream.normal(0, 0.02, ours.shape) for ours in raw]
    for ours in real[:3]:
        ours[:, 1] = np.nan
    assert calibrated(raw, real, None, 0)[0] is not None
    assert calibrated(raw, real, None, 1) == (None, "")
    assert calibrated(raw, real, None, 1, coverage=0.8)[0] is not None


def test_no_score_at_all_is_no_quality_at_all():
    raw = [np.array([[0.8 + 0.02 * index]]) for index in range(8)]
    real = [score + 0.03 * (-1) ** (index // 2) for index, score in enumerate(raw)]
    ours, _ = calibrated(raw, real, coverage=0.5)
    assert float(ours.steps(np.array([0.0]))[0]) == 0
    assert float(ours.steps(np.array([0.4]))[0]) < 0.5
    assert ours.raw.min() == 0.8


def test_too_few_failures_promise_nothing():
    raw = [np.array([[0.3 + 0.03 * index]]) for index in range(20)]
    real = [score + 0.03 * (-1) ** (index // 2) for index, score in enumerate(raw)]
    ours, _ = calibrated(raw, real, threshold=0.46)
    assert (ours.failures, ours.cutoff) == (6, None)
    ours, _ = calibrated(raw, real, threshold=0.46, missed=0.2)
    assert ours.cutoff == pytest.approx(0.48)


# --- cases ---


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(2, 40), min_size=2, max_size=3), st.integers(8, 3000))
def test_a_reduced_image_has_no_more_voxels_than_allowed(shape, largest):
    spacing = tuple(RANDOM.uniform(0.5, 5.0, len(shape)))
    factors = blocks.reduction(tuple(shape), spacing, largest)
    image = RANDOM.random(shape, np.float32)
    labels = RANDOM.integers(0, 3, shape).astype(np.uint8)
    small = blocks.means(image, blocks.Scale(0.0, 1.0), factors)
    small_labels = blocks.majorities(labels, np.array([1, 2]), factors)
    assert small.size <= largest
    assert small.shape == small_labels.shape
    if max(factors) == 1:
        assert np.array_equal(small, image)
        assert np.array_equal(small_labels, labels)


@pytest.mark.parametrize("slab", [1, 2**20])  # in one go, and a block's row at a time
@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_averaging_is_that_of_blocks(monkeypatch, slab, kind):
    monkeypatch.setattr(blocks, "SLAB", slab)
    image = RANDOM.random((6, 8, 4), np.float32)
    held = np.zeros((3, 2, 4), int)
    held[1, 1] = 5
    labels = np.kron(held, np.ones((2, 4, 1), int)).astype(kind)
    small = blocks.means(image, blocks.Scale(0.0, 1.0), (2, 4, 1))
    expected = ndimage.uniform_filter(image, (2, 4, 1), origin=(-1, -2, 0))[::2, ::4]
    assert small == pytest.approx(expected, abs=1e-5)
    assert small.dtype == np.float32
    assert np.array_equal(blocks.majorities(labels, np.array([5]), (2, 4, 1)), held)


@pytest.mark.parametrize("slab", [1, 50, 2**20])
def test_a_block_has_the_label_of_most_of_its_voxels(monkeypatch, slab):
    monkeypatch.setattr(blocks, "SLAB", slab)
    labels = RANDOM.integers(0, 3, (7, 9, 5)).astype(np.uint8) * 100
    small = blocks.majorities(labels, np.array([100, 200]), (2, 3, 2))
    for place, ours in np.ndenumerate(small):
        block = labels[
            tuple(slice(i * f, (i + 1) * f) for i, f in zip(place, (2, 3, 2), strict=True))
        ]
        counts = {value: np.count_nonzero(block == value) for value in (0, 100, 200)}
        assert counts[ours] == max(counts.values())
        assert ours == max(value for value, count in counts.items() if count == counts[ours])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16, np.int32]))
def test_what_a_label_map_holds_is_counted_by_slabs_as_a_whole(seed, kind):
    stream = np.random.default_rng(seed)
    numbers = stream.choice(200, 5, replace=False) + 1
    maps = stream.choice(np.append(numbers, 0), (2, 6, 7, 8)).astype(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SLAB", 100)
        held = blocks.content(maps[0])
        dice = blocks.overlaps(*maps)
    assert np.array_equal(held.values, np.unique(maps[0][maps[0] > 0]))
    for index, value in enumerate(held.values):
        for axis, profile in enumerate(held.profiles):
            others = tuple(other for other in range(3) if other != axis)
            assert np.array_equal(profile[index], (maps[0] == value).sum(axis=others))
        expected = measures.overlaps(*(labels == value for labels in maps))[0]
        assert dice[int(value)] == pytest.approx(expected)


def test_percentiles_of_a_part_are_those_of_the_whole_and_of_small_images_the_same():
    image = RANDOM.gamma(2.0, 50.0, (150, 160, 170)).astype(np.float32)
    actual = blocks.scaled(image, blocks.scale(blocks.sample(image), "a.nii"))
    assert np.abs(actual - intensity.normalised(image)).max() < 0.01
    small = image[:20]
    actual = blocks.scaled(small, blocks.scale(blocks.sample(small), "a.nii"))
    assert np.array_equal(actual, intensity.normalised(small))


# --- a part of a large image ---


def organs(size=120, moved=0, second=True, radius=6):
    """Return an image of noise with a ball, another far from it, and their labels."""
    z, y, x = np.indices((size // 2, size, size))
    inside = (z - 30) ** 2 + (y - 40 - moved) ** 2 + (x - 35) ** 2 < radius**2
    labels = inside.astype(np.uint8)
    if second:
        labels[(z - 28) ** 2 + (y - 50) ** 2 + (x - 80) ** 2 < 36] = 2
    image = np.random.default_rng(4).normal(labels, 0.1).astype(np.float32)
    return image, labels


def read_case(folder, image, labels, largest, kind="nii", truth=None, **given):
    """Write and read a case; the names of its files do not tell whose they are."""
    for name, array in (("image", image), ("labels", labels), ("truth", truth)):
        if array is not None:
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.{kind}"))
    paths = [folder / f"{name}.{kind}" for name in ("image", "labels", "truth")]
    ours = predict_cases.Files("a", *paths[:2], None if truth is None else paths[2], **given)
    return predict_cases.read(ours, largest)


def test_a_large_image_is_averaged_down_whole_whatever_is_segmented(tmp_path):
    image, labels = organs(second=False)
    half = labels * (np.arange(len(labels)) < 60)[:, None, None]  # a centre of its own
    ours, other = (
        read_case(tmp_path, image, each.astype(labels.dtype), 50_000, kind=kind)
        for each, kind in ((labels, "nii"), (half, "nrrd"))
    )
    assert ours.image.size <= 50_000
    np.testing.assert_array_equal(ours.image, other.image)
    assert (ours.origin, ours.spacing) == (other.origin, other.spacing)
    assert any(note.startswith("averaged down by ") for note in ours.notes)
    sides = {view.grey.shape for view in ours.views}
    assert sides == {(120, 120), (60, 120)}  # whole slices are shown


def test_what_is_small_enough_is_not_averaged(tmp_path):
    image, labels = organs(60)
    ours = read_case(tmp_path, image, labels, image.size)
    assert ours.image.shape == image.shape
    assert ours.notes == ()


@pytest.mark.parametrize("moved", [1, 3, 6, 10])
def test_the_dice_of_a_compact_organ_is_that_of_all_its_voxels(tmp_path, moved):
    """Both maps are averaged down as a case and a reference are, and laid on each other."""
    image, truth = organs(second=False, radius=11)
    _, labels = organs(second=False, moved=moved, radius=11)
    real = blocks.overlaps(labels, truth)[1]
    factors = blocks.reduction(image.shape, (1.0,) * 3, 50_000)
    small = [blocks.majorities(part, np.array([1]), factors) for part in (labels, truth)]
    assert blocks.overlaps(*small)[1] == pytest.approx(real, abs=0.02)


def test_an_image_is_the_same_whatever_is_segmented_in_it(tmp_path):
    image, labels = organs()
    first = read_case(tmp_path, image, labels, 50_000)
    second = read_case(tmp_path, image, np.roll(labels, 30, 1) % 2, 50_000, kind="nrrd")
    np.testing.assert_array_equal(first.image, second.image)
    assert first.content == second.content


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, -1, 0, 0, 0, 1, 0)])
def test_what_was_averaged_lies_where_it_was(tmp_path, direction):
    image, labels = organs(second=False, radius=9)
    files = []
    for name, array in (("image", image), ("labels", labels)):
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing((1.0, 1.5, 2.0))
        volume.SetOrigin((5.0, -7.0, 11.0))
        volume.SetDirection(direction)
        files.append(tmp_path / f"{name}.nii")
        sitk.WriteImage(volume, str(files[-1]))
    place = np.argwhere(labels)[:, ::-1].mean(axis=0).tolist()
    expected = volume.TransformContinuousIndexToPhysicalPoint(place)
    ours = predict_cases.read(predict_cases.Files("a", *files, None), 50_000)
    assert ours.image.shape != image.shape
    steps = np.reshape(ours.direction, (3, 3)) * ours.spacing[::-1]
    there = steps @ np.argwhere(ours.labels)[:, ::-1].mean(axis=0) + ours.origin
    assert there == pytest.approx(expected, abs=0.3)


def test_the_real_dice_is_that_of_all_voxels(tmp_path):
    image, truth = organs()
    _, labels = organs(moved=3)
    ours = read_case(tmp_path, image, labels, 50_000, truth=truth)
    assert ours.real == pytest.approx(blocks.overlaps(labels, truth))


def test_the_slice_with_most_label_is_shown_from_the_top():
    grey = RANDOM.random((5, 6, 7))
    labels = np.zeros((5, 6, 7), int)
    labels[1, 2, 3:5] = labels[3, 4, 1] = 9
    plain, *others = predict_cases.views(grey, labels, (1.0, 1.0, 1.0), upright=True)
    assert plain.place == "slice 2 of 5"
    assert [view.place for view in others] == ["slice 3 of 6", "slice 2 of 7"]
    assert np.array_equal(plain.labels, labels[1])
    thick, *_ = predict_cases.views(grey, labels, (1.0, 3.0, 2.0), upright=True)
    assert (thick.place, thick.spacing) == ("slice 3 of 6", (1.0, 2.0))
    assert np.array_equal(thick.labels, labels[::-1, 2])
    unknown, *_ = predict_cases.views(grey, labels, (1.0, 3.0, 2.0), upright=False)
    assert np.array_equal(unknown.labels, labels[:, 2])
    empty, *_ = predict_cases.views(grey, 0 * labels, (1.0, 1.0, 1.0), upright=True)
    assert empty.place == "slice 3 of 5"


# --- structures ---


def with_labels(values, name="a"):
    labels = np.array(values, np.int32)[None].repeat(2, axis=0)
    view = View(np.zeros(labels.shape, np.uint8), labels, (1.0, 1.0), "")
    image = np.zeros(labels.shape, np.float32)
    real = dict.fromkeys(set(values) - {0}, 0.5)
    return Case(name, image, labels, (1.0, 1.0), (view,), real, (), "")


def alike(reference, ours, wanted=None):
    cases = {"reference": [with_labels(reference)], "case": [with_labels(v) for v in ours]}
    actual, structures, unused = predict_structures.numbered_alike(cases, wanted)
    assert unused == []
    return [each.labels[0].tolist() for each in actual["case"]], structures, actual


def test_structures_are_numbered_over_all_files():
    labels, structures, actual = alike([0, 4, 70], [[70, 0, 300], [4, 4, 0]])
    assert structures == (4, 70, 300)
    assert labels == [[2, 0, 3], [1, 1, 0]]
    assert actual["case"][0].real == {2: 0.5, 3: 0.5}
    assert actual["case"][0].views[0].labels[0].tolist() == [2, 0, 3]


def test_structures_that_are_not_asked_for_are_background():
    labels, structures, actual = alike([0, 4, 70], [[70, 4, 300]], wanted=("70",))
    assert (labels, structures) == ([[1, 0, 0]], (70,))
    assert actual["case"][0].real == {1: 0.5}
    with pytest.raises(UserError, match=r"one of the structures 300 \(they have 4, 70\)"):
        alike([0, 4, 70], [[300, 0, 0]], wanted=("300",))


def test_more_structures_than_a_byte_holds():
    many = list(range(0, 600, 2))
    labels, structures, actual = alike(many, [many])
    assert len(structures) == 299
    assert labels == [list(range(300))]
    assert actual["case"][0].labels.dtype == np.uint16


@pytest.mark.parametrize(
    ("reference", "ours", "expected"),
    [
        ([0, 128, 255], [0, 255, 255], [0, 2, 2]),
        ([0, 128, 65535], [0, 65535, 65535], [0, 2, 2]),
        ([0, 1, 255], [0, 1, 1], [0, 1, 1]),  # 1 is a structure of its own
        ([0, 1, 1], [0, 255, 255], [0, 1, 1]),
        ([0, 255, 255], [0, 1, 1], [0, 1, 1]),
        ([0, 255, 255], [0, 65535, 65535], [0, 1, 1]),
        ([0, 7, 7], [0, 255, 255], [0, 1, 1]),  # the only structure there is
    ],
)
def test_white_is_what_it_is_elsewhere(reference, ours, expected):
    labels, _, actual = alike(reference, [ours])
    assert labels == [expected]
    assert list(actual["case"][0].real) == [max(expected)]


# --- rows, plot and page ---


def rows(count, structures=(1, 2), **given):
    return [
        [
            Row(f"case {index}", s, index / count, 0.5, 0.0, 1.0, flagged=index < 2, **given)
            for s in structures
        ]
        for index in range(count)
    ]


def summarised(by_case, structures=(1, 2), **given):
    view = View(np.zeros((8, 9), np.uint8), np.eye(8, 9, dtype=int), (1.0, 2.0), "slice 1 of 2")
    views = {ours[0].case: (view,) * 3 for ours in by_case}
    texts = {"warnings": [], "calibration": "", "method": ""}
    return summary.Summary(by_case, views, {}, structures, [], 0.7, 0.9, **(texts | given))


def size(png):
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


@pytest.mark.parametrize("structures", [(1,), (1, 2), tuple(range(1, 20))])
@pytest.mark.parametrize("count", [1, 200])
def test_any_number_of_cases_and_structures_is_drawn(count, structures):
    picture = plot.plot(summarised(rows(count, structures), structures))
    assert size(picture)[1] <= 1500


def test_what_has_no_interval_or_no_number_is_drawn_and_shown():
    by_case = [
        [Row("$\\frac{ a", 1, 0.4, 0.4, flagged=True, references_used=1), Row("$\\frac{ a", 2)],
        [Row("没有", 2, references_used=0, notes=("no <b>reference</b>",))],
    ]
    ours = summarised(by_case)
    assert size(plot.plot(ours))[0] > 0
    page = predict_page.page(ours, b"")
    assert "no &lt;b&gt;reference&lt;/b&gt;" in page
    assert (
        "1 of 1 predictions are flagged, in 1 of 2 cases (a Dice below 0.7 is a failure)." in page
    )
    assert size(plot.plot(summarised([[Row("a", 1)]])))[0] > 0


def test_a_note_of_all_structures_is_shown_once():
    page = predict_page.page(summarised(rows(1, notes=("of both",))), b"")
    assert page.count("of both") == 1
    two = [[Row("a", 1, notes=("of one",)), Row("a", 2)]]
    assert "Structure 1: of one" in predict_page.page(summarised(two), b"")


def test_contours_lie_on_the_border_of_their_structure():
    labels = np.zeros((20, 10), int)
    labels[5:15, 2:8] = 2
    view = View(np.full((20, 10), 100, np.uint8), labels, (1.0, 2.0), "")
    with Image.open(io.BytesIO(predict_page.overlay(view))) as picture:
        assert picture.size == (320, 320)
        drawn = (np.asarray(picture) != 100).any(axis=-1)
    expected = np.zeros((320, 320), bool)
    expected[80:240, 64:256] = True
    expected[82:238, 66:254] = False
    assert np.array_equal(drawn, expected)


def test_a_file_that_could_not_be_used_has_a_line_of_its_own(tmp_path):
    predict_rows.write(tmp_path / "a.csv", [], [Unused("x\udcff", "said\nin two lines")])
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert text.endswith("\nx\\udcff" + 14 * "," + '"said\nin two lines"\n')
