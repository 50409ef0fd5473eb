import pytest
import torch

import bad_inputs
from pr12.core import tensor_files
from pr12.data import splits
from pr12.workflow.errors import UserError

IMAGES = torch.tensor([[[0, 128], [255, 51]]], dtype=torch.uint8)
LABELS = torch.tensor([7])


@pytest.mark.parametrize("maximum", ["255", "510"])
def test_pixels_are_scaled_by_the_data_sets_maximum(tmp_path, maximum):
    tensors = {"images": IMAGES, "labels": LABELS}
    tensor_files.write_tensors(tmp_path / "a", tensors, {"maximum": maximum})
    result = splits.load_split(tmp_path / "a")
    assert result.images.dtype == torch.float32
    expected = IMAGES.double() / int(maximum)
    torch.testing.assert_close(result.images.double(), expected, rtol=1e-6, atol=0)
    assert torch.equal(result.labels, LABELS)
    assert result.labels.dtype == torch.int64


GOOD = {"images": IMAGES, "labels": LABELS}
BAD_INPUTS = [  # id, tensors, maximum, what the message must hold
    ("no labels", {"images": IMAGES}, "255", "no images with labels"),
    ("no images", {"labels": LABELS}, "255", "no images with labels"),
    ("no maximum", GOOD, None, "and a maximum"),
    ("a channel too many", GOOD | {"images": IMAGES[None]}, "255", "(1, 1, 2, 2)"),
    ("rows of pixels", GOOD | {"images": IMAGES[0]}, "255", "(2, 2)"),
    ("one number", GOOD | {"images": IMAGES[0, 0, 0]}, "255", "shape ()"),
    ("images without pixels", GOOD | {"images": IMAGES[..., :0]}, "255", "(1, 2, 0)"),
    ("a label too many", GOOD | {"labels": LABELS.repeat(2)}, "255", "labels of the shape (2,)"),
    ("no label", GOOD | {"labels": LABELS[:0]}, "255", "labels of the shape (0,)"),
    ("labels of pixels", GOOD | {"labels": IMAGES.clone()}, "255", "labels of the shape (1, 2, 2)"),
    ("a maximum of 0", GOOD, "0", "maximum '0'"),
    ("a negative maximum", GOOD, "-1", "maximum '-1'"),
    ("a text as maximum", GOOD, "white", "maximum 'white'"),
    ("NaN as maximum", GOOD, "nan", "maximum 'nan'"),
    ("an infinite maximum", GOOD, "inf", "maximum 'inf'"),
]


@pytest.mark.parametrize(
    ("tensors", "maximum", "words"),
    [row[1:] for row in BAD_INPUTS],
    ids=[row[0] for row in BAD_INPUTS],
)
def test_tensors_that_are_no_split_are_one_sentence(tmp_path, tensors, maximum, words):
    metadata = {"maximum": maximum} if maximum else {}
    tensor_files.write_tensors(tmp_path / "a", tensors, metadata)
    parts = (str(tmp_path / "a"), words, "it is not a split")
    bad_inputs.answered(lambda: splits.load_split(tmp_path / "a"), parts)


def test_a_missing_split_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        splits.load_split(tmp_path / "nothing")
