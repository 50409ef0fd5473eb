import math

import pytest
import torch
from torch.nn import functional

from pr12.stn.data import generated_parts
from pr12.stn.data.generated_parts import PERIOD, RADIUS, bar, disc, draw, radius
from pr12.workflow.errors import UserError


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def disc_on_black(kind, size=64, phase=0.0):
    one = {"place": torch.zeros(1, 2), "colour": torch.full((1, 3), 0.5)}
    made = disc(
        torch.zeros(1, 3, size, size), **one, kind=torch.tensor([kind]), phase=torch.tensor([phase])
    )
    return made[0, 0]


def stripes(half):
    """Tell whether the stripes of a half disc stand upright or lie across."""
    return "upright" if half.std(dim=1).mean() > half.std(dim=0).mean() else "across"


@pytest.mark.parametrize(
    ("kind", "upper", "lower"),
    [
        (0, "upright", "upright"),
        (1, "upright", "across"),
        (2, "across", "upright"),
        (3, "across", "across"),
    ],
)
def test_a_kind_is_the_directions_of_stripes_in_both_halves(kind, upper, lower):
    made = disc_on_black(kind)
    middle = slice(30, 34)
    assert stripes(made[29:32, middle]) == upper
    assert stripes(made[32:35, middle]) == lower


def test_stripes_repeat_and_start_at_the_phase():
    # Across the upper half: the value is base colour + contrast sin(2 pi (row / period + phase))
    made = disc_on_black(2, phase=0.3)
    rows = torch.arange(29, 32)
    expected = 0.5 + generated_parts.CONTRAST * torch.sin(
        2 * math.pi * (rows / PERIOD + torch.tensor(0.3))
    )
    assert torch.allclose(made[29:32, 32], expected, atol=1e-5)


def test_a_disc_covers_its_radius_in_pixels_and_nothing_else():
    covered = disc(
        torch.full((1, 3, 40, 40), 9.0), torch.zeros(1, 2), torch.zeros(1, 3), torch.tensor([0]),
        torch.zeros(1),
    )[0, 0] < 8.9  # fmt: skip
    area = math.pi * RADIUS**2
    assert area * 0.8 < covered.sum() < area * 1.8
    rows, columns = covered.nonzero().unbind(dim=1)
    assert rows.min() >= 20 - RADIUS - 1
    assert columns.max() < 20 + RADIUS + 1


def test_a_bar_goes_from_end_to_end():
    ends = torch.tensor([[[-0.5, -0.5], [0.5, 0.5]]])
    made = bar(torch.zeros(1, 3, 32, 32), ends, torch.ones(1, 3))[0, 0]
    on = [made[i, i].item() for i in range(32)]
    assert on[8:24] == [1.0] * 16
    assert on[:6] == [0.0] * 6
    assert on[26:] == [0.0] * 6
    assert made[4, 28] == 0


def test_images_are_drawn_by_the_stream_alone():
    one, same, other = draw(30, 40, stream()), draw(30, 40, stream()), draw(30, 40, stream(1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.images, other.images)
    assert one.images.dtype == torch.uint8
    assert one.images.shape == (30, 3, 40, 40)
    assert len(one.images.flatten(1).unique(dim=0)) == 30


def test_more_images_than_are_drawn_at_once():
    made = draw(2 * generated_parts.AT_ONCE + 3, 32, stream())
    assert [len(each) for each in made] == [2 * generated_parts.AT_ONCE + 3] * 3


def test_all_classes_come_about_equally_often():
    counts = draw(1600, 32, stream()).labels.bincount(minlength=generated_parts.CLASSES)
    assert counts.min() > 60  # of 100 expected
    assert counts.max() < 145


def test_parts_lie_where_places_say():
    made = draw(200, 64, stream())
    x, y = made.places.unbind(dim=2)
    assert x[:, 0].max() <= -0.2
    assert x[:, 1].min() >= 0.2
    assert made.places.abs().max() <= 0.8
    assert y.std(dim=0).min() > 0.3
    # At its place the left part is red, the right one blue
    centres = made.places[:, :, None]  # (N, 2, 1, 2)
    seen = functional.grid_sample(
        made.images.float(), centres, mode="bilinear", padding_mode="zeros", align_corners=False
    )[..., 0]  # (N, 3, 2)
    assert (seen[:, 0, 0] > seen[:, 2, 0]).float().mean() > 0.95
    assert (seen[:, 2, 1] > seen[:, 0, 1]).float().mean() > 0.95


def test_the_class_is_hardly_seen_at_half_the_resolution():
    # The contrast of endless stripes, before and after: see the module's text
    angle = 2 * math.pi * torch.arange(240) / PERIOD
    image = torch.sin(angle).expand(1, 1, 240, 240)
    half = functional.interpolate(
        image, (120, 120), mode="bilinear", align_corners=False, antialias=True
    )
    lost = half[..., 20:-20, 20:-20].std() / image.std()
    assert lost < 0.2


def test_a_part_has_the_same_pixels_whatever_the_image():
    assert radius(40) * 40 == radius(64) * 64 == 2 * RADIUS


def test_images_too_small_for_an_object_are_refused():
    with pytest.raises(UserError, match="size is 31; objects need images of 32 pixels or more"):
        draw(1, 31, stream())
