import io
import tarfile

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from pr12.stn.data import svhn
from pr12.stn.data.svhn import House
from pr12.workflow.errors import UserError
from svhn_archives import ONE, SIX, TWO, mat, members, pack, png


def crops_of(path):
    houses = svhn.read_houses(svhn.read_boxes(path, "train"), "x")
    into = torch.zeros(len(houses), 3, 64, 64, dtype=torch.uint8)
    svhn.read_crops(path, "train", houses, 64, into)
    return into


# --- digitStruct.mat ---


def test_boxes_are_read_whether_there_is_one_or_several():
    assert svhn.read_houses(mat([ONE, TWO, SIX]), "x") == [
        House("1.png", (5.0, 4.0, 15.0, 24.0), (0,)),  # label 10 is the digit 0
        House("2.png", (12.0, 6.0, 30.0, 24.0), (1, 9)),
        House("3.png", (3.0, 5.0, 39.0, 17.0), (1, 2, 3, 4, 5, 6)),
    ]


def test_the_window_is_around_all_boxes_not_the_first_and_last():
    boxes = [(20.0, 9.0, 5.0, 5.0, 1.0), (2.0, 30.0, 5.0, 9.0, 2.0), (9.0, 1.0, 30.0, 5.0, 3.0)]
    assert svhn.read_houses(mat([("7.png", boxes)]), "x")[0].window == (2.0, 1.0, 39.0, 39.0)


def deleted(name):
    def change(file):
        del file[name]

    return change


def replaced(name, values):
    def change(file):
        del file[name]
        file.create_dataset(name, data=values)

    return change


def as_empty_list(file):
    empty = file["#refs#"].create_dataset("empty", data=np.zeros(2, np.uint64))
    empty.attrs["MATLAB_empty"] = np.uint8(1)
    file["digitStruct/bbox"][0, 0] = empty.ref


def with_null_reference(file):
    file["digitStruct/bbox"][0, 0] = h5py.Reference()


WHOLE = "is not a whole MATLAB 7.3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", WHOLE),
        (b"<html>Not found</html>", WHOLE),
        (mat([ONE, TWO])[:3000], WHOLE),
        (mat([ONE], deleted("digitStruct")), WHOLE),
        (mat([ONE], deleted("digitStruct/bbox")), WHOLE),
        (mat([ONE], deleted("#refs#/b0/label")), WHOLE),
        (mat([ONE], replaced("digitStruct/name", np.zeros((1, 1)))), WHOLE),
        (mat([ONE], replaced("digitStruct/name", np.zeros(3))), WHOLE),
        (mat([ONE], replaced("#refs#/b0/label", np.ones((2, 1)))), WHOLE),
        (mat([ONE], with_null_reference), WHOLE),
        (mat([]), "has 0 names and 0 lists of boxes"),
        (mat([ONE, TWO], replaced("digitStruct/bbox", np.zeros((1, 1)))), "2 names and 1 lists"),
        (mat([("1.png", [])]), r"picture 1 of x \(1.png\) has no boxes"),
        (mat([ONE], as_empty_list), r"picture 1 of x \(1.png\) has no boxes"),
        (mat([ONE, ("2.png", [(1, 1, 5, 5, 0.0)])]), r"picture 2 of x \(2.png\) has the label 0;"),
        (mat([("1.png", [(1, 1, 5, 5, 11.0)])]), "has the label 11; labels are 1 to 10"),
        (mat([("1.png", [(1, 1, 5, 5, 1.5)])]), "has the label 1.5; labels are 1 to 10"),
        (mat([("1.png", [(1, 1, 5, 5, np.nan)])]), "has the label nan; labels are 1 to 10"),
        (mat([("1.png", [(1, 1, 0, 5, 1.0)])]), "has a box of no or of a senseless size"),
        (mat([("1.png", [(1, 1, 5, -5, 1.0)])]), "has a box of no or of a senseless size"),
        (mat([("1.png", [(np.nan, 1, 5, 5, 1.0)])]), "has a box of no or of a senseless size"),
        (mat([("1.png", [(1, 1, 1e9, 5, 1.0)])]), "has a box of no or of a senseless size"),
        (mat([("../1.png", ONE[1])]), r"is called '\.\./1\.png'; it must be a number and \.png"),
        (mat([("1.jpg", ONE[1])]), "is called '1.jpg'; it must be"),
        (mat([ONE, ONE]), "lists a picture twice"),
    ],
)
def test_a_bad_digit_struct_is_one_sentence(content, message):
    with pytest.raises(UserError, match=message) as output:
        svhn.read_houses(content, "x")
    assert str(output.value).endswith("delete it and run again, and it is fetched anew")
    assert "\n" not in str(output.value)


# --- archives ---


def test_pictures_are_cut_out_of_the_archive_in_the_asked_order(tmp_path):
    content = members([ONE, TWO]) | {"1.png": png(colour=(10, 20, 30))}
    path = pack(tmp_path / "train.tar.gz", "train", content)
    houses = svhn.read_houses(svhn.read_boxes(path, "train"), "x")
    into = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    svhn.read_crops(path, "train", houses[::-1], 64, into)
    assert into[:, :, 32, 32].tolist() == [[200, 100, 50], [10, 20, 30]]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-200])


def another(path):
    path.write_bytes(b"<html>Not found</html>")


def other_folder(path):
    pack(path, "test", members([ONE]))


def without_picture(path):
    pack(path, "train", {"digitStruct.mat": mat([ONE, TWO, SIX]), "2.png": png()})


def broken_picture(path):
    pack(path, "train", members([ONE]) | {"1.png": png()[:60]})


def jpeg_picture(path):
    stream = io.BytesIO()
    Image.new("RGB", (40, 40)).save(stream, format="JPEG")
    pack(path, "train", members([ONE]) | {"1.png": stream.getvalue()})


def small_picture(path):
    pack(path, "train", members([ONE]) | {"1.png": png(side=3)})


def picture_is_a_link(path):
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("train/digitStruct.mat")
        content = mat([ONE])
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("train/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncated, r"train\.tar\.gz is not a whole \.tar\.gz archive"),
        (another, r"train\.tar\.gz is not a whole \.tar\.gz archive"),
        (other_folder, r"train\.tar\.gz has no train/digitStruct\.mat, so it is not SVHN's train"),
        (without_picture, r"train\.tar\.gz lacks train/1\.png and 1 more"),
        (broken_picture, r"train/1\.png of .*train\.tar\.gz is not a whole PNG file"),
        (jpeg_picture, r"train/1\.png of .*train\.tar\.gz is not a whole PNG file"),
        (small_picture, r"the boxes of train/1\.png of .*train\.tar\.gz lie outside of it"),
        (picture_is_a_link, r"train/1\.png of .*train\.tar\.gz is a link or no file;"),
        (lambda path: path.unlink(), r"cannot read .*train\.tar\.gz: No such file"),
    ],
)
def test_a_bad_archive_is_one_sentence(tmp_path, change, message):
    path = pack(tmp_path / "train.tar.gz", "train", members([ONE]))
    change(path)
    with pytest.raises(UserError, match=message) as output:
        crops_of(path)
    assert "\n" not in str(output.value)


def test_a_picture_that_says_to_be_huge_is_refused(tmp_path, monkeypatch):
    path = pack(tmp_path / "train.tar.gz", "train", members([ONE]))
    monkeypatch.setattr(svhn, "LARGEST_PICTURE", 50)
    with pytest.raises(UserError, match=r"train/1\.png .* bytes and at most 50 are read; delete"):
        svhn.read_crops(path, "train", [House("1.png", (0, 0, 9, 9), (1,))], 64, torch.zeros(1))


# --- crops ---


def ramp(width, height):
    """Give a picture whose red is its column and whose green is its row."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8))


def test_the_tight_crop_is_the_box_and_30_percent():
    house = House("1.png", (60.0, 80.0, 100.0, 140.0), (1,))  # 40 x 60 around (80, 110)
    made = svhn.crop(ramp(200, 200), house, 64).astype(float)
    # 52 x 78 pixels: columns from 54 to 106, rows from 71 to 149
    across, down = made[0, 32], made[1, :, 32]
    assert across[[0, 63]] == pytest.approx([54, 105], abs=1)
    assert down[[0, 63]] == pytest.approx([71, 148], abs=1)
    assert np.diff(across[5:60]).mean() == pytest.approx(52 / 64, abs=0.02)
    assert np.diff(down[5:60]).mean() == pytest.approx(78 / 64, abs=0.03)


def test_the_loose_crop_has_the_same_scale_and_twice_the_field():
    house = House("1.png", (60.0, 80.0, 100.0, 120.0), (1,))
    tight = svhn.crop(ramp(200, 200), house, 64)
    loose = svhn.crop(ramp(200, 200), house, 128)
    middle = loose[:, 32:96, 32:96].astype(int)
    assert np.abs(middle - tight)[:, 2:-2, 2:-2].max() <= 1
    half = svhn.crop(ramp(200, 200), house, 32)  # the tight one at half the scale
    pooled = tight.reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    assert np.abs(half - pooled)[:, 1:-1, 1:-1].max() <= 1.5


def test_what_lies_outside_of_the_picture_is_black():
    white = Image.new("RGB", (20, 20), "white")
    made = svhn.crop(white, House("1.png", (0.0, 0.0, 20.0, 20.0), (1,)), 128)
    assert made[:, 64, 64].tolist() == [255, 255, 255]
    assert made[:, 5, 64].tolist() == made[:, 64, 5].tolist() == [0, 0, 0]


def test_a_box_of_a_fraction_of_a_pixel_still_gives_a_crop():
    made = svhn.crop(ramp(20, 20), House("1.png", (5.0, 5.0, 5.2, 5.2), (1,)), 64)
    assert made.shape == (3, 64, 64)


def test_labels_are_filled_up_with_blanks():
    houses = [House("1.png", (0.0, 0.0, 1.0, 1.0), digits) for digits in ((0,), (1, 2, 3, 4, 5))]
    assert svhn.sequence_labels(houses).tolist() == [[0, 10, 10, 10, 10], [1, 2, 3, 4, 5]]
