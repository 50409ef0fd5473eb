import copy

import pytest
import torch
from torch import nn

from pr12.stn.model import grids
from pr12.stn.model import transformer as transformer_module
from pr12.stn.model.transformer import TRANSFORMS, ParallelTransformers, SpatialTransformer, sample
from pr12.workflow.errors import UserError

SIZES = {name: (2, 4, 6) if name == "affine_3d" else (8, 6) for name in TRANSFORMS}
ALIKE = [name for name in TRANSFORMS if name != "crop"]  # a crop has no identity


def make(name, size=None, mode="bilinear", features=5, channels=1):
    torch.manual_seed(0)
    inputs = channels * torch.Size(SIZES[name]).numel()
    localisation = nn.Sequential(nn.Flatten(), nn.Linear(inputs, features), nn.Tanh())
    return SpatialTransformer(localisation, features, name, size, mode)


def images_for(name, number=3, channels=1):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(number, channels, *SIZES[name], generator=generator)


def moving(module):
    """Give theta weights, so that it depends on the input."""
    for layer in module.modules():
        if isinstance(layer, SpatialTransformer):
            nn.init.normal_(layer.theta.weight, std=0.1)
    return module


# --- one transformer ---


@pytest.mark.parametrize("name", TRANSFORMS)
def test_it_starts_at_the_identity_for_every_input(name):
    module = make(name)
    for scale in (0, 1, 1000):
        images = scale * images_for(name)
        output, theta = module(images)
        expected = torch.tensor(TRANSFORMS[name].identity).expand(3, -1)
        assert torch.equal(theta, expected)
        if name in ALIKE:
            torch.testing.assert_close(output, images, rtol=1e-6, atol=1e-6 * max(1, scale))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_all_channels_of_an_image_move_alike_and_each_image_by_its_own_parameters(name):
    module = moving(make(name, channels=2))
    images = images_for(name, channels=2)
    output, theta = module(images)
    assert len(theta.unique(dim=0)) == 3
    for i in range(3):
        for channel in range(2):
            grid = TRANSFORMS[name].grid(theta[i : i + 1], SIZES[name])
            alone = sample(images[i : i + 1, channel : channel + 1], grid)
            torch.testing.assert_close(output[i, channel], alone[0, 0])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_output_has_the_size_that_was_asked_for(name):
    size = (3, 5, 7)[-len(SIZES[name]) :]
    output, _ = make(name, size)(images_for(name))
    assert output.shape == (3, 1, *size)
    output, _ = make(name)(images_for(name))
    assert output.shape == (3, 1, *SIZES[name])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients_reach_the_localisation_net_and_the_input(name):
    module = moving(make(name))
    images = images_for(name).requires_grad_()
    output, _ = module(images)
    output.square().sum().backward()
    for tensor in (*module.parameters(), images):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().max() > 1e-6


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients_through_the_whole_are_those_of_finite_differences(name):
    module = moving(make(name)).double()
    images = images_for(name, number=1).double().requires_grad_()
    with torch.no_grad():
        _, theta = module(images)
        # the places read must not lie at centres of pixels, where the gradient jumps
        theta += 0.03 * torch.rand_like(theta)
        module.theta.bias += (theta - module(images)[1])[0]
        size = torch.tensor(SIZES[name])
        grid = TRANSFORMS[name].grid(module(images)[1], SIZES[name])
        pixels = (grid + 1) * size.flip(0) / 2 - 0.5
    assert (pixels - pixels.round()).abs().min() > 1e-5
    weight, bias = module.theta.weight, module.theta.bias

    def run(images, weight, bias):
        parameters = {"theta.weight": weight, "theta.bias": bias}
        return torch.func.functional_call(module, parameters, images)

    assert torch.autograd.gradcheck(run, (images, weight, bias), eps=1e-7, atol=1e-6)


def test_it_learns_where_to_look():
    torch.manual_seed(0)
    places = torch.randint(0, 5, (64, 2))
    images = torch.zeros(64, 1, 12, 12)
    blob = torch.tensor([[1.0, 2, 3, 2, 1]])
    for image, (row, column) in zip(images, places.tolist(), strict=True):
        image[0, row + 2 : row + 7, column + 2 : column + 7] = blob.T @ blob / 9
    middle = torch.zeros(12, 12)
    middle[4:9, 4:9] = blob.T @ blob / 9
    localisation = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU())
    module = SpatialTransformer(localisation, 32, "affine")
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)

    def error():
        return (module(images)[0] - middle).square().mean()

    before = error().item()
    for _ in range(150):
        optimiser.zero_grad()
        loss = error()
        loss.backward()
        optimiser.step()
    assert loss.item() < before / 10
    theta = module(images)[1].detach()
    # to the right where the blob lies to the right of the middle: a pixel is 2 / 12
    shifts = (places.flip(1) - 2) * 2 / 12
    assert (theta[:, [2, 5]] - shifts).abs().mean() < 0.08


def test_nearest_trains_what_comes_before_but_not_theta():
    module = moving(make("affine", mode="nearest"))
    images = images_for("affine").requires_grad_()
    output, theta = module(images)
    assert set(output.flatten().tolist()) <= {0.0, *images.flatten().tolist()}
    theta.retain_grad()
    output.sum().backward()
    assert theta.grad.abs().max() == 0
    assert images.grad.abs().max() > 0


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_theta_that_is_nan_is_given_back_as_such(name):
    module = make(name)
    with torch.no_grad():
        module.theta.bias[-1] = float("nan")
    output, theta = module(images_for(name))
    assert theta[:, -1].isnan().all()
    assert not theta[:, :-1].isnan().any()
    assert output.shape == (3, 1, *SIZES[name])


@pytest.mark.parametrize("name", ["Affine", "thin-plate spline", "", None])
def test_a_transform_that_there_is_not_is_named_beside_those_there_are(name):
    with pytest.raises(UserError, match="allowed: affine, attention, crop, projective, tps"):
        SpatialTransformer(nn.Flatten(), 9, name)


@pytest.mark.parametrize("name", ALIKE)
def test_it_is_saved_and_loaded_and_copied(name):
    module = moving(make(name))
    output, _ = module(images_for(name))
    other = make(name)
    other.load_state_dict(module.state_dict())
    for one in (other, copy.deepcopy(module)):
        assert torch.equal(one(images_for(name))[0], output)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_inference_first_training_after(name):
    grids._regular_matrix.cache_clear()
    module = moving(make(name))
    with torch.inference_mode():
        first, _ = module(images_for(name))
    second, _ = module(images_for(name))
    assert torch.equal(first, second)
    second.sum().backward()
    assert module.theta.weight.grad.isfinite().all()


# --- autocast ---


@pytest.mark.parametrize("name", TRANSFORMS)
def test_under_autocast_theta_and_the_grid_keep_the_bits_of_float32(name, monkeypatch):
    module = make(name)
    with torch.no_grad():
        module.theta.bias += 0.01 * torch.rand(len(module.theta.bias))
    grids = []

    def keep(images, grid, mode):
        grids.append(grid)
        return sample(images, grid, mode)

    monkeypatch.setattr(transformer_module, "sample", keep)
    images = images_for(name)
    output, theta = module(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output_mixed, theta_mixed = module(images)
    assert theta_mixed.dtype == grids[1].dtype == torch.float32
    assert torch.equal(theta_mixed, theta)
    torch.testing.assert_close(grids[1], grids[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(output_mixed.float(), output, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALIKE)
def test_features_in_bfloat16_are_sampled_and_trained(name):
    torch.manual_seed(0)
    plane = name != "affine_3d"
    convolution = (nn.Conv2d if plane else nn.Conv3d)(1, 2, 3, padding=1)
    module = moving(make(name, channels=2))
    images = images_for(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = convolution(images)
        assert features.dtype == torch.bfloat16
        output, theta = module(features)
    assert theta.dtype == torch.float32
    torch.testing.assert_close(
        output.float(),
        sample(features.float(), TRANSFORMS[name].grid(theta, SIZES[name])),
        rtol=2**-7,
        atol=2**-7,
    )
    output.float().square().sum().backward()
    for parameter in (*convolution.parameters(), *module.parameters()):
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


# --- several ---


class InSeries(nn.Module):
    """A transformer of the image, one of features between convolutions, one of the last ones."""

    def __init__(self):
        super().__init__()
        self.first = make("affine")
        self.convolution = nn.Conv2d(1, 3, 3, padding=1)
        self.second = SpatialTransformer(nn.Flatten(), 3 * 8 * 6, "tps", (5, 4))
        self.third = SpatialTransformer(nn.Flatten(), 3 * 5 * 4, "projective")

    def forward(self, images):
        images, first = self.first(images)
        features, second = self.second(self.convolution(images))
        features, third = self.third(features)
        return features, (first, second, third)


@pytest.mark.parametrize("mixed", [False, True])
def test_several_in_series_inside_a_net(mixed):
    torch.manual_seed(0)
    net = InSeries()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        features, thetas = net(images_for("affine"))
    assert features.shape == (3, 3, 5, 4)
    assert [theta.shape for theta in thetas] == [(3, 6), (3, 32), (3, 8)]
    features, _ = moving(net)(images_for("affine"))
    features.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_in_series_two_shifts_add_up():
    # 6 columns are 2 wide: a third is one pixel
    pair = [make("affine"), make("affine")]
    for module in pair:
        with torch.no_grad():
            module.theta.bias[2] = 1 / 3
    images = images_for("affine")
    once, _ = pair[0](images)
    twice, _ = pair[1](once)
    torch.testing.assert_close(twice[..., :4], images[..., 2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(twice[..., 4:], torch.zeros(3, 1, 8, 2), rtol=0, atol=1e-5)


def test_parallel_ones_see_the_same_input_and_are_joined_along_channels():
    alone = [moving(make("tps", (4, 4), channels=2)) for _ in range(3)]
    for shift, module in enumerate(alone):
        with torch.no_grad():
            module.theta.bias += shift / 10
    images = images_for("tps", channels=2)
    output, theta = ParallelTransformers(alone)(images)
    assert output.shape == (3, 6, 4, 4)
    assert theta.shape == (3, 3, 32)
    for i, module in enumerate(alone):
        ours, parameters = module(images)
        assert torch.equal(output[:, 2 * i : 2 * i + 2], ours)
        assert torch.equal(theta[:, i], parameters)
    assert not torch.equal(output[:, :2], output[:, 2:4])


def test_parallel_ones_learn_apart():
    pair = ParallelTransformers([moving(make("affine")), moving(make("affine"))])
    output, _ = pair(images_for("affine"))
    output[:, 0].square().sum().backward()
    first, second = pair.transformers
    assert all(parameter.grad.abs().max() > 0 for parameter in first.parameters())
    assert all(parameter.grad.abs().max() == 0 for parameter in second.parameters())
