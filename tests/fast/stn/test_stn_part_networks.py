import pytest
import torch

from pr12.core import vision
from pr12.stn.model import digit_networks, part_networks
from pr12.stn.model.part_networks import Architecture, PartNetwork, load_pretrained, tiled
from pr12.workflow.errors import UserError


def network(transformers=2, backbone="small", output_size=16, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    return PartNetwork(Architecture(transformers, backbone, 4, output_size, 5, dropout)).eval()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 9])
def test_windows_start_apart_and_inside(count):
    centres = torch.tensor(tiled(count))
    assert len(centres.unique(dim=0)) == count
    assert centres.abs().max() < 1
    assert centres.mean(dim=0)[0].abs() < 0.51


def test_four_windows_tile_the_image_exactly():
    numbers = torch.arange(3 * 32 * 32).reshape(1, 3, 32, 32).float()
    net = network(4)
    theta = torch.tensor(tiled(4))[None]
    crops = net.crops(numbers, theta)
    top, bottom = torch.cat(crops[:2], dim=3), torch.cat(crops[2:], dim=3)
    assert torch.allclose(torch.cat([top, bottom], dim=2), numbers, atol=1e-3)


def test_a_window_is_cut_from_the_image_itself_at_its_place():
    image = torch.rand(1, 3, 32, 32)
    net = network(1)
    # Four pixels to the right and two down: a pixel is 2 / 32
    crop = net.crops(image, torch.tensor([[[4 * 2 / 32, 2 * 2 / 32]]]))[0]
    assert torch.allclose(crop, image[:, :, 10:26, 12:28], atol=1e-5)


def test_a_larger_output_samples_the_same_window_more_finely():
    image = torch.rand(1, 3, 16, 16)
    net = network(1, output_size=16)
    crop = net.crops(image, torch.zeros(1, 1, 2))[0]
    assert crop.shape == (1, 3, 16, 16)
    expected = torch.nn.functional.interpolate(
        image, scale_factor=2, mode="bilinear", align_corners=False
    )[:, :, 8:24, 8:24]
    assert torch.allclose(crop, expected, atol=1e-5)


def test_what_lies_outside_of_the_image_is_its_middle_grey():
    crop = network(1).crops(torch.ones(1, 3, 32, 32), torch.tensor([[[3.0, 0.0]]]))[0]
    assert crop.abs().max() == 0
    assert part_networks.normalised(torch.tensor([127, 128]).byte()).abs().max() < 0.01


def test_windows_are_at_their_start_for_every_image():
    net = network(2)
    _, theta = net(torch.rand(3, 3, 32, 32))
    assert theta.tolist() == [[[-0.5, 0.0], [0.5, 0.0]]] * 3


def test_one_localisation_net_and_a_backbone_for_each_window():
    net = network(4)
    assert len(net.backbones) == 4
    firsts = [backbone[0].weight for backbone in [*net.backbones, net.localisation[0]]]
    assert len({tensor.data_ptr() for tensor in firsts}) == 5  # shared by none
    assert net.theta.out_features == 8
    assert net.classifier.in_features == 4 * 16


def test_without_transformers_the_whole_image_is_seen_smaller():
    net = network(0)
    images = torch.rand(2, 3, 32, 32)
    logits, theta = net(images)
    assert theta.shape == (2, 0, 2)
    assert torch.allclose(net(part_networks.shrunk(images, 16))[0], logits, atol=1e-5)
    assert not hasattr(net, "localisation")


def test_shrinking_keeps_the_mean_and_removes_what_cannot_be_shown():
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    small = part_networks.shrunk(checkers.float().expand(1, 3, 64, 64), 32)
    assert small[..., 2:-2, 2:-2].std() < 1e-3
    assert small.mean() == pytest.approx(0.5, abs=1e-3)


def test_the_gradient_reaches_the_localisation_net_through_the_windows():
    net = network(2).train()
    torch.nn.init.normal_(net.theta.weight, std=0.01)
    logits, _ = net(torch.rand(4, 3, 32, 32))
    logits.square().sum().backward()
    for name, value in net.named_parameters():
        assert value.grad is not None, name
    assert net.theta.bias.grad.abs().min() > 0
    assert net.localisation[0][0].weight.grad.abs().max() > 0


def test_places_are_computed_in_32_bits_under_autocast():
    net = network(2)
    torch.nn.init.normal_(net.theta.weight, std=0.01)
    images = torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theta = net(images)[1]
    assert theta.dtype == torch.float32
    assert not torch.equal(theta, theta.bfloat16().float())


def test_parameters_are_counted():
    net = network(2)
    # A backbone: four convolutions without bias, and two numbers per channel of normalisation
    convolutions = 9 * (3 * 4 + 4 * 8 + 8 * 16 + 16 * 16)
    backbone = convolutions + 2 * (4 + 8 + 16 + 16)
    localisation = 16 * 128 + 2 * 128 + 128 * 4 * 128 + 2 * 128 + 128 * 4 + 4
    assert digit_networks.count(net) == 3 * backbone + localisation + 32 * 5 + 5


@pytest.mark.parametrize(("backbone", "side"), [("small", 7), ("googlenet", 31)])
def test_windows_too_small_for_the_backbone_are_refused(backbone, side):
    message = f"output_size is {side}; the {backbone} backbone needs {side + 1} pixels or more"
    with pytest.raises(UserError, match=message):
        network(2, backbone, side)


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(
        UserError, match=r"the images have the shape \(1, 1, .*; this net reads squares"
    ):
        network()(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize("side", [8, 15, 16, 33, 64, 71])
def test_cells_are_the_places_of_the_features(side):
    net, _ = part_networks.backbone("small", 1)
    features = net.eval()(torch.zeros(1, 3, side, side))
    assert part_networks.cells("small", side) == features[0, 0].numel()


# --- GoogLeNet ---


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(7)
    models = vision.import_torchvision().models
    return models.GoogLeNet(
        num_classes=1000, aux_logits=True, transform_input=False, init_weights=True
    ).eval()


@pytest.fixture(scope="module")
def googlenets():
    return network(2, "googlenet", 32)


def test_googlenet_gives_7_x_7_x_1024_of_224_pixels():
    with torch.device("meta"):
        net, channels = part_networks.backbone("googlenet", 1)
        assert net.eval()(torch.empty(1, 3, 224, 224)).shape == (1, 1024, 7, 7)
    assert channels == 1024


def test_pretrained_descriptors_are_those_of_torchvision(whole, googlenets):
    load_pretrained(googlenets, whole.state_dict(), "x")
    images = torch.randn(2, 3, 64, 64)
    seen = {}
    handle = whole.avgpool.register_forward_hook(lambda _m, _i, out: seen.update(out=out))
    with torch.inference_mode():
        whole(images)
        nets = [*googlenets.backbones, googlenets.localisation[0]]
        actual = [net(images).mean(dim=(2, 3)) for net in nets]
    handle.remove()
    for one in actual:
        assert torch.allclose(one, seen["out"].flatten(1), atol=1e-4)


def test_a_file_without_counts_of_batches_and_softmax_layers_is_enough(whole, googlenets):
    needed = {
        key: value
        for key, value in whole.state_dict().items()
        if not key.startswith(("fc.", "aux")) and not key.endswith("num_batches_tracked")
    }
    load_pretrained(googlenets, needed, "x")
    first = googlenets.backbones[1].conv1.conv.weight
    assert torch.equal(first, whole.conv1.conv.weight)


@pytest.mark.parametrize("change", ["missing", "shape", "unknown"])
def test_weights_of_another_network_are_refused(whole, googlenets, change):
    tensors = dict(whole.state_dict())
    if change == "missing":
        del tensors["conv1.conv.weight"]
    elif change == "shape":
        tensors["conv1.conv.weight"] = torch.zeros(64, 3, 3, 3)
    else:
        tensors["layer1.weight"] = torch.zeros(3)
    message = r"x has not the parameters of torchvision's GoogLeNet \(first of 1: "
    with pytest.raises(UserError, match=message):
        load_pretrained(googlenets, tensors, "x")
