import math

import pytest
import torch

from pr12.stn.model import colocalisation, distortions, embedding
from pr12.workflow.errors import UserError


def triplets_by_hand(actual, elsewhere, margin):
    hinges = [
        max(0.0, float((a - b).square().sum() - (a - r).square().sum()) + margin)
        for n, (a, r) in enumerate(zip(actual, elsewhere, strict=True))
        for m, b in enumerate(actual)
        if m != n
    ]
    return sum(hinges) / len(hinges)


# --- the hinge ---


@pytest.mark.parametrize("margin", [0.5, 1.0, 30.0])
def test_the_hinge_is_the_mean_over_all_ordered_pairs(margin):
    draw = torch.Generator().manual_seed(0)
    actual, elsewhere = (torch.randn(5, 3, generator=draw) for _ in "ab")
    expected = triplets_by_hand(actual, elsewhere, margin)
    assert float(colocalisation.triplet_hinge(actual, elsewhere, margin)) == pytest.approx(
        expected, rel=1e-5
    )


def test_the_hinge_is_the_margin_where_all_crops_are_empty_and_0_where_random_ones_are_far():
    empty = torch.zeros(4, 3)
    assert float(colocalisation.triplet_hinge(empty, empty, 1.0)) == 1.0
    assert float(colocalisation.triplet_hinge(empty, empty + 1, 1.0)) == 0.0


def test_the_gradient_goes_into_the_first_window_of_a_pair_alone():
    actual = torch.tensor([[1.0], [4.0]], requires_grad=True)
    elsewhere = torch.tensor([[0.0], [3.0]])
    colocalisation.triplet_hinge(actual, elsewhere, 1.0).backward()
    # d/da ((a - b)^2 - (a - r)^2) / 2 pairs = r - b with b held: 0 - 4 and 3 - 1
    assert actual.grad.flatten().tolist() == [-4.0, 2.0]


# --- boxes ---


def test_the_window_of_a_placed_digit_covers_its_box_and_crops_the_digit():
    digits = torch.rand(6, 28, 28, generator=torch.Generator().manual_seed(0))
    canvases, corners = distortions.placed(digits, 84, torch.Generator().manual_seed(1))
    true = colocalisation.digit_boxes(corners)
    centre = (true[:, :2] + true[:, 2:]) / 2 / 42 - 1
    windows = torch.cat([torch.full((6, 1), 28 / 84), centre], dim=1)
    assert torch.allclose(colocalisation.boxes(windows), true, atol=1e-4)
    assert torch.allclose(colocalisation.crops(canvases[:, None], windows)[:, 0], digits, atol=1e-3)


def test_a_mirrored_window_covers_the_same_box():
    windows = torch.tensor([[0.3, 0.1, -0.2], [-0.3, 0.1, -0.2]])
    one, other = colocalisation.boxes(windows)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 4, 4], 1.0),
        ([2, 0, 6, 4], 1 / 3),
        ([1, 1, 3, 3], 0.25),
        ([4, 0, 8, 4], 0.0),  # side by side
        ([5, 5, 6, 6], 0.0),  # apart in both directions: two negative lengths
    ],
)
def test_overlap_by_hand(other, expected):
    one, two = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([other]).float()
    assert float(colocalisation.overlap(one, two)) == pytest.approx(expected)
    assert float(colocalisation.overlap(two, one)) == pytest.approx(expected)


def test_half_an_overlap_is_not_right():
    assert colocalisation.correct_percent(torch.tensor([0.5, 0.500001, 0.0, 1.0])) == 50.0


def test_random_windows_are_digit_sized_and_reach_the_borders_but_not_beyond():
    windows = colocalisation.random_windows(20_000, torch.Generator().manual_seed(0))
    boxes = colocalisation.boxes(windows)
    assert torch.allclose(boxes[:, 2:] - boxes[:, :2], torch.tensor(28.0), atol=1e-3)
    assert -1e-4 < float(boxes.min()) < 0.1
    assert 83.9 < float(boxes.max()) < 84 + 1e-4


def test_jitter_shifts_whole_pixels_both_ways_and_fills_with_dark():
    canvases = torch.zeros(2000, 1, 9, 9)
    canvases[:, 0, 4, 4] = 1
    canvases[:, 0, 0, 0] = 2  # leaves at shifts up or left
    shifted = colocalisation.jittered(canvases, 2, torch.Generator().manual_seed(0))
    places = (shifted[:, 0] == 1).nonzero()
    assert len(places) == 2000
    counts = torch.bincount((places[:, 1] - 2) * 5 + places[:, 2] - 2, minlength=25)
    assert len(counts) == 25
    assert counts.min() > 40  # 80 on average
    down = (places[:, 1:] >= 4).all(dim=1)
    assert torch.equal((shifted == 2).flatten(1).any(dim=1), down)


def test_jitter_of_no_pixels_draws_nothing():
    canvases = torch.rand(2, 1, 9, 9)
    stream = torch.Generator().manual_seed(0)
    before = stream.get_state()
    assert torch.equal(colocalisation.jittered(canvases, 0, stream), canvases)
    assert torch.equal(stream.get_state(), before)


# --- the transformer ---


@pytest.mark.parametrize(("stride", "parameters"), [(1, 93_179), (2, 23_867), (4, 5_947)])
def test_sizes_of_the_localisation_net(stride, parameters):
    net = colocalisation.localiser(torch.rand(2, 1, 84, 84), stride, 0.02)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    crops, theta = net(torch.rand(3, 1, 84, 84))
    assert crops.shape == (3, 1, 28, 28)
    assert theta.shape == (3, 3)


def test_every_window_starts_in_the_middle_and_shows_its_pixels_as_they_are():
    canvases = torch.rand(3, 1, 84, 84, generator=torch.Generator().manual_seed(0))
    crops, theta = colocalisation.localiser(canvases, 4, 0.02)(canvases)
    assert torch.allclose(crops, canvases[:, :, 28:56, 28:56], atol=1e-3)
    assert torch.allclose(theta, torch.tensor([1 / 3, 0, 0]))


def test_the_scale_moves_at_its_own_rate():
    layer = colocalisation.Window(2, 0.5, 0.1)
    with torch.no_grad():
        layer.bias.fill_(1.0)
    moved = pytest.approx(0.5 * math.tanh(1.0))
    assert layer(torch.zeros(1, 2)).tolist() == [[pytest.approx(0.6), moved, moved]]


@pytest.mark.parametrize("far", [-50.0, 50.0])
def test_a_window_of_its_first_size_stays_on_the_canvas(far):
    layer = colocalisation.Window(2, colocalisation.CROP, 0.0)
    with torch.no_grad():
        layer.bias.fill_(far)
    boxes = colocalisation.boxes(layer(torch.zeros(1, 2)))
    assert boxes.min() > -1e-4
    assert boxes.max() < 84 + 1e-4


def test_a_dark_canvas_is_standardised_to_numbers():
    dark = torch.zeros(2, 1, 84, 84)
    assert torch.isfinite(colocalisation.Standardise(dark)(dark)).all()


# --- the embedding ---


def prototypes(count):
    draw = torch.Generator().manual_seed(0)
    one = torch.rand(10, 28, 28, generator=draw)
    labels = torch.arange(count) % 10
    return (one[labels] + 0.1 * torch.rand(count, 28, 28, generator=draw)) / 1.1, labels


@pytest.fixture(scope="module")
def trained():
    return embedding.train_classifier(*prototypes(100), 0, 4, 60, 20, 0.01, False)


def test_the_classifier_learns_and_is_frozen(trained):
    assert embedding.accuracy(trained, *prototypes(100)) > 90
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_one_seed_gives_one_classifier_and_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    one, two, other = (
        embedding.train_classifier(*prototypes(20), seed, 4, 2, 4, 0.01, False)
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.last.weight, two.last.weight)
    assert not torch.equal(one.last.weight, other.last.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_empty_crop_is_at_0_and_nothing_is_longer_than_the_length(trained):
    digits, _ = prototypes(50)
    e = embedding.measured(trained, digits, 3.0, False)
    lengths = e(torch.cat([digits, 100 * digits])[:, None]).norm(dim=1)
    assert float(e(torch.zeros(1, 1, 28, 28)).abs().max()) == 0
    assert float(lengths.max()) <= 3 + 1e-4
    assert lengths[50:].tolist() == pytest.approx([3.0] * 50, rel=1e-4)
    assert float(lengths[:50].square().mean()) == pytest.approx(9, rel=0.2)


def test_shorter_activations_keep_their_lengths(trained):
    digits, _ = prototypes(50)
    e = embedding.measured(trained, digits, 3.0, False)
    faint = 0.2 * digits[:1, None]
    first = trained.hidden(faint)[0] - trained.hidden(torch.zeros(1, 1, 28, 28))[0]
    expected = first / e.typical[0] * 3 / 3**0.5
    assert torch.allclose(e(faint)[:, : first.shape[1]], expected, atol=1e-5)


@pytest.mark.parametrize("brightness", [0.0, 1.0])
def test_crops_have_a_finite_gradient_also_where_they_are_empty(trained, brightness):
    digits, _ = prototypes(50)
    e = embedding.measured(trained, digits, 3.0, False)
    crops = (brightness * digits[:2, None]).requires_grad_()
    e(crops).sum().backward()
    assert torch.isfinite(crops.grad).all()


def test_a_layer_that_answers_to_nothing_is_refused(trained):
    with pytest.raises(UserError, match="a layer of the embedding answers to no training digit"):
        embedding.measured(trained, torch.zeros(3, 28, 28), 1.0, False)


def test_a_classifier_whose_loss_is_lost_is_refused():
    digits, labels = prototypes(20)
    with pytest.raises(UserError, match=r"seed 7.*lower embedding_learning_rate"):
        embedding.train_classifier(digits, labels, 7, 4, 8, 20, 1e30, False)
