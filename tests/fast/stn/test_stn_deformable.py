import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pr12.core.vision import import_torchvision
from pr12.stn.model import deformable
from pr12.stn.model.deformable import DeformableConv2d, deform_conv2d
from pr12.workflow.errors import UserError


def in_words(images, offsets, weight, bias, stride, padding):
    """Eq. 2 to 4 of Dai et al., one number after the other."""
    number, channels, height, width = images.shape
    outputs, _, taps_y, taps_x = weight.shape
    result = torch.zeros(number, outputs, *offsets.shape[2:], dtype=images.dtype)

    def pixel(n, c, y, x):  # x(p) = sum over q of G(q, p) x(q)
        return sum(
            max(0, 1 - abs(qy - y)) * max(0, 1 - abs(qx - x)) * float(images[n, c, qy, qx])
            for qy in range(height)
            for qx in range(width)
        )

    for n, k, v, u in torch.cartesian_prod(*map(torch.arange, result.shape)).tolist():
        total = 0.0 if bias is None else float(bias[k])
        for i in range(taps_y):
            for j in range(taps_x):
                down, right = offsets[n, 2 * (i * taps_x + j) :, v, u][:2].tolist()
                y, x = v * stride - padding + i + down, u * stride - padding + j + right
                for c in range(channels):
                    total += float(weight[k, c, i, j]) * pixel(n, c, y, x)
        result[n, k, v, u] = total
    return result


def torchvision_operators():
    """Give torchvision's operator, where its compiled library loads."""
    operators = import_torchvision().ops
    try:
        torch.ops.torchvision.deform_conv2d  # noqa: B018
    except AttributeError:
        return []
    return [
        lambda x, o, w, b, stride, padding: operators.deform_conv2d(
            x, o, w, b, stride=stride, padding=padding, dilation=1, mask=None
        )
    ]


ORACLES = [in_words, *torchvision_operators()]


def example(kernel=(3, 3), size=(6, 5), stride=1, padding=0, number=2, spread=1.5):
    generator = torch.Generator().manual_seed(0)
    sides = [(n + 2 * padding - t) // stride + 1 for n, t in zip(size, kernel, strict=True)]

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    offsets = spread * draw(number, 2 * kernel[0] * kernel[1], *sides)
    return draw(number, 2, *size), offsets, draw(3, 2, *kernel), draw(3)


# --- the operator ---


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((3, 3), 1, 0),
        ((3, 3), 1, 1),
        ((3, 3), 2, 1),
        ((2, 3), 1, 0),
        ((1, 1), 3, 0),
        ((5, 2), 2, 2),
    ],
)
def test_it_is_the_equation_of_the_paper(oracle, kernel, stride, padding):
    inputs = example(kernel, stride=stride, padding=padding)
    torch.testing.assert_close(
        deform_conv2d(*inputs, stride, padding), oracle(*inputs, stride, padding)
    )


def test_most_of_that_example_is_between_pixels_and_some_of_it_outside():
    images, offsets, weight, _ = example()
    assert (offsets != offsets.round()).all()
    inside = deform_conv2d(torch.ones_like(images), offsets, torch.ones_like(weight))
    assert (inside < 2 * 9 - 1e-9).float().mean() > 0.5
    assert (inside > 0).all()


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 2), (2, 1), (3, 0)])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (4, 2)])
def test_without_offsets_it_is_a_convolution(kernel, stride, padding):
    images, offsets, weight, bias = example(kernel, (9, 8), stride, padding)
    torch.testing.assert_close(
        deform_conv2d(images, torch.zeros_like(offsets), weight, bias, stride, padding),
        functional.conv2d(images, weight, bias, stride=stride, padding=padding),
    )


@pytest.mark.parametrize(("down", "right"), [(0, 1), (1, 0), (-2, 3), (9, 0)])
def test_the_same_whole_offset_everywhere_is_a_convolution_of_the_shifted_image(down, right):
    images, offsets, weight, bias = example()
    offsets[:, 0::2], offsets[:, 1::2] = down, right
    around = functional.pad(images, (9, 9, 9, 9))
    shifted = around[:, :, 9 + down :, 9 + right :][:, :, :6, :5]
    torch.testing.assert_close(
        deform_conv2d(images, offsets, weight, bias), functional.conv2d(shifted, weight, bias)
    )


def test_each_tap_has_its_own_offset_down_first_in_rows():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    weight = torch.tensor([1.0, 100.0]).reshape(1, 1, 1, 2)  # two taps beside each other
    offsets = torch.zeros(1, 4, 4, 3)
    offsets[0, :, 0, 0] = torch.tensor([2.0, 1.0, 0.0, 2.0])
    # the first tap reads (2, 1), which is 9; the second, at column 1, reads column 3, which is 3
    result = deform_conv2d(image, offsets, weight)
    assert result[0, 0, 0, 0] == 9 + 100 * 3
    assert result[0, 0, 1, 2] == 6 + 100 * 7


def test_between_four_pixels_it_takes_their_weighted_mean():
    image = torch.tensor([[[[0.0, 10.0], [20.0, 40.0]]]])
    offsets = torch.tensor([0.5, 0.25]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    result = deform_conv2d(image, offsets, torch.ones(1, 1, 1, 1))
    # above: 2.5 and below: 25 at a quarter to the right; outside is 0
    assert result[0, 0].tolist() == [[13.75, 0.75 * 25], [12.5, 0.75 * 20]]


def test_gradients_are_those_of_finite_differences():
    inputs = [tensor.requires_grad_() for tensor in example(size=(5, 4), stride=1, padding=1)]
    fraction = inputs[1].detach() % 1
    assert torch.minimum(fraction, 1 - fraction).min() > 1e-5  # away from the kinks
    assert torch.autograd.gradcheck(lambda *given: deform_conv2d(*given, 1, 1), inputs)


def test_offsets_that_start_at_zero_get_the_gradient_to_the_right_and_below():
    image = torch.tensor([[[[1.0, 3.0], [8.0, 0.0]]]])
    offsets = torch.zeros(1, 2, 2, 2, requires_grad=True)
    deform_conv2d(image, offsets, torch.ones(1, 1, 1, 1)).sum().backward()
    assert offsets.grad[0, 0].tolist() == [[7.0, -3.0], [-8.0, 0.0]]
    assert offsets.grad[0, 1].tolist() == [[2.0, -3.0], [-8.0, 0.0]]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(1, 20))
def test_a_batch_is_its_images_one_after_the_other(number, at_once):
    images, offsets, weight, bias = example(number=number)
    before = deformable.IMAGES_AT_ONCE
    deformable.IMAGES_AT_ONCE = at_once
    try:
        together = deform_conv2d(images, offsets, weight, bias)
    finally:
        deformable.IMAGES_AT_ONCE = before
    assert together.shape == (number, 3, 4, 3)
    for i in range(number):
        torch.testing.assert_close(
            together[i : i + 1],
            deform_conv2d(images[i : i + 1], offsets[i : i + 1], weight, bias),
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_offset_that_is_not_finite_shows_in_the_result_and_nowhere_else(value):
    images, offsets, weight, bias = example()
    whole = deform_conv2d(images, offsets, weight, bias)
    offsets[1, 4, 2, 1] = value
    result = deform_conv2d(images, offsets, weight, bias)
    wrong = torch.zeros_like(whole, dtype=torch.bool)
    wrong[1, :, 2, 1] = True
    assert torch.equal(~result.isfinite(), wrong)
    assert torch.equal(result[~wrong], whole[~wrong])


def test_far_outside_is_zero():
    images, offsets, weight, bias = example()
    result = deform_conv2d(images, offsets + 1e10, weight, bias)
    torch.testing.assert_close(result, bias.view(1, 3, 1, 1).expand_as(result))


def test_memory_layouts_do_not_matter():
    images, offsets, weight, bias = example()
    last = {"memory_format": torch.channels_last}
    result = deform_conv2d(images.to(**last), offsets.to(**last), weight.to(**last), bias)
    torch.testing.assert_close(result, deform_conv2d(images, offsets, weight, bias))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(2, 6, 5)}, r"images \(N, C, H, W\).*it got \(2, 6, 5\)"),
        ({"weight": torch.zeros(3, 2, 3)}, r"weights \(K, C, h, w\).* and \(3, 2, 3\)"),
        ({"images": torch.zeros(2, 4, 6, 5)}, "images have 4 channels; .* reads 2"),
        ({"images": torch.zeros(2, 2, 6, 2)}, "6 x 2 pixels .* smaller than the kernel of 3 x 3"),
        ({"images": torch.zeros(2, 2, 1, 5)}, "1 x 5 pixels .* smaller than the kernel of 3 x 3"),
        ({"images": torch.zeros(1, 2, 6, 5)}, r"offsets .*\(2, 18, 4, 3\).* be \(1, 18, 4, 3\)"),
        ({"offsets": torch.zeros(2, 9, 4, 3)}, r"offsets .*\(2, 9, 4, 3\).* be \(2, 18, 4, 3\)"),
        ({"offsets": torch.zeros(2, 18, 6, 5)}, r"offsets .* be \(2, 18, 4, 3\)"),
        ({"padding": 1}, r"offsets .*\(2, 18, 4, 3\).* be \(2, 18, 6, 5\)"),
        ({"bias": torch.zeros(2)}, r"bias has the shape \(2,\); it must be \(3,\)"),
        ({"stride": 0}, "a stride of 0 with a padding of 0"),
        ({"padding": -1}, "a stride of 1 with a padding of -1"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, message):
    names = ("images", "offsets", "weight", "bias")
    inputs = {**dict(zip(names, example(), strict=True)), "stride": 1, "padding": 0, **change}
    with pytest.raises(UserError, match=message):
        deform_conv2d(**inputs)


# --- the layer ---


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 2), (2, 0), (2, 1)])
def test_a_new_layer_is_the_convolution_of_the_same_seed(kernel, stride, padding):
    torch.manual_seed(0)
    layer = DeformableConv2d(3, 4, kernel, stride, padding)
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, kernel, stride=stride, padding=padding)
    images = torch.rand(2, 3, 9, 8)
    torch.testing.assert_close(layer(images), plain(images))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_offsets_are_read_off_the_middle_of_each_window(kernel):
    layer = DeformableConv2d(1, 1, kernel).double()
    nn.init.ones_(layer.offsets.weight)
    images = torch.zeros(1, 1, kernel + 2, kernel + 2, dtype=torch.float64)
    seen = torch.zeros_like(images, requires_grad=True)
    layer.offsets(functional.pad(seen, layer.margins))[0, 0, 1, 2].backward()
    middle = kernel // 2
    expected = torch.zeros_like(images)
    expected[0, 0, middle : middle + 3, middle + 1 : middle + 4] = 1
    assert torch.equal(seen.grad, expected)


def test_the_first_step_moves_the_taps():
    torch.manual_seed(0)
    layer = DeformableConv2d(2, 3, 3)
    images = torch.rand(4, 2, 8, 8)
    layer(images).square().sum().backward()
    assert all(parameter.grad.abs().max() > 1e-3 for parameter in layer.parameters())


def test_taps_learn_where_to_read():
    torch.manual_seed(0)
    layer = DeformableConv2d(1, 1, 1)
    nn.init.ones_(layer.convolution.weight)
    nn.init.zeros_(layer.convolution.bias)
    image = torch.linspace(0, 1, 24).repeat(24, 1)[None, None]
    wanted = functional.pad(image, (0, 2))[..., 2:]  # two pixels to the right
    optimiser = torch.optim.Adam([layer.offsets.bias], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        (layer(image) - wanted)[..., :-4].square().mean().backward()
        optimiser.step()
    assert layer.offsets.bias[1].item() == pytest.approx(2, abs=0.1)
    assert layer.offsets.bias[0].item() == pytest.approx(0, abs=0.1)


def test_gradients_of_the_layer_are_those_of_finite_differences():
    torch.manual_seed(0)
    layer = DeformableConv2d(1, 2, 3, padding=1).double()
    nn.init.normal_(layer.offsets.weight, std=0.3)
    nn.init.normal_(layer.offsets.bias, std=0.3)
    images = torch.rand(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (images,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_places_keep_the_bits_of_float32(dtype):
    layer = DeformableConv2d(1, 1, 1)
    nn.init.ones_(layer.convolution.weight)
    nn.init.zeros_(layer.convolution.bias)
    with torch.no_grad():
        layer.offsets.bias.copy_(torch.tensor([0.0, 0.25]))
    image = (torch.arange(400) % 2).to(dtype).repeat(2, 1)[None, None]  # 0, 1, 0, 1, ...
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer(image)
    assert result.dtype == torch.bfloat16
    # beyond column 256 bfloat16 knows no quarters: the result would be 0 or 1
    assert result[0, 0, 0, :-1].tolist() == [0.25, 0.75] * 199 + [0.25]
    result.float().sum().backward()
    assert layer.offsets.bias.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 4, 9), "4 x 9 pixels .* smaller than the kernel of 5 x 5"),
        (torch.zeros(2, 1, 9, 9), "images have 1 channels; .* reads 3"),
        (torch.zeros(3, 9, 9), r"it got \(3, 9, 9\)"),
    ],
)
def test_images_that_the_layer_cannot_read_are_named(images, message):
    with pytest.raises(UserError, match=message):
        DeformableConv2d(3, 4, 5)(images)
