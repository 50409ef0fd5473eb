import pytest
import torch
from torch import nn
from torch.nn import functional

from pr12.stn.data import saved_nets
from pr12.stn.model import digit_networks, sequence_networks
from pr12.stn.model.sequence_networks import Architecture, Network
from pr12.workflow.errors import UserError

SMALL = Architecture("cnn", 32, 0.1, 2, 0.5)


def small(network, **changes):
    torch.manual_seed(0)
    return Network(SMALL._replace(network=network, **changes))


def convolution(before, after, kernel=5):
    return before * after * kernel**2 + after


def layer(before, after):
    return before * after + after


def of_the_paper(side, layers):
    """Count the parameters of the CNN by hand: widths of App. A.5, four poolings."""
    last = 192 * (side // 16) ** 2
    convolutions = [(3, 48), (48, 64), (64, 128), (128, 160), (160, 192), *[(192, 192)] * 3]
    return (
        sum(convolution(*pair) for pair in convolutions)
        + layer(last, 3072)
        + (layers - 1) * layer(3072, 3072)
        + layer(3072, 55)
    )


def localisation(features):
    return layer(features, 32) + layer(32, 32) + layer(32, 6)


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("layers", [2, 3])
def test_the_paper_s_networks_have_as_many_parameters_as_counted_by_hand(side, layers):
    actual = {}
    for name in sequence_networks.TRANSFORMERS:
        with torch.device("meta"):  # their shapes without their numbers
            network = Network(Architecture(name, side, 1.0, layers, 0.5))
        actual[name] = digit_networks.count(network)
    cnn = of_the_paper(side, layers)
    single = convolution(3, 32) + convolution(32, 32) + localisation(32 * (side // 2) ** 2)
    multi = sum(
        localisation(channels * (side // shrunk) ** 2)
        for channels, shrunk in ((3, 1), (48, 2), (64, 2), (128, 4))
    )
    assert actual == {"cnn": cnn, "single": cnn + single, "multi": cnn + multi}


@pytest.mark.parametrize("name", ["single", "multi"])
@pytest.mark.parametrize("size", [32, 64])
def test_transformers_start_as_the_identity_and_change_nothing(name, size):
    bare, network = small("cnn", size=size).eval(), small(name, size=size).eval()
    network.load_state_dict(bare.state_dict(), strict=False)
    images = torch.randn(3, 3, size, size)
    expected, none = bare(images)
    logits, thetas = network(images)
    assert none == []
    assert len(thetas) == sequence_networks.TRANSFORMERS[name]
    for theta in thetas:
        assert theta.tolist() == [[1, 0, 0, 0, 1, 0]] * 3
    assert torch.allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "single", "multi"])
def test_every_parameter_gets_a_gradient(name):
    network = small(name, size=32)
    for transformer in network.transformers:  # off the identity, where its layers get none
        nn.init.normal_(transformer.theta.weight, std=0.01)
    logits, _ = network(torch.randn(4, 3, 32, 32))
    logits.square().sum().backward()
    for key, value in network.named_parameters():
        assert value.grad is not None, key
        assert value.grad.abs().sum() > 0, key


def test_each_transformer_of_multi_moves_what_its_convolution_sees():
    network = small("multi").eval()
    images = torch.randn(2, 3, 32, 32)
    before, _ = network(images)
    for index in range(4):
        bias = network.transformers[index].theta.bias
        old = bias.detach().clone()
        with torch.no_grad():
            bias.copy_(torch.tensor([0.5, 0, 0.2, 0, 0.5, 0.1]))
        after, thetas = network(images)
        assert not torch.allclose(after, before)
        assert torch.allclose(thetas[index][0, 0], torch.tensor(0.5))
        with torch.no_grad():
            bias.copy_(old)


def test_the_network_is_the_paper_s_sequence_of_layers():
    network = small("cnn", width_scale=0.2).eval()
    x = images = torch.randn(2, 3, 32, 32)
    for index, conv in enumerate(network.convolutions):
        x = functional.relu(functional.conv2d(x, conv.weight, conv.bias, padding=2))
        if index in (0, 2, 4, 6):
            x = functional.max_pool2d(x, 2, stride=2)
    assert [conv.out_channels for conv in network.convolutions] == [10, 13, 26, 32, 38, 38, 38, 38]
    x = x.flatten(1)
    for fully_connected in network.layers:
        x = functional.relu(fully_connected(x))
    assert torch.allclose(network(images)[0], network.heads(x).reshape(2, 5, 11), atol=1e-5)


def test_dropout_is_everywhere_but_in_the_first_convolution_and_the_localisation_nets(monkeypatch):
    shapes = []

    def dropout(x, p, training):
        shapes.append((tuple(x.shape[1:]), p, training))
        return x

    monkeypatch.setattr(functional, "dropout", dropout)
    small("single", dropout=0.3)(torch.randn(1, 3, 32, 32))
    assert [shape[0] for shape, _, _ in shapes] == [6, 13, 16, 19, 19, 19, 19, 307, 307]
    assert {(p, training) for _, p, training in shapes} == {(0.3, True)}


def test_half_precision_gives_theta_and_logits_in_full():
    network = small("multi")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, thetas = network(torch.randn(2, 3, 32, 32))
    assert logits.dtype == torch.float32
    assert {theta.dtype for theta in thetas} == {torch.float32}


def test_an_image_is_normalised_by_its_own_mean():
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    made = sequence_networks.normalised(images)
    assert made.mean(dim=(1, 2, 3)) == pytest.approx(torch.zeros(4), abs=1e-6)
    brighter = sequence_networks.normalised(images // 2 + 100)
    assert torch.allclose(brighter, sequence_networks.normalised(images // 2), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "transformer"}, "no network 'transformer'; allowed: cnn, single, multi"),
        ({"size": 15}, "images of 15 x 15 pixels are too small for 4 poolings by 2; give 16 x 16"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_sentence(change, message):
    with pytest.raises(UserError, match=message):
        Network(SMALL._replace(**change))
    assert Network(SMALL._replace(size=16))(torch.zeros(1, 3, 16, 16))[0].shape == (1, 5, 11)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 4, 32, 32), (2, 3, 64, 64), (2, 3, 32, 33)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(UserError, match=r"have the shape .* reads \(images, 3, 32, 32\)"):
        small("cnn")(torch.zeros(shape))


def test_parameters_of_another_network_are_refused(tmp_path):
    path, parameters = tmp_path / "model.safetensors", small("single").state_dict()

    def load(architecture):
        description = architecture._asdict() | {"seeds": [0]}
        saved_nets.write_replicas(path, [parameters], description)
        return saved_nets.load_replicas(path, "stn.x", lambda described: Network(architecture))

    single = SMALL._replace(network="single")
    assert load(single)[1][0].training is False
    for change in ({"network": "multi"}, {"network": "cnn"}, {"width_scale": 0.2}, {"size": 64}):
        with pytest.raises(UserError, match=r"holds no nets of stn\.x; give a file"):
            load(single._replace(**change))
