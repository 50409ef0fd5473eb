import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn
from torch.nn import functional

from pr12.core import replicas
from pr12.distill.model import losses, mimic, mlp


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, scale=2.0):
    return scale * torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("hidden", "bottleneck", "expected"),
    [
        ((1200, 1200), 0, 2_395_210),  # the teacher of Hinton Sec. 3
        ((800, 800), 0, 1_276_810),  # its student
        ((1600,), 0, 785 * 1600 + 1601 * 10),
        ((6400,), 160, 785 * 160 + 161 * 6400 + 6401 * 10),
    ],
)
def test_parameter_counts(hidden, bottleneck, expected):
    assert mlp.parameter_count(mlp.MLP(784, hidden, 10, bottleneck, stream())) == expected


def test_linear_is_torchs_linear_with_the_weight_transposed():
    ours, theirs = mlp.Linear(5, 3, stream()), nn.Linear(5, 3, bias=True)
    theirs.load_state_dict({"weight": ours.weight.T, "bias": torch.tensor([1.0, -2.0, 3.0])})
    ours.bias.data = torch.tensor([1.0, -2.0, 3.0])
    inputs = normal(7, 5).float()
    torch.testing.assert_close(ours(inputs), theirs(inputs))


def test_initial_weights_are_he_normal_and_belong_to_the_stream():
    layer = mlp.Linear(400, 500, stream(3))
    assert layer.weight.std(correction=0).item() == pytest.approx(math.sqrt(2 / 400), rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.001)
    assert (layer.bias == 0).all()
    assert (layer.weight == mlp.Linear(400, 500, stream(3)).weight).all()
    assert (layer.weight != mlp.Linear(400, 500, stream(4)).weight).any()


@pytest.mark.parametrize("bottleneck", [0, 3])
def test_the_net_written_out_in_numpy(bottleneck):
    net = mlp.MLP(6, (5, 4), 3, bottleneck, stream()).double()
    images = normal(8, 6)
    masks = [(normal(8, width, seed=width) > 0) * 2.0 for width in (6, 5, 4)]
    values = images.numpy() * masks[0].numpy()
    layers = [*([net.bottleneck] if bottleneck else []), *net.layers]
    for layer in layers:
        values = values @ layer.weight.detach().numpy() + layer.bias.detach().numpy()
        if layer is not net.bottleneck and layer is not net.layers[-1]:
            place = [id(other) for other in net.layers].index(id(layer)) + 1
            values = np.maximum(values, 0) * masks[place].numpy()
    actual = net(images, masks).detach().numpy()
    assert actual == pytest.approx(values)
    assert actual != pytest.approx(net(images).detach().numpy())


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_a_net_restored_from_its_stack_is_the_net(bottleneck):
    nets = [mlp.MLP(6, (5, 3), 2, bottleneck, stream(seed)) for seed in (0, 1)]
    states = [net.state_dict() for net in nets]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    restored = mlp.restore(stacked)
    restored.load_state_dict({name: value[1] for name, value in stacked.items()}, strict=True)
    images = torch.rand(4, 6, generator=stream())
    assert (restored(images) == nets[1](images)).all()


def test_widths_are_scaled_and_never_below_two():
    assert mlp.scaled_widths((800, 30), 1.0) == (800, 30)
    assert mlp.scaled_widths((1200, 300, 30), 0.25) == (300, 75, 8)
    assert mlp.scaled_widths((30,), 0.02) == (2,)


def test_softmax_at_a_temperature_by_hand():
    z = torch.tensor([math.log(9.0), 0.0], dtype=torch.float64)  # 9 : 1, at T = 2 3 : 1
    assert losses.soften(z, 1.0).tolist() == pytest.approx([0.9, 0.1])
    assert losses.soften(z, 2.0).tolist() == pytest.approx([0.75, 0.25])
    assert losses.soften(z, 1e9).tolist() == pytest.approx([0.5, 0.5])
    assert losses.soften(z, 0.01).tolist() == pytest.approx([1.0, 0.0])
    assert losses.soften(torch.tensor([1e4, 0.0]), 1.0).tolist() == [1.0, 0.0]  # no overflow


def test_soft_loss_by_hand():
    # z / T = (0, ln 3): q = (1/4, 3/4), against p = (1/2, 1/2): ln 4 / 2 + ln (4/3) / 2, times 4
    logits = torch.tensor([[0.0, 2 * math.log(3)]], dtype=torch.float64)
    halves = torch.full((1, 2), 0.5, dtype=torch.float64)
    expected = 4 * (math.log(4) + math.log(4 / 3)) / 2
    assert losses.soft_loss(logits, halves, 2.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5, 20.0])
def test_soft_loss_against_torch(temperature):
    z, p = normal(6, 4), losses.soften(normal(6, 4, seed=1), temperature)
    ours = losses.soft_loss(z, p, temperature) / temperature**2
    cross_entropy = functional.cross_entropy(
        z / temperature, p, reduction="mean", label_smoothing=0.0
    )
    assert ours.item() == pytest.approx(cross_entropy.item())
    log_q = functional.log_softmax(z / temperature, dim=-1)
    divergence = functional.kl_div(log_q, p, reduction="batchmean", log_target=False)
    entropy = torch.special.entr(p).sum(dim=-1).mean()
    assert (ours - entropy).item() == pytest.approx(divergence.item())


def test_hard_loss_against_torch_and_scikit_learn():
    z, labels = normal(9, 4), torch.arange(9) % 4
    ours = losses.hard_loss(z, labels).item()
    theirs = functional.cross_entropy(z, labels, reduction="mean", label_smoothing=0.0).item()
    assert ours == pytest.approx(theirs)
    p = losses.soften(z, 1.0).numpy()
    assert ours == pytest.approx(log_loss(labels.numpy(), p, normalize=True, labels=range(4)))


def test_logit_loss_against_torch():
    z, v = normal(6, 4), normal(6, 4, seed=1)
    expected = functional.mse_loss(z, v, reduction="sum") / (2 * 6)
    assert losses.logit_loss(z, v).item() == pytest.approx(expected.item())


def test_a_one_hot_teacher_at_temperature_one_is_the_label():
    z, labels = normal(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    soft = losses.soft_loss(z, functional.one_hot(labels, 4).double(), 1.0)
    assert soft.item() == pytest.approx(losses.hard_loss(z, labels).item())


@pytest.mark.parametrize("temperature", [1.0, 8.0])
def test_a_student_that_copies_its_teacher(temperature):
    v = normal(6, 4).requires_grad_()
    p = losses.soften(v.detach(), temperature)
    assert losses.logit_loss(v, v.detach()).item() == 0
    loss = losses.soft_loss(v, p, temperature)
    entropy = torch.special.entr(p).sum(dim=-1).mean().item()
    assert loss.item() == pytest.approx(temperature**2 * entropy)
    loss.backward()  # and nothing else is better
    assert v.grad.abs().max().item() < 1e-12


@pytest.mark.parametrize("temperature", [1.0, 3.0, 20.0])
def test_gradient_of_the_soft_loss_is_equation_2(temperature):
    z, v = normal(5, 4).requires_grad_(), normal(5, 4, seed=1)
    p, q = (losses.soften(logits.detach(), temperature) for logits in (v, z))
    losses.soft_loss(z, p, temperature).backward()
    torch.testing.assert_close(z.grad, temperature**2 * (q - p) / temperature / 5)


def test_gradient_tends_to_that_of_matching_logits_as_temperature_grows():
    z, v = normal(5, 4), normal(5, 4, seed=1)
    z, v = (a - a.mean(dim=-1, keepdim=True) for a in (z, v))
    z.requires_grad_()
    (matching,) = torch.autograd.grad(losses.logit_loss(z, v) / 4, z)  # Eq. 4: (z - v) / C
    gaps, ratios = [], []
    for temperature in (1.0, 10.0, 100.0, 1000.0):
        loss = losses.soft_loss(z, losses.soften(v, temperature), temperature)
        (soft,) = torch.autograd.grad(loss, z)
        cosine = functional.cosine_similarity(soft.flatten(), matching.flatten(), dim=0)
        gaps.append(1 - cosine.item())
        ratios.append(abs(1 - (soft.norm() / matching.norm()).item()))
    assert gaps == sorted(gaps, reverse=True)
    assert ratios[1:] == sorted(ratios[1:], reverse=True)
    assert gaps[0] > 0.01
    assert gaps[-1] < 1e-5
    assert ratios[-1] < 1e-2


def test_losses_of_a_stack_are_the_losses_of_its_replicas():
    z, v, labels = normal(3, 5, 4), normal(3, 5, 4, seed=1), torch.arange(15).reshape(3, 5) % 4
    p = losses.soften(v, 2.0)
    for together, alone in (
        (losses.soft_loss(z, p, 2.0), [losses.soft_loss(z[i], p[i], 2.0) for i in range(3)]),
        (losses.hard_loss(z, labels), [losses.hard_loss(z[i], labels[i]) for i in range(3)]),
        (losses.logit_loss(z, v), [losses.logit_loss(z[i], v[i]) for i in range(3)]),
    ):
        torch.testing.assert_close(together, torch.stack(alone))


def test_means_of_an_ensemble_by_hand():
    # T = 1: members say 9:1 and 1:1. Arithmetic (0.9 + 0.5) / 2; geometric 3:1.
    members = torch.tensor([[[math.log(9.0), 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    arithmetic = losses.ensemble_probabilities(members, 1.0, "arithmetic")
    geometric = losses.ensemble_probabilities(members, 1.0, "geometric")
    assert arithmetic.tolist() == [pytest.approx([0.7, 0.3])]
    assert geometric.tolist() == [pytest.approx([0.75, 0.25])]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_geometric_mean_is_the_renormalised_root_of_the_product(temperature):
    members = normal(3, 6, 4)
    p = losses.soften(members, temperature).prod(dim=0) ** (1 / 3)
    expected = p / p.sum(dim=-1, keepdim=True)
    actual = losses.ensemble_probabilities(members, temperature, "geometric")
    torch.testing.assert_close(actual, expected)


def test_noise_meets_whole_examples_with_its_own_factor_for_every_logit():
    v = torch.ones(20_000, 5)
    xi = losses.noisy_logits(v, 0.15, 0.6, stream()) - 1
    touched = (xi != 0).all(dim=1)
    assert ((xi == 0).all(dim=1) | touched).all()
    assert touched.double().mean().item() == pytest.approx(0.15, abs=0.01)
    drawn = xi[touched]
    assert drawn.std(correction=0).item() == pytest.approx(0.6, rel=0.02)  # sigma, no variance
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert torch.corrcoef(drawn.T).fill_diagonal_(0).abs().max() < 0.1


def test_noise_is_multiplicative():
    v = normal(50, 4).float()
    xi = losses.noisy_logits(torch.ones(50, 4), 1.0, 0.5, stream(7)) - 1
    torch.testing.assert_close(losses.noisy_logits(v, 1.0, 0.5, stream(7)), v * (1 + xi))


@pytest.mark.parametrize("bottleneck", [0, 3])
def test_a_folded_scale_is_the_map_of_the_outputs(bottleneck):
    net = mlp.MLP(6, (5,), 3, bottleneck, stream()).double()
    images = normal(8, 6)
    scale, shift = normal(3, seed=1), normal(3, seed=2)
    stacked = {name: value[None] for name, value in net.state_dict().items()}
    expected = net(images) * scale + shift
    folded = mlp.fold_scale(stacked, scale, shift)
    assert folded.keys() == stacked.keys()
    net.load_state_dict({name: value[0] for name, value in folded.items()})
    torch.testing.assert_close(net(images), expected)


def same_to_the_bit(build, forward, *inputs):
    """Compare outputs and gradients of stacked nets with those of `replicas.forward`."""
    results = []
    for call in (lambda _, *x: forward(*x), replicas.forward):
        module, parameters = replicas.stack(build, range(3))
        outputs = call(module, parameters, *inputs)
        outputs.square().sum().backward()
        results.append([outputs, *(value.grad for value in parameters.values())])
    return all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("hidden", "bottleneck"), [((6, 5), 0), ((40,), 3), ((130, 70), 0)])
def test_stacked_nets_are_those_of_vmap_to_the_bit(hidden, bottleneck, masked, precision):
    torch.set_float32_matmul_precision(precision)
    images = torch.rand(3, 50, 16, generator=stream())
    masks = None
    if masked:
        masks = [2.0 * (torch.rand(3, 50, n, generator=stream(n)) > 0.5) for n in (16, *hidden)]
    assert same_to_the_bit(
        lambda g: mlp.MLP(16, hidden, 4, bottleneck, g), mlp.forward, images, masks
    )
    torch.set_float32_matmul_precision("highest")


def test_stacked_mimic_nets_are_those_of_vmap_to_the_bit():
    inputs = torch.rand(3, 128, 30, generator=stream())
    assert same_to_the_bit(lambda g: mimic.MimicNet(30, 16, g), mimic.forward, inputs)
