import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from pr12.stn.model import digit_networks
from pr12.stn.model.deformable import DeformableConv2d
from pr12.stn.model.digit_networks import build, count
from pr12.stn.model.distortions import DISTORTIONS
from pr12.stn.model.first_convolution import FirstConv2d
from pr12.stn.model.transformer import TRANSFORMS
from pr12.workflow import address, settings, yaml_files
from pr12.workflow.errors import UserError

KEYS = ("network", "transform", "transformers", "pooling", "parameters", "distortions")


def cells():
    """Give every net that params.yaml trains, in any run, as `build` takes it."""
    params = yaml_files.load(address.SRC.parent / "params.yaml")
    ours = params["stn"]
    runs = ours["runs"]
    cells = set()
    for run in settings.RUNS:
        changes = runs.get(run, {})
        for case, said in ours["cases"].items():
            if "step" in said:
                continue
            # What is said of all cases, then of this one; a run's word goes before both
            row = ours["train"] | changes.get("train", {}) | said
            row |= changes.get("cases", {}).get(case, {})
            *shape, parameters, distortions = (row[key] for key in KEYS)
            cells |= {(*shape, distortion, parameters) for distortion in distortions}
    return sorted(cells)


CELLS = cells()
TASK = DISTORTIONS["R"]


def images(distortion, number=2):
    task = DISTORTIONS[distortion]
    stream = torch.Generator().manual_seed(0)
    return torch.rand(number, task.channels, task.side, task.side, generator=stream)


# --- sizes ---


def test_the_cells_are_those_of_table_1_and_more():
    assert {cell[-1] for cell in CELLS} >= {60_000, 400_000}
    full = {cell[:3] + cell[4:5] for cell in CELLS if cell[-1] == 400_000}
    for network, transform in (("fcn", "none"), ("cnn", "none"), ("fcn", "tps"), ("cnn", "tps")):
        assert {(network, transform, 1, name) for name in ("R", "RTS", "P", "E")} <= full
    assert ("fcn", "tps", 2, "addition") in full
    assert ("cnn", "affine", 1, "TC") in full


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell)))
def test_every_cell_is_built_within_a_tenth_of_its_size_and_runs(cell):
    network, transform, transformers, _, distortion, parameters = cell
    net = build(*cell)
    assert abs(count(net) - parameters) <= 0.1 * parameters
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == count(net)
    with torch.inference_mode():
        logits, theta = net(images(distortion, 1))
    assert logits.shape == (1, DISTORTIONS[distortion].classes)
    if transform == "none":
        assert theta is None
    else:
        assert theta.shape == (1, transformers, len(TRANSFORMS[transform].identity))
    deformable = [m for m in net.modules() if isinstance(m, DeformableConv2d)]
    assert len(deformable) == (network == "deformable")


@pytest.mark.parametrize(
    ("channels", "side", "classes", "width"), [(1, 28, 10, 5), (2, 21, 19, 3), (1, 60, 10, 4)]
)
def test_parameters_of_an_fcn_by_hand(channels, side, classes, width):
    net = digit_networks.fully_connected(channels, side, classes, width)
    inputs = channels * side * side
    by_hand = (inputs + 1) * width + (width + 1) * width + (width + 1) * classes
    assert count(net) == by_hand


@pytest.mark.parametrize(("side", "last"), [(28, 2), (42, 6), (60, 10), (21, 1), (30, 3)])
def test_parameters_of_a_cnn_by_hand(side, last):
    # 28 -> 20 -> 10 -> 4 -> 2; 42 -> 34 -> 17 -> 11 -> 6; 21 -> 13 -> 7 -> 1 -> 1
    net = digit_networks.convolutional(2, side, 10, 8, "max", False)
    assert count(net) == 8 * (2 * 81 + 1) + 8 * (8 * 49 + 1) + 10 * (8 * last * last + 1)
    assert net(torch.zeros(1, 2, side, side)).shape == (1, 10)


@pytest.mark.parametrize(("side", "last"), [(28, 1), (42, 4), (60, 9)])
def test_parameters_of_the_localisation_nets_by_hand(side, last):
    net, width = digit_networks.convolutional_localisation(1, side)
    assert width == 20
    assert count(net) == 20 * 26 + 20 * (20 * 25 + 1) + 20 * (20 * last * last + 1)
    net, width = digit_networks.fully_connected_localisation(2, side)
    assert width == 32
    assert count(net) == (2 * side * side + 1) * 32 + 2 * 33 * 32
    assert [m.out_features for m in net if isinstance(m, nn.Linear)] == [32, 32, 32]


@pytest.mark.parametrize("step", [1, 3, 4])
def test_the_nearest_width_is_that_of_a_search_through_all(step):
    def classifier(width):
        return nn.Linear(width, 3)

    for wanted in (1, 10, 11, 12, 13, 100, 101, 499):
        widths = range(step, 300, step)
        best = min(abs(count(classifier(width)) - wanted) for width in widths)
        nearest = digit_networks.nearest_width(classifier, wanted, step)
        assert nearest % step == 0
        assert abs(count(classifier(nearest)) - wanted) == best


def test_the_search_for_a_width_draws_no_numbers():
    before = torch.get_rng_state()
    digit_networks.nearest_width(lambda width: nn.Linear(width, 3), 100, 1)
    assert torch.equal(torch.get_rng_state(), before)


# --- what the nets compute ---


def test_the_fcn_by_hand():
    net = digit_networks.fully_connected(1, 4, 3, 5)
    x = torch.randn(2, 1, 4, 4)
    (w1, b1), (w2, b2), (w3, b3) = ((m.weight, m.bias) for m in net if isinstance(m, nn.Linear))
    h = (x.flatten(1) @ w1.T + b1).clamp(min=0)
    by_hand = (h @ w2.T + b2).clamp(min=0) @ w3.T + b3
    torch.testing.assert_close(net(x), by_hand)


def test_the_cnn_by_hand_with_pooling_after_the_rectifier():
    net = digit_networks.convolutional(1, 28, 10, 4, "max", False)
    first, second = (m for m in net if isinstance(m, nn.Conv2d))
    (last,) = (m for m in net if isinstance(m, nn.Linear))
    x = torch.randn(2, 1, 28, 28)
    h = functional.max_pool2d(functional.conv2d(x, first.weight, first.bias).relu(), 2)
    h = functional.max_pool2d(functional.conv2d(h, second.weight, second.bias).relu(), 2)
    by_hand = h.flatten(1) @ last.weight.T + last.bias
    torch.testing.assert_close(net(x), by_hand)
    assert isinstance(first, FirstConv2d)
    assert (first.kernel_size, second.kernel_size) == ((9, 9), (7, 7))


def test_average_pooling_averages_also_half_windows():
    net = digit_networks.convolutional(1, 21, 10, 4, "average", False)
    pools = [m for m in net if isinstance(m, nn.AvgPool2d)]
    assert len(pools) == 2
    assert not [m for m in net if isinstance(m, nn.MaxPool2d)]
    odd = torch.tensor([[[[1.0, 3, 5], [1, 3, 5], [2, 2, 7]]]])
    assert pools[0](odd).tolist() == [[[[2, 5], [2, 7]]]]


def test_a_deformable_net_starts_as_a_net_of_5_by_5_kernels():
    net = digit_networks.convolutional(1, 28, 10, 4, "max", True)
    layer = next(m for m in net if isinstance(m, DeformableConv2d))
    plain = copy.deepcopy(net)
    plain[3] = copy.deepcopy(layer.convolution)
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(net(x), plain(x))
    assert layer.convolution.kernel_size == (5, 5)


def test_the_localisation_net_sees_the_image_at_half_its_size():
    net, _ = digit_networks.convolutional_localisation(1, 28)
    x = torch.randn(1, 1, 28, 28)
    halved = x.unflatten(2, (14, 2)).unflatten(4, (14, 2)).mean(dim=(3, 5), keepdim=True)
    doubled = halved.expand(-1, -1, -1, 2, -1, 2).reshape(1, 1, 28, 28)
    torch.testing.assert_close(net(x), net(doubled))


# --- behind transformers ---


STRAIGHT = [cell for cell in CELLS if cell[1] != "none"]


@pytest.mark.parametrize("cell", STRAIGHT, ids=lambda cell: "-".join(map(str, cell)))
def test_a_net_behind_transformers_starts_as_its_classifier_alone(cell):
    _, transform, transformers, _, distortion, _ = cell
    net = build(*cell)
    x = images(distortion)
    with torch.inference_mode():
        logits, theta = net(x)
        joined = torch.cat([x] * transformers, dim=1)
        if distortion in ("RTS", "TC", "addition"):
            joined = functional.avg_pool2d(joined, 2)
        torch.testing.assert_close(logits, net.classifier(joined), rtol=0, atol=1e-4)
    identity = torch.tensor(TRANSFORMS[transform].identity)
    torch.testing.assert_close(theta, identity.expand_as(theta), rtol=0, atol=0)


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_only_smaller_digits_are_pooled_behind_a_transformer(distortion):
    net = build("fcn", "affine", 1, "max", distortion, 400_000)
    first = next(m for m in net.classifier if isinstance(m, nn.Linear))
    side = {"RTS": 21, "TC": 30, "addition": 21}.get(distortion, 28)
    assert first.in_features == side * side * DISTORTIONS[distortion].channels
    alone = build("fcn", "none", 1, "max", distortion, 400_000)
    first = next(m for m in alone.classifier if isinstance(m, nn.Linear))
    task = DISTORTIONS[distortion]
    assert first.in_features == task.side**2 * task.channels  # a bare net sees every pixel


def test_parallel_transformers_have_nets_of_their_own_and_see_both_channels():
    net = build("fcn", "affine", 2, "max", "addition", 400_000)
    one, two = net.transformers.transformers
    assert not torch.equal(one.localisation[1].weight, two.localisation[1].weight)
    assert one.localisation[1].in_features == 2 * 42 * 42
    assert next(m for m in net.classifier if isinstance(m, nn.Linear)).in_features == 4 * 21 * 21


@pytest.mark.parametrize("network", ["fcn", "cnn", "deformable"])
@pytest.mark.parametrize("transform", ["affine", "attention", "projective", "tps"])
def test_every_parameter_gets_a_gradient_once_theta_has_weights(network, transform):
    torch.manual_seed(0)
    net = build(network, transform, 1, "max", "RTS", 150_000)
    nn.init.normal_(net.transformers.transformers[0].theta.weight, std=0.01)
    x = images("RTS", 8)
    functional.cross_entropy(net(x)[0], torch.arange(8)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_transformer_learns_from_the_first_step():
    net = build("cnn", "affine", 1, "max", "R", 60_000)
    functional.cross_entropy(net(images("R", 8))[0], torch.arange(8)).backward()
    theta = net.transformers.transformers[0].theta
    assert theta.weight.grad.any()
    assert theta.bias.grad.any()


def test_nets_of_one_global_seed_are_the_same():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build("cnn", "tps", 1, "max", "R", 60_000).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())


# --- what a user can do wrong ---


@pytest.mark.parametrize(("deformable", "fits", "kernel"), [(False, 21, 7), (True, 17, 5)])
def test_an_image_smaller_than_the_kernels_is_refused(deformable, fits, kernel):
    for pooling in ("max", "average"):
        net = digit_networks.convolutional(1, fits, 10, 4, pooling, deformable)
        assert net(torch.zeros(1, 1, fits, fits)).shape == (1, 10)
        for side in (fits - 1 - fits % 2, 9, 8, 1):
            sentence = f"images of {side} x {side} pixels are smaller than .* then {kernel} x"
            with pytest.raises(UserError, match=sentence):
                digit_networks.convolutional(1, side, 10, 4, pooling, deformable)


def test_an_image_smaller_than_the_localisation_net_is_refused():
    net, _ = digit_networks.convolutional_localisation(1, 28)
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 20)
    for side in (27, 26, 10, 2):
        with pytest.raises(UserError, match=f"images of {side} x {side} pixels are smaller"):
            digit_networks.convolutional_localisation(1, side)


@pytest.mark.parametrize("transform", ["none", "affine"])
@pytest.mark.parametrize(("distortion", "channels"), [("R", 2), ("R", 3), ("addition", 1)])
def test_images_of_other_channels_are_refused(transform, distortion, channels):
    net = build("fcn", transform, 1, "max", distortion, 200_000)
    task = DISTORTIONS[distortion]
    sentence = rf"the images have the shape \(1, {channels}, .* reads \(images, {task.channels}, "
    with pytest.raises(UserError, match=sentence):
        net(torch.zeros(1, channels, task.side, task.side))


@pytest.mark.parametrize(
    ("cell", "nearest"),
    [
        (("fcn", "affine", 1, "max", "TC", 1000), 118_000),
        (("cnn", "none", 1, "max", "R", 100), 1200),
        (("fcn", "none", 1, "max", "R", 10**9), 20_000_000),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_the_nearest(cell, nearest):
    with pytest.raises(UserError) as caught:
        build(*cell)
    message = str(caught.value)
    assert f"no {cell[0]} for {cell[4]} comes near {cell[5]} parameters" in message
    reached = int(message.partition("nearest has ")[2].partition(")")[0])
    assert reached == pytest.approx(nearest, rel=0.1)


@pytest.mark.parametrize(
    ("parameters", "nearest"),
    [(1286, 1286), (1200, 1286), (1160, None), (2500, None), (4500, 4130)],
)
def test_a_net_is_within_a_tenth_or_refused(parameters, nearest):
    # Widths of 4 and 8: 49 w^2 + 123 w + 10 parameters
    if nearest:
        assert count(build("cnn", "none", 1, "max", "R", parameters)) == nearest
    else:
        with pytest.raises(UserError, match=f"no cnn for R comes near {parameters} parameters"):
            build("cnn", "none", 1, "max", "R", parameters)


def test_a_transform_that_there_is_not_is_refused():
    with pytest.raises(UserError, match="there is no transform 'rigid'"):
        build("fcn", "rigid", 1, "max", "R", 400_000)
