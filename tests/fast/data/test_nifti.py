"""What a NIfTI header tells of the grid, beside what SimpleITK makes of the same file."""

import math
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pr12.data import nifti

TURNED = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # about z, by a quarter
HALF_TURN = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
MIRRORED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6)


def volume(folder, direction=TURNED, **changes):
    """Return a NIfTI-1 file of 4 x 3 x 2 voxels as bytes, with some fields of its header changed.

    A change is (format, where, *values).
    """
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    image.SetSpacing((0.5, 1.0, 2.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(direction)
    path = folder / "a.nii"
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    for kind, where, *values in changes.values():
        struct.pack_into(kind, content, where, *values)
    path.write_bytes(content)
    return bytes(content)


def of_version_2(content):
    """Return a NIfTI-1 file as NIfTI-2, big endian."""
    fields = {
        name: np.frombuffer(content, "<" + kind, count, where)
        for name, (kind, where, count) in nifti.FIELDS[1].items()
    }
    header = bytearray(540)
    struct.pack_into(">i8s", header, 0, 540, b"n+2\0\r\n\032\n")
    for name, (kind, where, _) in nifti.FIELDS[2].items():
        data = fields[name].astype(">" + kind).tobytes()
        header[where : where + len(data)] = data
    struct.pack_into(">q", header, 168, 544)
    return bytes(header) + bytes(4) + content[352:]


@pytest.mark.parametrize("direction", [TURNED, HALF_TURN, MIRRORED, OBLIQUE])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("which", ["qform", "sform"])
def test_both_forms_are_those_that_simpleitk_wrote(tmp_path, direction, version, which):
    content = volume(tmp_path, direction)
    header = nifti.read_header(content if version == 1 else of_version_2(content))
    image = sitk.ReadImage(str(tmp_path / "a.nii"))
    grid = nifti.grid(getattr(header, which))
    np.testing.assert_allclose(grid.spacing, image.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(grid.origin, image.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(grid.direction, image.GetDirection(), atol=1e-6)
    assert header.version == version
    assert header.shape == (4, 3, 2)
    assert nifti.disagreement(header) < 1e-5


def test_the_sform_counts_unless_its_code_is_0(tmp_path):
    shifted = nifti.read_header(volume(tmp_path, place=("<f", 292, 12.0)))  # srow_x's last
    assert nifti.form(shifted) is shifted.sform
    assert nifti.disagreement(shifted) == pytest.approx(22.0)
    alone = nifti.read_header(volume(tmp_path, place=("<f", 292, 12.0), code=("<h", 254, 0)))
    assert alone.sform is None
    assert nifti.form(alone) is alone.qform
    assert nifti.disagreement(alone) == 0.0
    neither = nifti.read_header(volume(tmp_path, codes=("<2h", 252, 0, 0)))
    assert nifti.form(neither) is None


def test_a_flip_of_one_form_is_as_far_as_the_grid_is_wide(tmp_path):
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    header = nifti.read_header(volume(tmp_path, direction, flip=("<f", 280, 0.5)))
    assert header.qform[0, 0] == -0.5
    assert nifti.disagreement(header) == pytest.approx(3.0)  # 3 voxels of 0.5 mm, both ways


def test_lengths_in_micrometres_are_told_in_mm(tmp_path):
    header = nifti.read_header(volume(tmp_path, units=("<b", 123, 3)))
    image = sitk.ReadImage(str(tmp_path / "a.nii"))
    np.testing.assert_allclose(nifti.grid(header.sform).spacing, (0.0005, 0.001, 0.002))
    np.testing.assert_allclose(image.GetSpacing(), (0.0005, 0.001, 0.002))


@pytest.mark.parametrize("where", [256, 268, 280])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_forms_that_are_no_numbers_are_infinitely_far_apart(tmp_path, where, bad):
    header = nifti.read_header(volume(tmp_path, bad=("<f", where, bad)))
    assert nifti.disagreement(header) == math.inf or bad == 3e38
    for form in (header.qform, header.sform):
        if not np.isfinite(form).all():
            with pytest.raises(ValueError, match="no grid"):
                nifti.grid(form)


BAD_INPUTS = [  # id, field of the header, what the message must hold
    ("size of the header", ("<i", 0, 349), "not a NIfTI file"),
    ("magic of a pair of files", ("<4s", 344, b"ni1\0"), "not a NIfTI file"),
    ("no axes", ("<h", 40, 0), "without a shape"),
    ("eight axes", ("<h", 40, 8), "without a shape"),
    ("an axis of no length", ("<h", 44, 0), "without a shape"),
    ("an axis of negative length", ("<h", 44, -3), "without a shape"),
    ("more voxels than the file", ("<h", 42, 400), "before its last voxel"),
    ("voxels far behind the end", ("<f", 108, 1e30), "before its last voxel"),
    ("an unknown type of voxels", ("<h", 70, 77), "not a NIfTI file"),
    ("NaN as the first voxel", ("<f", 352, math.nan), "NaN or infinite"),
]


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in BAD_INPUTS])
def test_bad_inputs(tmp_path, change, words):
    volume(tmp_path, change=change)
    with pytest.raises(ValueError, match=words):
        nifti.read_volume(tmp_path / "a.nii", 10_000)


@pytest.mark.parametrize("offset", [math.nan, -5.0])
def test_a_strange_offset_is_no_traceback(tmp_path, offset):
    volume(tmp_path, offset=("<f", 108, offset))
    try:
        nifti.read_volume(tmp_path / "a.nii", 10_000)
    except ValueError as error:
        assert "NIfTI" in str(error) or "NaN" in str(error)  # noqa: PT017 (either is right)
