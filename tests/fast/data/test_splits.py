import pytest
import torch

from pr12.core import tensor_files
from pr12.data import splits
from pr12.workflow.errors import UserError

IMAGES = torch.tensor([[[0, 128], [255, 51]]], dtype=torch.uint8)
LABELS = torch.tensor([7])


@pytest.mark.parametrize("maximum", ["255", "510"])
def test_pixels_are_scaled_by_the_data_sets_maximum(tmp_path, maximum):
    tensors = {"images": IMAGES, "labels": LABELS}
    tensor_files.write_tensors(tmp_path / "a", tensors, {"maximum": maximum})
    found = splits.load_split(tmp_path / "a")
    assert found.images.dtype == torch.float32
    expected = IMAGES.double() / int(maximum)
    torch.testing.assert_close(found.images.double(), expected, rtol=1e-6, atol=0)
    assert torch.equal(found.labels, LABELS)
    assert found.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"images": IMAGES}, {"maximum": "255"}),
        ({"labels": LABELS}, {"maximum": "255"}),
        ({"images": IMAGES, "labels": LABELS}, {}),
    ],
)
def test_tensors_that_are_no_split_are_one_sentence(tmp_path, tensors, metadata):
    tensor_files.write_tensors(tmp_path / "a", tensors, metadata)
    with pytest.raises(UserError, match="it is not a split"):
        splits.load_split(tmp_path / "a")


def test_a_missing_split_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        splits.load_split(tmp_path / "nothing")
