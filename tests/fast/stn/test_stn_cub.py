import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from cub_archives import ALBATROSS, LAYSAN, NAMES, jpeg, members, pack
from pr12.stn.data import cub
from pr12.workflow.errors import UserError


@pytest.fixture
def archive(tmp_path):
    return pack(tmp_path / "CUB_200_2011.tgz", members())


# --- lists ---


def test_lists_are_joined_by_id_and_classes_count_from_0(archive):
    birds = cub.read_lists(archive)
    assert birds.names == list(NAMES.values())
    assert birds.labels.tolist() == [0, 0, 1]
    assert birds.training.tolist() == [False, True, True]
    assert birds.classes == [ALBATROSS, LAYSAN]
    assert birds.labels.dtype == torch.int64


def test_the_order_of_lines_in_other_lists_does_not_matter(tmp_path):
    changed = members(
        image_class_labels__txt="3 2\n1 1\n2 1\n", train_test_split__txt="2 1\n3 1\n1 0\n"
    )
    birds = cub.read_lists(pack(tmp_path / "a.tgz", changed))
    assert birds.labels.tolist() == [0, 0, 1]
    assert birds.training.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images__txt": None}, "has no CUB_200_2011/images.txt, so it is not CUB-200-2011"),
        ({"classes__txt": None}, "has no CUB_200_2011/classes.txt"),
        ({"train_test_split__txt": None}, "has no CUB_200_2011/train_test_split.txt"),
        (
            {"image_class_labels__txt": "1 1\n2 1\n"},
            r"images.txt and image_class_labels.txt of .* list other images .*id 3\)",
        ),
        (
            {"train_test_split__txt": "1 0\n2 1\n3 1\n4 1\n"},
            r"images.txt and train_test_split.txt of .* list other images .*id 4\)",
        ),
        ({"image_class_labels__txt": "1 1\n2 1\n3 3\n"}, "image 3 of .* has the class '3', which"),
        ({"train_test_split__txt": "1 0\n2 1\n3 2\n"}, "says '2' of image 3; it must say 0 or 1"),
        ({"images__txt": "1 a/b.jpg\n2 a/c.jpg\n3 a/b.jpg\n"}, "lists a file twice"),
        ({"images__txt": "1 a/b.jpg\n2 ../c.jpg\n3 a/d.jpg\n"}, r"lists '\.\./c\.jpg'; it must be"),
        ({"images__txt": "1 /etc/b.jpg\n2 a/c.jpg\n3 a/d.jpg\n"}, "lists '/etc/b.jpg'; it must be"),
        ({"images__txt": "1 a/b.png\n2 a/c.jpg\n3 a/d.jpg\n"}, "lists 'a/b.png'; it must be"),
        ({"images__txt": "1 a/b.jpg\n1 a/c.jpg\n"}, "line 2 of images.txt of .* is '1 a/c.jpg'"),
        ({"images__txt": "1 a/b c.jpg\n"}, "line 1 of images.txt of .* is '1 a/b c.jpg'; it must"),
        ({"classes__txt": "one albatross\n"}, "line 1 of classes.txt of .* is 'one albatross'"),
        ({"images__txt": b"\xff\xfe1"}, "images.txt of .* is not a text"),
        (
            {"images__txt": "", "image_class_labels__txt": "", "train_test_split__txt": ""},
            "lists no images",
        ),
    ],
)
def test_lists_that_do_not_fit_are_one_sentence(tmp_path, changes, message):
    path = pack(tmp_path / "a.tgz", members(**changes))
    with pytest.raises(UserError, match=message) as output:
        cub.read_lists(path)
    assert str(output.value).endswith("delete it and run again, and it is fetched anew")
    assert "\n" not in str(output.value)


# --- photographs ---


def test_photographs_come_in_the_asked_order(tmp_path):
    key = f"CUB_200_2011/images/{NAMES[3]}"
    path = pack(tmp_path / "a.tgz", members() | {key: jpeg((10, 20, 30))})
    photographs = cub.read_photographs(path, [NAMES[3], NAMES[1]], 16)
    assert photographs.shape == (2, 3, 16, 16)
    assert photographs.dtype == torch.uint8
    expected = torch.tensor([[10, 20, 30], [200, 100, 50]])
    assert (photographs[:, :, 8, 8].int() - expected).abs().max() <= 2  # JPEG loses a little


def test_the_shorter_side_is_resized_and_the_middle_cut_out():
    # Left and right quarters white, the middle half black: exactly the middle is left
    pixels = np.zeros((20, 40), np.uint8)
    pixels[:, :8] = pixels[:, 32:] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=95)
    cut = cub.square(stream.getvalue(), 10, "a.jpg")
    assert cut.shape == (3, 10, 10)
    assert cut[:, :, 1:9].max() < 20
    assert (cut[0] == cut[1]).all()  # grey


def test_a_gradient_keeps_its_direction():
    ramp = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))  # brighter to the right
    stream = io.BytesIO()
    Image.fromarray(ramp).save(stream, format="JPEG", quality=95)
    cut = cub.square(stream.getvalue(), 8, "a.jpg")[0].astype(int)
    assert (np.diff(cut, axis=1) > 15).all()
    assert (abs(np.diff(cut, axis=0)) < 5).all()


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>Not found</html>", jpeg()[:-300], jpeg()[:100]],
)
def test_a_broken_photograph_is_told(tmp_path, content):
    key = f"CUB_200_2011/images/{NAMES[2]}"
    path = pack(tmp_path / "a.tgz", members() | {key: content})
    with pytest.raises(UserError, match=f"{NAMES[2]} of .* is not a whole JPEG file; delete"):
        cub.read_photographs(path, [NAMES[1], NAMES[2]], 16)


def test_a_picture_of_another_format_is_told():
    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, format="PNG")
    with pytest.raises(UserError, match=r"a\.jpg is not a whole JPEG file"):
        cub.square(stream.getvalue(), 8, "a.jpg")


def test_missing_photographs_are_counted(tmp_path):
    gone = [f"CUB_200_2011/images/{NAMES[key]}" for key in (1, 3)]
    left = {name: content for name, content in members().items() if name not in gone}
    path = pack(tmp_path / "a.tgz", left)
    with pytest.raises(UserError, match=f"lacks CUB_200_2011/images/{NAMES[1]} and 1 more; delete"):
        cub.read_photographs(path, list(NAMES.values()), 16)


def test_a_link_in_the_place_of_a_photograph_is_not_followed(tmp_path):
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(f"CUB_200_2011/images/{NAMES[1]}")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(UserError, match="is a link or no file"):
        cub.read_photographs(path, [NAMES[1]], 16)


def test_a_member_that_claims_far_too_many_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cub, "LARGEST", 20)
    path = pack(tmp_path / "a.tgz", members())
    with pytest.raises(UserError, match="bytes and at most 20 are read"):
        cub.read_photographs(path, [NAMES[1]], 16)


# --- the archive ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a whole .tar.gz archive"),
        (b"<html>Please log in</html>", "is not a whole .tar.gz archive"),
        (b"\x1f\x8b\x08\x00" + 60 * b"\x00", "is not a whole .tar.gz archive"),
    ],
)
def test_what_is_no_archive_is_told(tmp_path, content, message):
    path = tmp_path / "a.tgz"
    path.write_bytes(content)
    for read in (cub.read_lists, lambda path: cub.read_photographs(path, ["a/b.jpg"], 8)):
        with pytest.raises(UserError, match=message):
            read(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_archive_is_told(archive, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    # The lists lie at the archive's end; photographs that are whole could be read
    with pytest.raises(UserError, match=r"is not a whole \.tar\.gz archive|has no CUB"):
        cub.read_lists(archive)


def test_bytes_that_are_changed_never_give_a_traceback(archive):
    content = bytearray(archive.read_bytes())
    refused = 0
    for place in range(10, len(content), 97):
        changed = content.copy()
        changed[place] ^= 0xFF
        archive.write_bytes(bytes(changed))
        try:
            cub.read_photographs(archive, cub.read_lists(archive).names, 8)
        except UserError:  # nothing else comes through
            refused += 1
    assert refused > 0


def test_an_archive_that_is_gone_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*a\.tgz: No such file or directory"):
        cub.read_lists(tmp_path / "a.tgz")
