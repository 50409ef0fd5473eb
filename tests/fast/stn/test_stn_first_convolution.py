import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from pr12.stn.model import first_convolution
from pr12.stn.model.first_convolution import FirstConv2d, input_gradient

# channels, filters, kernel, rows, columns
SHAPES = [
    (1, 4, 9, 20, 20),
    (2, 3, 3, 7, 5),
    (3, 1, (2, 4), 6, 9),
    (1, 8, 1, 4, 4),
    (2, 2, 5, 5, 5),
]


def pair(channels, filters, kernel, dtype=torch.float64):
    """Give our layer and torch's, with the same weights."""
    torch.manual_seed(0)
    ours = FirstConv2d(channels, filters, kernel).to(dtype)
    plain = nn.Conv2d(channels, filters, kernel).to(dtype)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def results(layer, images, given):
    """Give the output, and the gradients for input, weight and bias."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    output = layer(images)
    output.backward(given.to(output.dtype))
    return output.detach(), images.grad, layer.weight.grad.clone(), layer.bias.grad.clone()


def inputs(shape, dtype=torch.float64):
    channels, filters, kernel, rows, columns = shape
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    images = torch.randn(3, channels, rows, columns, dtype=dtype)
    return images, torch.randn(3, filters, rows - height + 1, columns - width + 1, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_value_and_gradients_are_those_of_conv2d(shape, layout):
    ours, plain = (layer.to(memory_format=layout) for layer in pair(*shape[:3]))
    images, given = inputs(shape)
    images, given = images.contiguous(memory_format=layout), given.contiguous(memory_format=layout)
    for mine, expected in zip(
        results(ours, images, given), results(plain, images, given), strict=True
    ):
        assert mine.dtype == torch.float64
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_gradients_are_those_of_finite_differences(shape):
    ours, _ = pair(*shape[:3])
    images, _ = inputs(shape)
    images = images[:2].requires_grad_()

    def call(images, weight, bias):
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, (images,))

    assert torch.autograd.gradcheck(call, (images, ours.weight, ours.bias), fast_mode=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_input_gradient_is_a_transposed_convolution(shape):
    _, plain = pair(*shape[:3])
    _, given = inputs(shape)
    expected = functional.conv_transpose2d(given, plain.weight)
    torch.testing.assert_close(
        input_gradient(given, plain.weight), expected, rtol=1e-12, atol=1e-12
    )


def test_the_input_gradient_by_hand():
    given = torch.tensor([[[[1.0, 10.0]]]])
    weight = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert input_gradient(given, weight).tolist() == [[[[1, 12, 20], [3, 34, 40]]]]


def test_two_images_do_not_mix():
    ours, _ = pair(2, 3, 3)
    images, given = inputs(SHAPES[1])
    given[1:] = 0
    _, gradient, *_ = results(ours, images, given)
    assert gradient[0].all()
    assert not gradient[1:].any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_under_autocast_it_is_as_near_to_the_truth_as_conv2d(shape):
    images, given = inputs(shape, torch.float32)
    truth = results(pair(*shape[:3])[1], images.double(), given.double())
    actual = []
    for layer in pair(*shape[:3], torch.float32):
        images_, layer_ = images.clone().requires_grad_(), copy.deepcopy(layer)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer_(images_)
        assert output.dtype == torch.bfloat16
        output.backward(given.to(output.dtype))
        gradients = (images_.grad, layer_.weight.grad, layer_.bias.grad)
        assert [gradient.dtype for gradient in gradients] == [torch.float32] * 3
        actual.append((output.float(), *gradients))
    for mine, theirs, true in zip(*actual, truth, strict=True):
        largest = true.abs().max()
        assert (mine - true).abs().max() < 0.02 * largest
        assert (mine - true).norm() < 1.5 * (theirs - true).norm() + 0.001 * true.norm()


def test_without_autocast_nothing_is_rounded():
    ours, plain = pair(1, 4, 9, torch.float32)
    images = torch.randn(2, 1, 28, 28)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        torch.testing.assert_close(ours(images), plain(images))


def test_an_input_without_a_gradient_is_not_given_one(monkeypatch):

    calls = []
    monkeypatch.setattr(
        first_convolution,
        "input_gradient",
        lambda *given: calls.append(1) or input_gradient(*given),
    )
    ours, _ = pair(1, 4, 3)
    images = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    ours(images).sum().backward()
    assert not calls
    ours(images.requires_grad_()).sum().backward()
    assert len(calls) == 1


def test_it_works_where_nothing_is_recorded():
    ours, plain = pair(1, 4, 9, torch.float32)
    images = torch.randn(2, 1, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), plain(images))


def test_its_parameters_are_drawn_and_named_as_those_of_conv2d():
    torch.manual_seed(5)
    ours = FirstConv2d(1, 4, 9).state_dict()
    torch.manual_seed(5)
    plain = nn.Conv2d(1, 4, 9).state_dict()
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], value) for name, value in plain.items())


def test_the_same_numbers_come_out_each_time():
    ours, _ = pair(1, 8, 9, torch.float32)
    images, given = (tensor.float() for tensor in inputs((1, 8, 9, 28, 28)))
    one, two = (results(ours, images, given) for _ in "ab")
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
