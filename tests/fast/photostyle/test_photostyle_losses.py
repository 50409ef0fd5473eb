import numpy as np
import pytest
import torch

from pr12.photostyle.model import losses


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def soft_masks(*shape, seed=1):
    return random(*shape, seed=seed).softmax(dim=0)


def test_gram_is_the_undivided_product_over_the_number_of_positions():
    features = random(1, 4, 3, 5)
    flat = features[0].reshape(4, 15).numpy()
    loops = [[sum(a * b for a, b in zip(i, j, strict=True)) / 15 for j in flat] for i in flat]
    np.testing.assert_allclose(losses.gram(features).numpy(), loops, rtol=1e-12)


def test_gram_does_not_grow_with_the_image():
    features = random(1, 4, 3, 5)
    tiled = features.repeat(1, 1, 2, 3)
    torch.testing.assert_close(losses.gram(tiled), losses.gram(features))


def test_style_loss_is_gatys_printed_formula_for_equal_sizes():
    ours = {"a": random(1, 3, 4, 5), "b": random(1, 6, 2, 2, seed=2)}
    style = {"a": random(1, 3, 4, 5, seed=3), "b": random(1, 6, 2, 2, seed=4)}
    printed = 0.0
    for name, features in ours.items():
        flat, other = features[0].flatten(1), style[name][0].flatten(1)
        filters, positions = flat.shape
        squares = (flat @ flat.T - other @ other.T).square().sum()
        printed += 0.5 * squares / (4 * filters**2 * positions**2)
    grams = {name: losses.gram(features) for name, features in style.items()}
    torch.testing.assert_close(losses.style_loss(ours, grams, ["a", "b"]), printed)


def test_content_loss_is_gatys_printed_formula_and_the_mean_of_layers():
    ours = {"a": torch.tensor([[[[1.0, 2.0]]]]), "b": torch.tensor([[[[5.0]], [[1.0]]]])}
    content = {"a": torch.tensor([[[[0.0, 4.0]]]]), "b": torch.tensor([[[[2.0]], [[1.0]]]])}
    assert losses.content_loss(ours, content, ["a"]).item() == 2.5
    assert losses.content_loss(ours, content, ["b"]).item() == 4.5
    assert losses.content_loss(ours, content, ["a", "b"]).item() == 3.5


def test_style_loss_does_not_see_where_things_are():
    features = random(1, 4, 3, 5)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    moved = features.flatten(2)[..., order].reshape(1, 4, 5, 3)
    grams = {"a": random(4, 4, seed=3)}
    before = losses.style_loss({"a": features}, grams, ["a"])
    torch.testing.assert_close(losses.style_loss({"a": moved}, grams, ["a"]), before)
    assert losses.style_loss({"a": moved}, {"a": losses.gram(features)}, ["a"]) < 1e-25


def test_masked_grams_by_hand_also_of_soft_masks():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    masks = torch.tensor([[[0.5, 1.0]], [[0.5, 0.0]]])
    # first class: columns (0.5, 1.5) and (2, 4), outer products summed, over 1.5
    first = [[(0.25 + 4) / 1.5, (0.75 + 8) / 1.5], [(0.75 + 8) / 1.5, (2.25 + 16) / 1.5]]
    second = [[0.25 / 0.5, 0.75 / 0.5], [0.75 / 0.5, 2.25 / 0.5]]
    expected = torch.tensor([first, second])
    torch.testing.assert_close(losses.masked_grams(features, masks), expected)


def test_masked_gram_of_a_mask_of_ones_is_the_gram():
    features = random(1, 4, 3, 5)
    ones = torch.ones(1, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(losses.masked_grams(features, ones)[0], losses.gram(features))


def test_masked_gram_sees_its_own_class_only():
    features, masks = random(1, 4, 2, 3), torch.zeros(2, 2, 3, dtype=torch.float64)
    masks[0, :, :1], masks[1, :, 1:] = 1, 1
    changed = features.clone()
    changed[..., 1:] += 10
    before, after = losses.masked_grams(features, masks), losses.masked_grams(changed, masks)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])
    torch.testing.assert_close(before[0], losses.gram(features[..., :1]))


def test_a_class_without_pixels_costs_nothing_and_has_a_finite_gradient():
    features = random(1, 4, 2, 3).requires_grad_(True)
    masks = torch.stack([torch.ones(2, 3), torch.zeros(2, 3)]).double()
    grams = losses.masked_grams(features, masks)
    assert torch.equal(grams[1], torch.zeros(4, 4, dtype=torch.float64))
    target = {"a": torch.stack([grams[0].detach(), random(4, 4)])}
    loss = losses.masked_style_loss({"a": features}, {"a": masks}, target, ["a"])
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(features.grad).all()


def test_masked_style_loss_with_one_class_is_twice_the_style_loss():
    features = {"a": random(1, 4, 3, 5), "b": random(1, 2, 2, 2, seed=2)}
    ones = {"a": torch.ones(1, 3, 5).double(), "b": torch.ones(1, 2, 2).double()}
    grams = {"a": random(4, 4, seed=3), "b": random(2, 2, seed=4)}
    of_classes = {name: ours[None] for name, ours in grams.items()}
    masked = losses.masked_style_loss(features, ones, of_classes, ["a", "b"])
    torch.testing.assert_close(masked, 2 * losses.style_loss(features, grams, ["a", "b"]))


def test_a_class_counts_by_its_share_of_the_image():
    features = {"a": torch.ones(1, 1, 1, 4)}
    masks = {"a": torch.tensor([[[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 1.0, 1.0]]])}
    # Grams are 1 and 1; squared errors 4 and 1; shares 1/4 and 3/4; over 2 N^2 = 2
    grams = {"a": torch.tensor([[[3.0]], [[2.0]]])}
    actual = losses.masked_style_loss(features, masks, grams, ["a"]).item()
    assert actual == pytest.approx((4 / 4 + 3 / 4) / 2)


def test_the_unmasked_loss_has_a_cross_term_between_classes_and_the_masked_one_has_none():
    ours, style = random(1, 3, 2, 5), random(1, 3, 2, 5, seed=2)
    masks = torch.zeros(2, 2, 5, dtype=torch.float64)  # sky, building
    masks[0, :, :2], masks[1, :, 2:] = 1, 1
    areas = masks.sum(dim=(1, 2))[:, None, None]
    for features in (ours, style):  # disjoint masks: the Gram is the sum of the classes' Grams
        classes = (losses.masked_grams(features, masks) * areas).sum(dim=0)
        torch.testing.assert_close(10 * losses.gram(features), classes)
    sky, building = (losses.masked_grams(ours, masks) - losses.masked_grams(style, masks)) * areas
    cross = 2 * (sky * building).sum()
    unmasked = (10 * (losses.gram(ours) - losses.gram(style))).square().sum()
    assert abs(cross) > 0.1
    torch.testing.assert_close(unmasked, sky.square().sum() + building.square().sum() + cross)
    grams = losses.masked_grams(style, masks)
    masked = losses.masked_style_loss({"a": ours}, {"a": masks}, {"a": grams}, ["a"])
    without = (sky.square().sum() / 4**2 * 0.4 + building.square().sum() / 6**2 * 0.6) / 18
    torch.testing.assert_close(masked, without)


def test_exchanged_classes_cost_something_only_with_masks():
    features = random(1, 3, 1, 6)
    style = torch.cat([features[..., 3:], features[..., :3]], dim=-1)
    masks = torch.zeros(2, 1, 6, dtype=torch.float64)
    masks[0, :, :3], masks[1, :, 3:] = 1, 1
    plain = losses.style_loss({"a": features}, {"a": losses.gram(style)}, ["a"])
    grams = {"a": losses.masked_grams(style, masks)}
    assert plain < 1e-25
    assert losses.masked_style_loss({"a": features}, {"a": masks}, grams, ["a"]) > 1e-3


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_total_variation_is_a_double_loop(beta):
    image = random(1, 3, 4, 6)
    expected = 0.0
    for plane in image[0].numpy():
        for y in range(3):
            for x in range(5):
                right, below = plane[y, x + 1] - plane[y, x], plane[y + 1, x] - plane[y, x]
                expected += (right**2 + below**2) ** (beta / 2)
    assert losses.total_variation(image, beta).item() == pytest.approx(expected, rel=1e-10)


def test_total_variation_of_a_flat_image_has_a_finite_gradient_at_every_beta():
    for beta in (1.0, 2.0):
        image = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
        losses.total_variation(image, beta).backward()
        assert torch.isfinite(image.grad).all()


def test_alpha_norm_and_inversion_error_by_hand():
    assert losses.alpha_norm(torch.tensor([-2.0, 1.0, 0.0]), alpha=6.0).item() == 65
    target = torch.tensor([3.0, 4.0])
    assert losses.inversion_error(torch.tensor([3.0, -1.0]), target).item() == 1
    assert losses.inversion_error(target, target).item() == 0
    assert losses.inversion_error(torch.zeros(2), target).item() == 1


MASKS = {"a": soft_masks(2, 3, 4)}
# In 3 x 4 pixels: in the middle, with a gap, at one place, and nowhere
HARD = torch.zeros(4, 12, dtype=torch.float64)
HARD[0, 3:6] = HARD[1, [0, 2, 9]] = HARD[2, 11] = 1
CASES = {
    "masked_grams_of_parts": lambda ours: losses.masked_grams(ours, HARD.reshape(4, 3, 4)),
    "gram": losses.gram,
    "masked_grams": lambda ours: losses.masked_grams(ours, MASKS["a"]),
    "content": lambda ours: losses.content_loss(
        {"a": ours}, {"a": random(1, 3, 3, 4, seed=5)}, "a"
    ),
    "style": lambda ours: losses.style_loss({"a": ours}, {"a": random(3, 3, seed=5)}, "a"),
    "masked_style": lambda ours: losses.masked_style_loss(
        {"a": ours}, MASKS, {"a": random(2, 3, 3, seed=5)}, "a"
    ),
    "total_variation_1": lambda ours: losses.total_variation(ours, 1.0),
    "total_variation_2": lambda ours: losses.total_variation(ours, 2.0),
    "alpha_norm": lambda ours: losses.alpha_norm(ours, 6.0),
    "inversion": lambda ours: losses.inversion_error(ours, random(1, 3, 3, 4, seed=5)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    assert torch.autograd.gradcheck(CASES[name], random(1, 3, 3, 4).requires_grad_(True))


def test_rows_that_a_class_leaves_out_change_nothing():
    features, flat = random(1, 3, 3, 4), random(1, 3, 3, 4)[0].flatten(1)
    actual = losses.masked_grams(features, HARD.reshape(4, 3, 4))
    for gram, mask in zip(actual, HARD, strict=True):
        ours = flat[:, mask > 0]
        torch.testing.assert_close(gram, ours @ ours.T / max(1, ours.shape[1]))
