import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pr12.rca.model import unet

CPU = torch.device("cpu")
CHANNELS = (4, 8, 16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# --- the net ---


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (8, 12, 16)])
@pytest.mark.parametrize("structures", [1, 3])
def test_logits_have_the_size_of_the_image_and_one_channel_per_label(size, structures):
    net = unet.network(len(size), structures, CHANNELS, 0)
    assert net(noise(2, 1, *size)).shape == (2, structures + 1, *size)


def test_a_seed_is_a_net_and_draws_nothing_from_the_global_stream():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (unet.network(2, 3, CHANNELS, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.0.conv.weight"], other["model.0.conv.weight"])


def test_each_image_is_normalised_by_itself():
    """No statistics are shared in a batch or kept: a scan is segmented the same in any company."""
    net = unet.network(2, 3, CHANNELS, 0)
    batch = noise(3, 1, 16, 16)
    one = torch.cat([net(image[None]) for image in batch])
    torch.testing.assert_close(net(batch), one, atol=1e-5, rtol=1e-5)
    assert not [name for name, _ in net.named_buffers()]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("structures", [1, 3])
@pytest.mark.parametrize("channels", [(4, 8, 16), (8, 8, 8), (3, 5, 6)])
def test_a_net_is_rebuilt_from_its_parameters_alone(dimensions, structures, channels):
    net = unet.network(dimensions, structures, channels, 7)
    again = unet.rebuilt(net.state_dict())
    x = noise(1, 1, *(8,) * dimensions)
    assert torch.equal(net(x), again(x))


# --- batches ---


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 21), st.integers(1, 21)), min_size=1, max_size=3))
def test_arrays_lie_at_the_start_of_a_batch_of_a_size_that_can_be_halved_twice(shapes):
    arrays = [np.random.default_rng(0).uniform(1, 2, shape) for shape in shapes]
    batch = unet.batched(arrays, CPU)
    assert batch.dtype == torch.float32
    assert batch.shape[:2] == (len(arrays), 1)
    for axis in (0, 1):
        largest = max(shape[axis] for shape in shapes)
        assert batch.shape[2 + axis] == max(8, next(n for n in range(0, 99, 4) if n >= largest))
    for row, array in zip(batch[:, 0].numpy(), arrays, strict=True):
        height, width = array.shape
        np.testing.assert_allclose(row[:height, :width], array, rtol=1e-6)
        assert np.count_nonzero(row) == array.size  # else zero


def test_volumes_of_other_shapes_share_a_batch():
    batch = unet.batched([np.ones((3, 9, 8), np.uint8), np.ones((8, 8, 13), np.uint8)], CPU)
    assert batch.shape == (2, 1, 8, 12, 16)
    assert batch.sum(dim=(1, 2, 3, 4)).tolist() == [3 * 9 * 8, 8 * 8 * 13]


# --- labels ---


@pytest.mark.parametrize("shape", [(5, 7), (16, 9), (3, 6, 5)])
def test_the_most_likely_label_of_each_voxel_is_taken_and_padding_cut_off(shape):
    net = unet.network(len(shape), 3, CHANNELS, 0)
    images = [noise(*shape, seed=seed).numpy() for seed in (0, 1)]
    actual = unet.segment(net, images, CPU)
    for image, labels in zip(images, actual, strict=True):
        assert (labels.shape, labels.dtype) == (shape, np.uint8)
        logits = net(unet.batched([image], CPU))[0].detach().numpy()
        for place in np.ndindex(shape):
            assert labels[place] == logits[(slice(None), *place)].argmax()
    assert len(np.unique(actual)) > 1


# --- the loss ---


def by_hand(logits, labels):
    """Dice of the structures over the whole batch, and cross entropy of all labels, averaged."""
    shares, wanted = torch.softmax(logits, dim=1), labels[:, 0].long()
    onehot = functional.one_hot(wanted, logits.shape[1]).movedim(-1, 1).float()
    axes = (0, *range(2, logits.ndim))
    both, total = (shares * onehot).sum(axes), shares.sum(axes) + onehot.sum(axes)
    dice = 1 - (2 * both + 1e-5) / (total + 1e-5)
    return dice[1:].mean() + functional.cross_entropy(logits, wanted)


@pytest.mark.parametrize("size", [(6, 5), (3, 4, 5)])
def test_the_loss_is_dice_of_the_structures_plus_cross_entropy(size):
    logits = 4 * noise(3, 4, *size) - 2
    labels = torch.randint(0, 4, (3, 1, *size), generator=torch.Generator().manual_seed(1)).float()
    assert float(unet.loss()(logits, labels)) == pytest.approx(float(by_hand(logits, labels)))


def test_a_right_answer_costs_nothing_and_a_wrong_one_much():
    labels = torch.tensor([[[[0.0, 1.0], [2.0, 1.0]]]])
    right = 40 * functional.one_hot(labels[:, 0].long(), 3).movedim(-1, 1).float()
    assert float(unet.loss()(right, labels)) < 1e-4
    assert float(unet.loss()(right.roll(1, dims=1), labels)) > 20


def test_a_net_learns_one_image_by_heart():
    image = np.zeros((16, 16), np.float32)
    labels = np.zeros((16, 16), np.uint8)
    image[2:8, 2:8], image[9:14, 9:14] = 0.5, 1.0
    labels[2:8, 2:8], labels[9:14, 9:14] = 1, 2
    net, criterion = unet.network(2, 2, CHANNELS, 0), unet.loss()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        value = criterion(net(unet.batched([image], CPU)), unet.batched([labels], CPU))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert (unet.segment(net, [image], CPU)[0] == labels).mean() > 0.97
