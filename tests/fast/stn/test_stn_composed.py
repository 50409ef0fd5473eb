import importlib.metadata
import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from pr12.stn.data import composed
from pr12.workflow.errors import UserError


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def bars():
    """Give ten digits that differ: the digit k has a column of ink at k."""
    digits = torch.zeros(10, 8, 12)
    for k in range(10):
        digits[k, 1:7, k + 1] = 1
    return digits, torch.arange(10)


# --- photographs ---


def test_photographs_come_with_the_package_and_serve_one_split_each():
    names = [name for split in composed.PHOTOGRAPHS.values() for name in split]
    assert len(set(names)) == len(names)
    inside = {str(file) for file in importlib.metadata.files("scikit-image")}
    for name in names:
        source = inspect.getsource(getattr(data, name))
        stem = {"stereo_motorcycle": "motorcycle_left"}.get(name, name)
        wanted = [f"skimage/data/{stem}.{suffix}" for suffix in ("png", "jpg")]
        assert any(file in inside for file in wanted), name
        assert "data/" in source


def test_backgrounds_are_parts_of_the_splits_own_photographs(monkeypatch):
    grey = torch.linspace(0.2, 0.4, 80).expand(3, 80, 80)
    monkeypatch.setattr(composed, "photographs", lambda split, size: [grey])
    made = composed.backgrounds(200, "train", 32, stream())
    assert made.shape == (200, 3, 32, 32)
    assert made.min() >= 0.2
    assert made.max() <= 0.4
    slopes = (made[:, 0, 0, 31] - made[:, 0, 0, 0]) / 31 * 79 / 0.2  # photograph pixels per pixel
    assert 0.4 < (slopes > 0).float().mean() < 0.6  # half of them are mirrored
    assert 0.98 < slopes.abs().min() < 1.1
    assert 1.4 < slopes.abs().max() < 1.52
    assert made[:, :, :, 0].min() < 0.22  # the places reach both ends
    assert made.max() > 0.38


def test_photographs_differ_from_split_to_split_in_the_pictures():
    digits = bars()
    made = {
        split: composed.compose(*digits, 40, split, 32, 2, (8.0, 12.0), stream())
        for split in composed.PHOTOGRAPHS
    }
    # The same draws: the same digits at the same places, on other photographs
    assert torch.equal(made["train"][1], made["test"][1])
    assert (made["train"][0] != made["test"][0]).flatten(1).any(dim=1).all()


# --- layout ---


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([32, 64, 128]))
def test_the_ink_of_every_sequence_lies_inside_its_picture(places, seed, size):
    random = stream(seed)
    widths = 0.2 + torch.rand(50, places, generator=random)
    used = torch.arange(places) < torch.randint(1, places + 1, (50, 1), generator=random)
    centres, height, angle = composed.layout(widths, used, size, (10.0, 40.0), random)
    half = torch.stack([widths * height / 2, height / 2], dim=2)
    for sign in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corner = half * torch.tensor(sign)
        x = centres[..., 0] + corner[..., 0] * angle.cos() - corner[..., 1] * angle.sin()
        y = centres[..., 1] + corner[..., 0] * angle.sin() + corner[..., 1] * angle.cos()
        slack = 0.1 * height  # of a turn that makes a corner stick out
        for axis in (x, y):
            assert ((axis > -slack) & (axis < size + slack))[used].all()


def test_digits_run_from_left_to_right_and_do_not_overlap():
    widths, used = torch.ones(100, 3), torch.ones(100, 3, dtype=torch.bool)
    centres, height, angle = composed.layout(widths, used, 64, (10.0, 15.0), stream())
    steps = centres[:, 1:] - centres[:, :-1]
    assert (steps[..., 0] > 0).all()
    assert (steps.norm(dim=2) > 0.85 * height[:, :-1]).all()
    slopes = torch.atan2(steps[..., 1].sum(dim=1), steps[..., 0].sum(dim=1))
    assert slopes.abs().max() < math.radians(15 + 8)
    assert slopes.min() < 0 < slopes.max()
    assert angle.abs().max() <= math.radians(23)
    assert ((height > 10 * 0.9) & (height < 15 * 1.1)).all()


def test_a_sequence_too_long_for_its_picture_is_made_smaller():
    widths, used = torch.ones(50, 5), torch.ones(50, 5, dtype=torch.bool)
    _, height, _ = composed.layout(widths, used, 32, (30.0, 30.0), stream())
    assert height.max() < 32 / 5 * 1.1


# --- masks and paint ---


def test_a_digit_is_drawn_upright_where_it_should():
    digit = torch.zeros(1, 8, 8)
    digit[0, 2:6, 3:5] = 1
    place = torch.tensor([[20.0, 12.0]]), torch.tensor([8.0]), torch.tensor([0.0])
    drawn = composed.masks(digit, composed.ink_boxes(digit), *place, 32)[0]
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    assert float((drawn * x).sum() / drawn.sum()) == pytest.approx(20, abs=0.05)
    assert float((drawn * y).sum() / drawn.sum()) == pytest.approx(12, abs=0.05)
    assert float(drawn.sum()) == pytest.approx(8 * 4, abs=0.5)  # twice the scale: 4 x 2 -> 8 x 4
    assert drawn[8:16, 18:22].min() > 0.5


def test_a_positive_angle_turns_clockwise():
    digit = torch.zeros(1, 8, 8)
    digit[0, 1, 2:6] = digit[0, 6, 3] = 1  # a bar above
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    place = torch.tensor([[16.0, 16.0]]), torch.tensor([16.0]), torch.tensor([math.pi / 2])
    drawn = composed.masks(digit, boxes, *place, 32)[0]
    assert drawn[:, 19:].sum() > 3 * drawn[:, :13].sum()  # the bar is to the right


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 10**6))
def test_digits_stand_out_from_what_is_behind(grey, seed):
    behind = torch.full((20, 3, 4, 4), grey)
    mask = torch.zeros(20, 4, 4)
    mask[:, 1:3, 1:3] = 1
    made = composed.painted(behind, mask, stream(seed))
    outside = mask[:, None].expand_as(made) == 0
    assert torch.equal(made[outside], behind[outside])
    contrast = (made.mean(dim=1) - grey).abs()[mask == 1]
    assert contrast.min() >= composed.CONTRAST - 0.1  # where a tint is cut off at 0 or 1
    assert made.min() >= 0
    assert made.max() <= 1


def test_the_box_of_the_ink_leaves_out_faint_pixels():
    digit = torch.zeros(2, 6, 8)
    digit[0, 2, 5] = digit[1] = 1
    digit[0, 0, 0] = 0.2
    assert composed.ink_boxes(digit).tolist() == [[5, 2, 6, 3], [0, 0, 8, 6]]


def test_a_digit_without_ink_is_told_by_its_number():
    digits = torch.ones(3, 8, 8)
    digits[1] = 0.1
    with pytest.raises(UserError, match="digit 1 has no ink"):
        composed.ink_boxes(digits)


# --- sequences ---


def test_labels_are_digits_then_blanks_and_lengths_are_equally_likely():
    images, labels = composed.compose(*bars(), 1200, "train", 32, 4, (8.0, 12.0), stream())
    assert images.dtype == torch.uint8
    assert images.shape == (1200, 3, 32, 32)
    assert labels.dtype == torch.int64
    blank = labels == composed.BLANK
    assert (blank[:, 1:] | ~blank[:, :-1]).all()  # nothing follows a blank
    lengths = (~blank).sum(dim=1)
    assert lengths.unique().tolist() == [1, 2, 3, 4]
    assert torch.bincount(lengths)[1:].float() == pytest.approx(300, abs=60)
    assert labels[~blank].unique().tolist() == list(range(10))


def test_labels_say_what_is_drawn_from_left_to_right(monkeypatch):
    # On white, two digits of one box: a narrow and a wide bar, faint on both sides
    digits = torch.full((2, 8, 8), 0.3)
    digits[0, :, 3:5] = digits[1, :, 2:6] = 1
    monkeypatch.setattr(composed, "backgrounds", lambda count, *rest: torch.ones(count, 3, 64, 64))
    monkeypatch.setattr(composed, "SLOPE", 0.0)
    monkeypatch.setattr(composed, "TURN", 0.0)
    images, labels = composed.compose(
        digits, torch.tensor([3, 7]), 60, "train", 64, 3, (16.0, 16.0), stream()
    )
    for image, label in zip(images, labels, strict=True):
        dark = 255 - image.float().mean(dim=0)
        column = (dark > 0.65 * dark.max()).any(dim=0).int()
        edges = torch.diff(column, prepend=torch.zeros(1), append=torch.zeros(1)).nonzero()[:, 0]
        wide = edges[1::2] - edges[::2]
        actual = [7 if width > 6 else 3 for width in wide.tolist()]
        assert actual == label[label != 10].tolist(), label


def test_sequences_are_drawn_by_the_stream_alone():
    one, two, other = (
        composed.compose(*bars(), 20, "test", 32, 3, (8.0, 12.0), stream(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])
