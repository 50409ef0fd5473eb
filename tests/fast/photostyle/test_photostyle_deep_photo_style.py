import numpy as np
import pytest
import torch

from pr12.photostyle.model import (
    backbones,
    carried_masks,
    deep_photo_style,
    losses,
    matting,
    network_weights,
    optimise,
)
from pr12.photostyle.model.deep_photo_style import Weights, as_image, as_masks, as_pixels

LAYERS = ["conv1_1", "conv2_1"]
WEIGHTS = Weights(content_layers=["conv2_1"], style_layers=LAYERS, content=2.0, style=30.0)


def photograph(height, width, seed):
    """Give smooth patches of colour with some structure."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(draw.uniform(2, 9) * rows + draw.uniform(2, 9) * columns) for _ in range(3)]
    values = 0.5 + 0.3 * np.stack(waves, axis=-1) + 0.05 * draw.standard_normal((height, width, 3))
    return as_image((values.clip(0, 1) * 255).astype(np.uint8))


def halves(height, width):
    return as_masks((np.arange(height)[:, None] >= height // 2) * np.ones((1, width), int), 2)


@pytest.fixture(scope="module")
def scene():
    content, style = photograph(20, 24, 0), photograph(28, 18, 1)
    network = backbones.cut("vgg19", LAYERS, "max")
    features = network_weights.prepared(network, content, None, 0, "nothing", False)
    target = deep_photo_style.wanted(features, content, style, halves(20, 24), halves(28, 18))
    pixels = content[0].permute(1, 2, 0).numpy()
    return content, style, features, target, matting.as_tensor(matting.laplacian(pixels))


def test_pixels_come_back_as_they_were_for_all_256_values():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    pixels = np.concatenate([values, values[::-1], values.transpose(1, 0, 2)], axis=-1)
    image = as_image(pixels)
    assert image.shape == (1, 3, 16, 16)
    assert image.dtype == torch.float32
    assert (image.min().item(), image.max().item()) == (0, 1)
    np.testing.assert_array_equal(as_pixels(image), pixels)
    np.testing.assert_array_equal(image[0, 1].numpy(), pixels[..., 1] / np.float32(255))


def test_pixels_outside_the_range_are_cut_off():
    image = torch.tensor([-0.2, 0.0, 1.4]).reshape(1, 3, 1, 1)
    assert as_pixels(image.requires_grad_(True)).tolist() == [[[0, 0, 255]]]


def test_masks_of_labels_sum_to_1_and_may_be_empty():
    labels = np.array([[0, 2, 2], [0, 0, 2]], dtype=np.uint8)
    masks = as_masks(labels, 3)
    assert masks.shape == (3, 2, 3)
    assert masks.dtype == torch.float32
    assert torch.equal(masks.sum(dim=0), torch.ones(2, 3))
    assert masks[1].sum() == 0
    assert torch.equal(masks.argmax(dim=0), torch.from_numpy(labels).long())


def test_what_is_wanted_is_made_of_the_features_of_both(scene):
    content, style, features, target, _ = scene
    ours, masks = features(style), carried_masks.carried(features, halves(28, 18))
    for name in LAYERS:
        assert torch.equal(target.content[name], features(content)[name])
        assert target.masks[name].shape == (2, *target.content[name].shape[-2:])
        assert torch.equal(target.grams[name], losses.masked_grams(ours[name], masks[name]))
        assert torch.equal(target.plain_grams[name], losses.gram(ours[name]))
        assert not target.grams[name].requires_grad


@pytest.mark.parametrize("masked", [True, False])
def test_the_parts_with_their_weights_add_up_to_the_loss(scene, masked):
    _, _, features, target, matrix = scene
    image = photograph(20, 24, 5)
    one = deep_photo_style.objective(features, target, WEIGHTS, masked=masked)(image)
    assert list(one) == ["loss", "content", "style"]
    assert one["loss"].item() == pytest.approx(
        2 * one["content"].item() + 30 * one["style"].item(), rel=1e-6
    )
    two = deep_photo_style.objective(features, target, WEIGHTS, 50.0, matrix, masked)(image)
    assert two["photorealism"].item() == matting.photorealism(image, matrix).item() > 0
    assert two["loss"].item() == pytest.approx(
        one["loss"].item() + 50 * two["photorealism"].item(), rel=1e-6
    )


def test_the_parts_are_the_losses_of_the_papers(scene):
    _, _, features, target, _ = scene
    image = photograph(20, 24, 5)
    ours = features(image)
    parts = deep_photo_style.objective(features, target, WEIGHTS)(image)
    squares = (ours["conv2_1"] - target.content["conv2_1"]).square()
    assert parts["content"].item() == pytest.approx(squares.mean().item() / 2, rel=1e-5)
    style = 0.0
    for name in LAYERS:
        masks, filters = target.masks[name], ours[name].shape[1]
        grams = losses.masked_grams(ours[name], masks)
        for number in range(2):
            error = (grams[number] - target.grams[name][number]).square().sum()
            style += error * masks[number].mean() / (2 * filters**2) / len(LAYERS)
    assert parts["style"].item() == pytest.approx(style.item(), rel=1e-5)


def test_content_of_several_layers_is_the_mean_of_what_each_gives_alone(scene):
    # sum_l alpha_l / (2 N_l D_l) ...: a small layer counts as much as a large one
    _, _, features, target, _ = scene
    ours = features(photograph(20, 24, 5))

    def error(layers):
        weights = WEIGHTS._replace(content_layers=layers)
        return deep_photo_style.content_error(ours, target, weights).item()

    alone = [error([name]) for name in LAYERS]
    assert alone[0] != pytest.approx(alone[1], rel=0.1)
    assert error(LAYERS) == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_without_masks_the_style_is_that_of_neural_style(scene):
    _, _, features, target, _ = scene
    image = photograph(20, 24, 5)
    parts = deep_photo_style.objective(features, target, WEIGHTS, masked=False)(image)
    expected = losses.style_loss(features(image), target.plain_grams, LAYERS)
    assert parts["style"].item() == expected.item()
    masked = deep_photo_style.objective(features, target, WEIGHTS)(image)
    assert masked["style"].item() != pytest.approx(parts["style"].item(), rel=1e-3)


def test_one_class_gives_twice_the_neural_style(scene):
    content, style, features, _, _ = scene
    ones = torch.ones(1, 20, 24), torch.ones(1, 28, 18)
    target = deep_photo_style.wanted(features, content, style, *ones)
    image = photograph(20, 24, 5)
    masked, plain = (
        deep_photo_style.objective(features, target, WEIGHTS, masked=masked)(image)["style"].item()
        for masked in (True, False)
    )
    assert masked == pytest.approx(2 * plain, rel=1e-5)


def test_the_content_has_no_content_error_and_the_style_no_style_error(scene):
    content, style, features, target, _ = scene
    assert deep_photo_style.objective(features, target, WEIGHTS)(content)["content"].item() == 0
    ours = deep_photo_style.wanted(features, style, style, halves(28, 18), halves(28, 18))
    for masked in (True, False):
        parts = deep_photo_style.objective(features, ours, WEIGHTS, masked=masked)(style)
        assert parts["style"].item() == 0


def test_a_style_of_twice_the_size_wants_nearly_the_same(scene):
    content, style, features, target, _ = scene
    tiled = style.repeat(1, 1, 1, 2)
    again = deep_photo_style.wanted(features, content, tiled, halves(20, 24), halves(28, 36))
    for name in LAYERS:
        error = (again.grams[name] - target.grams[name]).norm() / target.grams[name].norm()
        assert error < 0.2, name  # the seam; Grams that are not divided would be twice as large


def test_sky_does_not_learn_from_the_ground(scene):
    content, style, features, target, _ = scene
    changed = style.clone()
    changed[..., 25:, :] = 0.0  # no layer sees it from the border of the classes
    other = deep_photo_style.wanted(features, content, changed, halves(20, 24), halves(28, 18))
    for name in LAYERS:
        upper, lower = (target.grams[name] - other.grams[name]).flatten(1).norm(dim=1)
        assert upper < 1e-5 * target.grams[name].norm()
        assert lower > 1e-2 * target.grams[name].norm()


@pytest.mark.slow
def test_a_large_lambda_gives_back_the_structure_of_the_content(scene):
    _, _, features, target, matrix = scene
    start = optimise.noise(20, 24, seed=0)
    first = deep_photo_style.objective(features, target, WEIGHTS)
    *_, stage1 = optimise.minimise(start, first, iterations=30, history=10)
    assert stage1.parts["style"] < 0.2 * first(start)["style"].item()
    ends = []
    for strength in (1.0, 1e7):
        second = deep_photo_style.objective(features, target, WEIGHTS, strength, matrix)
        *_, stage2 = optimise.minimise(stage1.image, second, iterations=40, history=10)
        ends.append(stage2.parts["photorealism"])
    before = matting.photorealism(stage1.image, matrix).item()
    assert ends[1] < 0.05 * before
    assert ends[1] < ends[0]


def test_stage_2_starts_where_stage_1_ended(scene):
    _, _, features, target, matrix = scene
    image = photograph(20, 24, 5)
    first = deep_photo_style.objective(features, target, WEIGHTS)(image)
    second = deep_photo_style.objective(features, target, WEIGHTS, 1e4, matrix)(image)
    assert (first["content"], first["style"]) == (second["content"], second["style"])


def test_the_gradient_of_the_whole_loss_is_that_of_finite_differences(scene):
    _, _, features, target, matrix = scene
    loss = deep_photo_style.objective(features, target, WEIGHTS, 10.0, matrix)
    image = photograph(20, 24, 5).requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(image)["loss"], image)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (loss(image + sign * 0.01 * direction)["loss"] for sign in (1, -1))
    slope = ((ahead - behind) / 0.02).item()
    assert slope == pytest.approx(gradient.norm().item(), rel=0.02)
