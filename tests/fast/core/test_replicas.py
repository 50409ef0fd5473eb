import pytest
import torch
from torch import nn

from pr12.core import determinism, replicas


def build(generator):
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=generator)
    return net


@pytest.mark.parametrize(
    ("seeds", "widest", "expected"),
    [
        ((3, 1, 2), 512, [(3, 1, 2)]),
        ((3, 1, 2), 513, [(3,), (1,), (2,)]),
        ((0,), 2000, [(0,)]),
    ],
)
def test_groups_hold_every_seed_once_in_order(seeds, widest, expected):
    assert replicas.groups(seeds, widest) == expected


def test_each_replica_starts_from_its_own_seed():
    module, parameters = replicas.stack(build, [7, 3])
    for replica, seed in enumerate((7, 3)):
        alone = build(determinism.generator(seed, "init")).state_dict()
        assert parameters.keys() == alone.keys()
        for name, value in alone.items():
            assert (parameters[name][replica] == value).all()
            assert parameters[name].requires_grad
            assert parameters[name].is_leaf
    assert {name for name, _ in module.named_parameters()} == set(parameters)


def test_forward_is_each_net_with_its_own_inputs():
    module, parameters = replicas.stack(build, [0, 1, 2])
    inputs = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0))
    result = replicas.forward(module, parameters, inputs)
    for replica in range(3):
        expected = build(determinism.generator(replica, "init"))(inputs[replica])
        torch.testing.assert_close(result[replica], expected)


def test_forward_hands_on_none_and_tuples():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, inputs, masks=None):
            return self.gain * (inputs if masks is None else inputs * masks[0] + masks[1])

    inputs, masks = torch.full((2, 3), 5.0), (torch.full((2, 3), 2.0), torch.ones(2, 3))
    parameters = {"gain": torch.tensor([[1.0], [10.0]])}
    plain = replicas.forward(Masked(), parameters, inputs, None)
    assert plain.tolist() == [[5.0] * 3, [50.0] * 3]
    masked = replicas.forward(Masked(), parameters, inputs, masks)
    assert masked.tolist() == [[11.0] * 3, [110.0] * 3]


def test_the_sum_of_losses_has_each_replicas_own_gradient():
    module, parameters = replicas.stack(build, [0, 1])
    inputs = torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(0))
    replicas.forward(module, parameters, inputs).square().mean(dim=(1, 2)).sum().backward()
    for replica in range(2):
        net = build(determinism.generator(replica, "init"))
        net(inputs[replica]).square().mean().backward()
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(parameters[name].grad[replica], parameter.grad)


@pytest.mark.parametrize("batch", [1, 4, 7, 1000])
def test_shared_inputs_in_batches_are_all_inputs_at_once(batch):
    module, parameters = replicas.stack(build, [0, 1])
    inputs = torch.rand(7, 4, generator=torch.Generator().manual_seed(0))
    result = replicas.forward_shared(module, parameters, inputs, batch)
    torch.testing.assert_close(result, replicas.forward(module, parameters, inputs.expand(2, 7, 4)))
    assert not result.requires_grad


def test_permutations_are_permutations_and_belong_to_the_generator():
    def streams(*seeds):
        return [determinism.generator(seed, "shuffle") for seed in seeds]

    result = replicas.permutations(streams(0, 1, 2), 20)
    assert (result.sort(dim=1).values == torch.arange(20)).all()
    assert (result[0] != result[1]).any()
    assert (replicas.permutations(streams(2), 20)[0] == result[2]).all()
