import copy
import math
from functools import cache

import pytest
import torch
from torch import nn

from pr12.core.vision import import_torchvision
from pr12.photostyle.model import backbones, carried_masks, network_weights
from pr12.photostyle.model.backbones import Features, cut
from pr12.photostyle.model.network_weights import prepared
from pr12.workflow.errors import UserError


def photographs(count=1, height=33, width=45, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def whole(architecture):
    return copy.deepcopy(built(architecture))


@cache
def built(architecture):
    torch.manual_seed(0)
    network = import_torchvision().models.get_model(architecture, weights=None).eval()
    for module in network.modules():  # so that a batch norm left as it was built would be noticed
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def hooked(network, places, images):
    """Give what comes out of some modules, by forward hooks and own arithmetic before them."""
    actual = {}
    for place in places:
        network.get_submodule(place).register_forward_hook(
            lambda module, inputs, output, place=place: actual.update({place: output.clone()})
        )
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        network((images - mean) / std)
    return actual


def trained(architecture, layers, network, bfloat16=False):
    ours = cut(architecture, layers, "max")
    values = network.state_dict()
    weights = {name: values[name].clone() for name in backbones.shapes(ours)}
    return Features(network_weights.trained(ours, weights), bfloat16)


def untrained(architecture, layers, images, pooling="max"):
    return Features(network_weights.untrained(cut(architecture, layers, pooling), images, 0))


def test_names_of_vgg19_are_the_rectifiers_behind_its_16_convolutions_and_its_pools():
    with torch.device("meta"):
        modules = list(import_torchvision().models.vgg19(weights=None).features)
    rectifiers = [place for place, module in enumerate(modules) if isinstance(module, nn.ReLU)]
    pools = [place for place, module in enumerate(modules) if isinstance(module, nn.MaxPool2d)]
    blocks = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}
    names = [
        f"conv{block}_{number + 1}" for block, ours in blocks.items() for number in range(ours)
    ]
    expected = dict(zip(names, rectifiers, strict=True))
    expected |= {f"pool{number}": place for number, place in enumerate(pools, start=1)}
    actual = {
        name: int(place.removeprefix("features."))
        for name, place in backbones.NAMES["vgg19"].items()
    }
    assert actual == expected
    assert names.index("conv4_2") == 9  # the tenth
    assert all(isinstance(modules[actual[name] - 1], nn.Conv2d) for name in names)


def test_names_of_squeezenet_are_its_fire_modules_and_pools():
    models = import_torchvision().models
    with torch.device("meta"):
        modules = list(models.squeezenet1_0(weights=None).features)
    kinds, fires = {}, 1
    for place, module in enumerate(modules):
        if isinstance(module, nn.ReLU):
            kinds["conv1"] = place
        elif isinstance(module, nn.MaxPool2d):
            kinds[f"pool{fires}"] = place
        elif isinstance(module, models.squeezenet.Fire):
            fires += 1
            kinds[f"fire{fires}"] = place
    assert backbones.NAMES["squeezenet1_0"] == {
        name: f"features.{place}" for name, place in kinds.items()
    }
    # the depths of Iandola et al. (2016), table 1
    widths = {"conv1": 96, "fire2": 128, "fire4": 256, "fire6": 384, "fire8": 512, "fire9": 512}
    ours = cut("squeezenet1_0", list(widths), "max")
    actual = ours(torch.empty(1, 3, 64, 64, device="meta"))
    assert {name: features.shape[1] for name, features in actual.items()} == widths


NETWORKS = {
    "vgg19": ["conv1_1", "pool1", "conv2_2", "conv4_2"],
    "squeezenet1_0": ["conv1", "pool1", "fire4", "pool4", "fire5"],
    "resnet18": ["layer1.0.bn2", "layer2.1"],
    "mobilenet_v3_small": ["features.2", "features.4"],
    "densenet121": ["features.denseblock1"],
}


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_cut_network_gives_what_forward_hooks_of_the_whole_one_give(architecture):
    layers, images, network = NETWORKS[architecture], photographs(2), whole(architecture)
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    places = {layer: backbones.node(architecture, layer) for layer in layers}
    expected = hooked(network, places.values(), images)
    actual = trained(architecture, layers, network)(images)
    assert list(actual) == layers
    for layer, place in places.items():
        ours, other = actual[layer], expected[place]
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


def test_a_layer_before_a_rectifier_is_not_overwritten_by_it():
    images, network = photographs(), whole("vgg19")
    before, after = trained("vgg19", ["features.2", "conv1_2"], network)(images).values()
    assert before.min() < 0
    torch.testing.assert_close(after, before.clamp(min=0))


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [("mobilenet_v2", ["features.0.1", "features.1"]), ("efficientnet_b0", ["features.0.1"])],
)
def test_layers_within_torchvisions_own_blocks_are_found(architecture, layers):
    network, images = whole(architecture), photographs()
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    expected = hooked(network, layers, images)
    for layer, actual in trained(architecture, layers, network)(images).items():
        torch.testing.assert_close(actual, expected[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [("resnet18", ["layer2", "layer2.1"]), ("vgg19", ["conv1_1", "features.1"])],
)
def test_two_names_of_the_same_layer_give_the_same_features(architecture, layers):
    # such as a block and its last part
    actual = untrained(architecture, layers, photographs())(photographs())
    assert list(actual) == layers
    assert torch.equal(*actual.values())


def test_the_order_of_layers_does_not_matter():
    network, images = whole("vgg19"), photographs()
    one = trained("vgg19", ["conv1_1", "conv2_1"], network)(images)
    two = trained("vgg19", ["conv2_1", "conv1_1"], network)(images)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_nothing_behind_the_last_layer_remains():
    names = [name for name, _ in cut("vgg19", ["conv2_1", "conv1_1"], "max").named_modules()]
    assert names == ["", "features", *(f"features.{place}" for place in range(7))]
    shapes = backbones.shapes(cut("vgg19", ["conv1_1"], "max"))
    assert shapes == {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
    resnet = backbones.shapes(cut("resnet18", ["layer1.0"], "max"))
    assert not any(name.startswith(("layer1.1", "layer2", "fc")) for name in resnet)
    assert "layer1.0.bn1.running_var" in resnet
    assert not any("num_batches" in name for name in resnet)


def test_a_cut_network_has_no_values_yet():
    assert all(ours.is_meta for ours in cut("vgg19", ["pool5"], "max").parameters())


@pytest.mark.parametrize("size", [(32, 32), (33, 45), (35, 38)])
@pytest.mark.parametrize("architecture", ["vgg19", "squeezenet1_0", "resnet18"])
def test_average_pooling_takes_the_place_of_max_pooling(architecture, size):
    layers = {"vgg19": ["pool1", "pool2"], "squeezenet1_0": ["pool1", "pool4"]}
    layers = layers.get(architecture, ["layer1"])
    images = photographs(1, *size)
    average, largest = (cut(architecture, layers, pooling) for pooling in ("average", "max"))
    assert not any(isinstance(module, nn.MaxPool2d) for module in average.modules())
    assert any(isinstance(module, nn.MaxPool2d) for module in largest.modules())
    ours, other = (network(images.to("meta")) for network in (average, largest))
    assert {n: f.shape for n, f in ours.items()} == {n: f.shape for n, f in other.items()}


def test_average_pooling_averages_over_what_is_inside_the_image():
    features = untrained("squeezenet1_0", ["conv1", "pool1"], photographs(), "average")
    actual = features(photographs())  # conv1 14 x 20 -> 3 x 3 windows, stride 2, the last cut off
    before, after = actual["conv1"][0, 0], actual["pool1"][0, 0]
    assert before.shape == (14, 20)
    assert after.shape == (7, 10)
    assert after[2, 3].item() == pytest.approx(before[4:7, 6:9].mean().item(), rel=1e-5)
    assert after[6, 9].item() == pytest.approx(before[12:, 18:].mean().item(), rel=1e-5)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_untrained_features_have_a_mean_activation_of_1_at_every_layer(pooling):
    images = photographs(3)
    for architecture, kind in (("vgg19", "conv"), ("squeezenet1_0", "fire")):
        layers = [name for name in backbones.NAMES[architecture] if name.startswith(kind)]
        for name, ours in untrained(architecture, layers, images, pooling)(images).items():
            assert ours.mean().item() == pytest.approx(1, abs=1e-3), name


def test_untrained_features_with_batch_norm_are_finite_and_of_order_1():
    images = photographs(2)
    for ours in untrained("resnet18", ["layer1", "layer2.1"], images)(images).values():
        assert 0.3 < ours.mean() < 5
    ours = untrained("vgg19_bn", ["features.12"], images)(images)["features.12"]
    assert ours.mean().item() == pytest.approx(1, abs=1e-3)


def test_untrained_weights_are_those_of_their_seed():
    def drawn(seed):
        return network_weights.untrained(
            cut("vgg19", ["conv2_1"], "max"), photographs(), seed
        ).state_dict()

    one, again, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    weights = [name for name in one if name.endswith("weight")]
    assert len(weights) == 3
    assert not any(torch.equal(one[name], other[name]) for name in weights)
    assert all(one[name].abs().max() == 0 for name in one if name.endswith("bias"))


def test_untrained_weights_are_normal_and_scaled_as_one():
    ours = network_weights.untrained(cut("vgg19", ["conv2_2"], "max"), photographs(), 0)
    last = ours.get_submodule("features.7")
    weight = last.weight / last.weight.std()
    assert weight.mean().abs() < 0.01
    assert (weight.abs() < 1).float().mean().item() == pytest.approx(0.6827, abs=0.005)
    assert not last._forward_hooks


def test_a_network_whose_random_weights_were_not_all_drawn_is_refused():
    # layer norms and linear layers would hold what happened to lie in memory
    with pytest.raises(UserError, match=r"convnext_tiny|features"):
        untrained("convnext_tiny", ["features.1"], photographs())


def test_normalised_by_filter_every_mean_is_1_over_images_and_positions():
    images = photographs(3)
    features = trained("vgg19", ["conv1_1", "conv2_1"], whole("vgg19"))
    network_weights.normalise(features, images, by="filter")
    least = {name: ours.min() for name, ours in features.means.items()}
    for name, ours in features(images).items():
        means = ours.mean(dim=(0, 2, 3))
        loud = features.means[name].flatten() > least[name]
        assert loud.float().mean() > 0.5
        torch.testing.assert_close(means[loud], torch.ones_like(means[loud]), rtol=1e-3, atol=1e-3)
        assert means.max() < 1.001


def test_a_filter_that_hardly_ever_answers_counts_as_a_hundredth_of_its_layer():
    network = whole("vgg19")
    with torch.no_grad():
        network.features[0].weight[5] = 0
        network.features[0].bias[5] = -1
    features, images = trained("vgg19", ["conv1_1"], network), photographs()
    before = features(images)["conv1_1"]
    network_weights.normalise(features, images, by="filter")
    ours = features(images)["conv1_1"]
    assert torch.isfinite(ours).all()
    assert ours[0, 5].abs().max() == 0
    expected = 0.01 * before.mean().item()
    assert features.means["conv1_1"][5].item() == pytest.approx(expected, rel=1e-5)


def test_normalised_by_layer_its_mean_is_1_and_by_nothing_it_is_as_it_was():
    images, features = photographs(2), trained("vgg19", ["conv1_1", "pool2"], whole("vgg19"))
    before = features(images)
    network_weights.normalise(features, images, by="layer")
    for name, ours in features(images).items():
        assert ours.mean().item() == pytest.approx(1, abs=1e-4)
        torch.testing.assert_close(ours * before[name].mean(), before[name])
    network_weights.normalise(
        features, images, by="layer"
    )  # again: not of what was normalised before
    assert features(images)["pool2"].mean().item() == pytest.approx(1, abs=1e-4)
    network_weights.normalise(features, images, by="nothing")
    assert all(torch.equal(ours, before[name]) for name, ours in features(images).items())


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_dividing_features_is_the_same_as_scaling_the_weights(pooling):
    # the normalised network of Gatys et al. (2015): W_ij / mean_i * mean_j, b_i / mean_i
    images, layers = photographs(2), ["conv1_1", "conv1_2", "conv2_1"]
    ours = cut("vgg19", layers, pooling)
    values = whole("vgg19").state_dict()
    weights = {name: values[name].clone() for name in backbones.shapes(ours)}
    with torch.no_grad():  # biases that keep every filter answering
        for name in weights:
            if name.endswith("bias"):
                weights[name].uniform_(0.05, 0.2)
    divided = Features(network_weights.trained(ours, dict(weights)))
    network_weights.normalise(divided, images, by="filter")
    scaled, before = dict(weights), torch.ones(3)
    for name, place in zip(layers, (0, 2, 5), strict=True):
        mean = divided.means[name].flatten()
        weight = weights[f"features.{place}.weight"] * before[None, :, None, None]
        scaled[f"features.{place}.weight"] = weight / mean[:, None, None, None]
        scaled[f"features.{place}.bias"] = weights[f"features.{place}.bias"] / mean
        before = mean
    other = Features(network_weights.trained(cut("vgg19", layers, pooling), scaled))
    for seed in (0, 7):  # also for an image that the means were not taken over
        one, two = divided(photographs(2, seed=seed)), other(photographs(2, seed=seed))
        for name in layers:
            torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-3)


def test_bfloat16_features_are_near_those_in_float32():
    layers, images, network = ["conv1_1", "conv2_1", "pool2"], photographs(), whole("vgg19")
    exact, rough = (trained("vgg19", layers, network, number)(images) for number in (False, True))
    for name in layers:
        assert rough[name].dtype == torch.float32
        error = (rough[name] - exact[name]).norm() / exact[name].norm()
        assert 1e-5 < error < 0.02, name


def test_a_gradient_reaches_the_image_and_no_weight():
    features = untrained("vgg19", ["conv2_1"], photographs())
    images = photographs().requires_grad_(True)
    features(images)["conv2_1"].sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in features.parameters())


def test_prepared_features_are_the_parts_put_together():
    images, network = photographs(2), whole("resnet18")
    ours = cut("resnet18", ["layer1"], "max")
    weights = {name: network.state_dict()[name].clone() for name in backbones.shapes(ours)}
    actual = prepared(ours, images, weights, 0, "layer", False)(images)["layer1"]
    expected = trained("resnet18", ["layer1"], network)(images)["layer1"]
    torch.testing.assert_close(actual, expected / expected.mean(), rtol=1e-4, atol=1e-4)


def halves(height, width):
    left = torch.zeros(height, width)
    left[:, : width // 2] = 1
    return torch.stack([left, 1 - left])


MASKED = {
    "vgg19": ["conv1_1", "pool1", "conv3_1", "pool3", "conv5_1"],
    "squeezenet1_0": ["conv1", "pool1", "fire4", "pool4", "fire9"],
    "resnet18": ["layer1", "layer2.1"],
    "mobilenet_v2": ["features.1", "features.3"],
    "densenet121": ["features.denseblock1"],
}


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (69, 90), (47, 50)])
@pytest.mark.parametrize("architecture", MASKED)
def test_masks_have_the_sizes_of_features_and_the_sum_1(architecture, size):
    network = cut(architecture, MASKED[architecture], "max")
    sizes = {n: f.shape[-2:] for n, f in network(torch.empty(1, 3, *size, device="meta")).items()}
    drawn = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    features = Features(network)
    for masks in (halves(*size), drawn / drawn.sum(dim=0)):
        actual = carried_masks.carried(_on_cpu(features), masks)
        assert {name: ours.shape[-2:] for name, ours in actual.items()} == sizes
        for ours in actual.values():
            assert len(ours) == len(masks)
            assert ours.min() >= 0
            torch.testing.assert_close(ours.sum(dim=0), torch.ones_like(ours[0]))


@pytest.mark.parametrize("architecture", MASKED)
def test_pixels_of_no_class_give_their_share_to_none(architecture):
    features = _on_cpu(Features(cut(architecture, MASKED[architecture], "max")))
    masks = halves(64, 64)
    masks[1] = 0  # the right half has no class
    for name, ours in carried_masks.carried(features, masks).items():
        assert bool(torch.isfinite(ours).all()), name
        assert ours[1].abs().max() == 0
        torch.testing.assert_close(
            ours[0], carried_masks.carried(features, halves(64, 64))[name][0], msg=name
        )


def _on_cpu(features):
    features.network.to_empty(device="cpu")
    return features


def test_masks_along_one_row_are_averaged_by_convolutions_and_halved_by_pools():
    features = _on_cpu(Features(cut("vgg19", ["conv1_1", "conv1_2", "pool1"], "max")))
    masks = torch.zeros(2, 6, 6)
    masks[0, :, :3], masks[1, :, 3:] = 1, 1
    actual = {name: ours[0, 2] for name, ours in carried_masks.carried(features, masks).items()}
    once = torch.tensor([1, 1, 2 / 3, 1 / 3, 0, 0])  # at the border over what is inside
    twice = torch.tensor([1, 8 / 9, 2 / 3, 1 / 3, 1 / 9, 0])
    halved = torch.tensor([17 / 18, 1 / 2, 1 / 18])
    for name, expected in (("conv1_1", once), ("conv1_2", twice), ("pool1", halved)):
        torch.testing.assert_close(actual[name], expected, msg=name)


def test_masks_of_ones_and_zeros_stay_so_and_mirror_with_the_image():
    for architecture, layers in (("resnet18", ["layer2.1"]), ("squeezenet1_0", ["fire5"])):
        features = _on_cpu(Features(cut(architecture, layers, "max")))
        whole_image = torch.stack([torch.ones(65, 65), torch.zeros(65, 65)])
        (actual,) = carried_masks.carried(features, whole_image).values()
        torch.testing.assert_close(actual[0], torch.ones_like(actual[0]))
        assert actual[1].abs().max() == 0
        masks = halves(65, 65)
        (upright,) = carried_masks.carried(features, masks).values()
        (lying,) = carried_masks.carried(features, masks.transpose(1, 2)).values()
        torch.testing.assert_close(lying, upright.transpose(1, 2))
        assert upright[0, :, 0].min() > 0.99
        assert upright[0, :, -1].max() < 0.01


@pytest.mark.parametrize(
    ("architecture", "layer", "named"),
    [
        ("vgg20", "conv1_1", "vgg20"),
        ("fasterrcnn_resnet50_fpn", "backbone", "fasterrcnn"),
        ("vgg19", "conv6_1", "conv6_1"),
        ("vgg19", "", "layer"),
        ("resnet18", "layer9", "layer9"),
        ("resnet18", "x", "'x'"),
        ("squeezenet1_0", "conv4_2", "conv4_2"),
    ],
)
def test_an_unknown_network_or_layer_is_refused_by_its_name(architecture, layer, named):
    with pytest.raises(UserError, match=named):
        cut(architecture, [layer], "max")


def test_a_good_layer_beside_a_bad_one_is_not_blamed():
    with pytest.raises(UserError, match="no layer 'conv9_9'"):
        cut("vgg19", ["conv1_1", "conv9_9"], "max")


def test_a_network_that_cannot_be_built_without_values_is_built_with_them():
    shapes = backbones.shapes(cut("regnet_y_400mf", ["stem"], "max"))
    assert shapes["stem.0.weight"] == (32, 3, 3, 3)


@pytest.mark.parametrize("layer", ["avgpool", "classifier.0"])
def test_masks_cannot_follow_into_a_layer_without_positions(layer):
    features = Features(cut("vgg19", [layer], "max"))
    with pytest.raises(UserError, match="positions"):
        carried_masks.mask_network(features)


def test_masks_cannot_follow_a_dilated_convolution():
    features = Features(cut("vgg19", ["conv1_2"], "max"))
    features.network.get_submodule("features.2").dilation = (2, 2)
    with pytest.raises(UserError, match=r"features\.2 is dilated"):
        carried_masks.mask_network(features)


def test_every_number_of_a_prefix_of_vgg19_is_counted():
    shapes = backbones.shapes(cut("vgg19", ["conv5_1"], "average"))
    assert sum(math.prod(shape) for shape in shapes.values()) == 12_944_960
