import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pr12.distill.model import batches
from pr12.workflow.errors import UserError


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


LABELS = torch.arange(100) % 10


@given(
    classes=st.sets(st.integers(0, 9), min_size=1),
    fraction=st.floats(0.1, 1.0, allow_nan=False),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_transfer_sets_hold_the_right_share_of_the_allowed_classes(classes, fraction):
    n = 10 * len(classes)
    indices = batches.transfer_indices(LABELS, sorted(classes), fraction, streams(0, 1))
    assert indices.shape == (2, round(fraction * n))
    assert set(LABELS[indices].unique().tolist()) <= classes
    assert all(len(set(ours.tolist())) == len(ours) for ours in indices)


def test_every_replica_has_its_own_subset():
    indices = batches.transfer_indices(LABELS, range(10), 0.3, streams(0, 1))
    assert set(indices[0].tolist()) != set(indices[1].tolist())


@pytest.mark.parametrize(
    ("classes", "fraction", "words"),
    [([3, 12], 1.0, "transfer_classes names 12, of which"), ([3], 0.01, "leave nothing of 10")],
)
def test_an_empty_transfer_set_is_one_sentence(classes, fraction, words):
    with pytest.raises(UserError, match=words):
        batches.transfer_indices(LABELS, classes, fraction, streams(0))


@pytest.mark.parametrize("n", [1, 3, 7, 10, 100])
def test_an_epoch_is_as_long_as_the_training_set_and_uses_all_equally(n):
    indices = batches.transfer_indices(LABELS, range(10), n / 100, streams(0, 1))
    order = batches.epoch_order(indices, 100, streams(2, 3))
    assert order.shape == (2, 100)
    for ours, allowed in zip(order, indices, strict=True):
        counts = torch.bincount(ours, minlength=100)
        assert set(counts.nonzero().flatten().tolist()) == set(allowed.tolist())
        assert counts[allowed].max() - counts[allowed].min() <= 100 % n > 0 or 100 % n == 0
        assert counts[allowed].max() == -(-100 // n)


def test_epochs_differ_in_order():
    generators = streams(0)
    first, second = (batches.epoch_order(torch.arange(50)[None], 50, generators) for _ in range(2))
    assert (first != second).any()
    assert (first.sort().values == second.sort().values).all()


@pytest.mark.parametrize("jitter", [1, 2])
def test_jitter_against_a_loop_over_pixels(jitter):
    images = torch.rand(6, 4, 3, generator=streams(9)[0])
    padded = torch.nn.functional.pad(images, (jitter,) * 4)
    rows = torch.tensor([[0, 5, 5, 2], [1, 1, 3, 4]])
    actual = batches.jittered(padded, rows, jitter, streams(0, 1))
    for replica, generator in enumerate(streams(0, 1)):
        places = torch.randint(2 * jitter + 1, (4, 2), generator=generator).tolist()
        for place, (row, (top, left)) in enumerate(zip(rows[replica], places, strict=True)):
            expected = torch.zeros(4, 3)
            for y, x in itertools.product(range(4), range(3)):
                source_y, source_x = y + top - jitter, x + left - jitter
                if 0 <= source_y < 4 and 0 <= source_x < 3:
                    expected[y, x] = images[row, source_y, source_x]
            assert (actual[replica, place].reshape(4, 3) == expected).all()


def test_all_shifts_up_to_the_jitter_occur_equally_often():
    image = torch.zeros(1, 5, 5)
    image[0, 2, 2] = 1
    padded = torch.nn.functional.pad(image, (2,) * 4)
    rows = torch.zeros(1, 25_000, dtype=torch.int64)
    where = batches.jittered(padded, rows, 2, streams(0))[0].argmax(dim=1)
    counts = torch.bincount(where, minlength=25).double()
    assert counts.min() > 850
    assert counts.max() < 1150


def test_without_jitter_images_are_taken_as_they_are():
    images = torch.rand(6, 4, 3, generator=streams(9)[0])
    rows = torch.tensor([[5, 0]])
    assert (batches.jittered(images, rows, 0, streams(0)) == images[rows].flatten(2)).all()


def test_dropout_keeps_its_share_and_the_expected_value():
    rates = (0.0, 0.2, 0.5, 0.9)
    masks = batches.dropout_masks([400] * 4, rates, 500, streams(0, 1))
    for mask, rate in zip(masks, rates, strict=True):
        assert mask.shape == (2, 500, 400)
        kept = mask > 0
        assert kept.double().mean().item() == pytest.approx(1 - rate, abs=0.003)
        exact = 1 - round(256 * rate) / 256  # rates are multiples of 1/256
        assert mask[kept].unique().tolist() == [pytest.approx(1 / exact)]
        assert mask.mean().item() == pytest.approx(1, abs=0.012)
    assert (masks[0] == 1).all()
    assert (masks[2][0] != masks[2][1]).any()  # each replica its own
    assert (masks[2][0] > 0).double().mean(dim=0).std() < 0.05  # and no unit is favoured


def test_nothing_is_drawn_where_nothing_is_dropped():
    (generator,) = streams(0)
    before = generator.get_state()
    assert batches.dropout_masks([4, 3], [0.0, 0.0], 2, [generator]) is None
    assert (generator.get_state() == before).all()


@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_units_that_fill_no_whole_word_have_masks_too(count):
    (mask,) = batches.dropout_masks([count], [0.5], 3, streams(0))
    assert mask.shape == (1, 3, count)
    assert set(mask.flatten().tolist()) <= {0.0, 2.0}


def test_each_replica_draws_the_same_alone_and_in_a_stack():
    padded = torch.rand(20, 6, 6, generator=streams(9)[0])
    rows = torch.arange(20)[None].repeat(3, 1)
    draws = {
        "subset": lambda s: batches.transfer_indices(LABELS, range(5), 0.5, s),
        "order": lambda s: batches.epoch_order(torch.arange(9).repeat(len(s), 1), 20, s),
        "jitter": lambda s: batches.jittered(padded, rows[: len(s)], 1, s),
        "dropout": lambda s: batches.dropout_masks([30], [0.3], 4, s)[0],
    }
    for name, draw in draws.items():
        together = draw(streams(5, 6, 7))
        for replica, seed in enumerate((5, 6, 7)):
            assert (draw(streams(seed))[0] == together[replica]).all(), name


def test_max_norm_against_torchs_renorm():
    weight = torch.randn(3, 8, 5, generator=streams(0)[0])
    expected = torch.stack([torch.renorm(ours, p=2, dim=1, maxnorm=2.5) for ours in weight])
    before = weight.clone()
    batches.limit_norms(weight, 2.5)
    torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)
    norms = before.norm(dim=1)
    assert (norms > 2.5).any()
    assert (norms < 2.5).any()
    untouched = (norms < 2.5)[:, None, :].expand_as(before)
    assert (weight[untouched] == before[untouched]).all()


def test_max_norm_of_units_without_weights_is_no_division_by_zero():
    weight = torch.zeros(1, 3, 2)
    batches.limit_norms(weight, 1.0)
    assert (weight == 0).all()
