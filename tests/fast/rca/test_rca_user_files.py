import gzip
import itertools
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bad_inputs
from pr12.rca.data import intensity
from pr12.rca.predict.reading import files, grids, layouts
from pr12.rca.predict.reading.picture import Picture
from pr12.workflow.errors import UserError

RANDOM = np.random.default_rng(0)
VOLUME = RANDOM.integers(0, 4, (4, 6, 5))
SQUARE = RANDOM.integers(0, 4, (6, 5))
ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(["LR", "PA", "SI"])
    for letters in itertools.product(*axes)
]


def volume(array=VOLUME, spacing=(1.0, 2.0, 3.0), origin=(10.0, -20.0, 5.0), kind=np.int16):
    """Give an image of SimpleITK; spacing and origin along x, y, z."""
    image = sitk.GetImageFromArray(np.asarray(array).astype(kind), isVector=False)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def write(path, content):
    """Write an image of SimpleITK, an array (.npy, .png) or bytes, and give the path."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, sitk.Image):
        sitk.WriteImage(content, str(path))
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        Image.fromarray(content).save(path)
    return path


def turned(image, angle, axis=2):
    """Turn the header's axes by an angle in radians about x, y or z."""
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(*(angle * (i == axis) for i in range(3)))
    image.SetDirection(rotation.GetMatrix())
    return image


def reconciled(folder, image, labels, names=("image.nii.gz", "labels.nii.gz")):
    """Write both, read both, and reconcile."""
    first, second = (write(folder / n, c) for n, c in zip(names, (image, labels), strict=True))
    read = files.read_image(first), files.read_labels(second)
    return grids.reconcile(*read, first, second)


# --- pairs ---


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()

    def fill(images, labels):
        for folder, names in (("images", images), ("labels", labels)):
            for name in names:
                (tmp_path / folder / name).touch()
        return tmp_path / "images", tmp_path / "labels"

    return fill


def test_files_pair_by_their_name_whatever_their_formats(folders):
    images, labels = folders(
        ["b.nii.gz", "a.nii", "c.1.PNG", "D.NII.GZ"], ["a.npy", "b.nii", "c.1.png", "D.nii.gz"]
    )
    pairs, unpaired, unread = layouts.pair_files(images, labels, "segmentation")
    assert pairs == [
        ("D", images / "D.NII.GZ", labels / "D.nii.gz", ()),
        ("a", images / "a.nii", labels / "a.npy", ()),
        ("b", images / "b.nii.gz", labels / "b.nii", ()),
        ("c.1", images / "c.1.PNG", labels / "c.1.png", ()),
    ]
    assert unpaired == unread == []


def test_what_has_no_partner_is_told_and_the_rest_goes_on(folders):
    images, labels = folders(
        ["a.png", "b.png", "c.png", "c.npy", "d.jpg"], ["a.png", "c.png", "e.npy", ".DS_Store"]
    )
    (images / "folder.png").mkdir()
    pairs, unpaired, unread = layouts.pair_files(images, labels, "segmentation")
    assert [pair.name for pair in pairs] == ["a"]
    assert sorted(unpaired) == sorted(
        [
            f"{images}/b.png has no segmentation in {labels}",
            f"{images}/c.npy, {images}/c.png have the same name; keep one of them",
            f"{labels}/e.npy has no image in {images}",
        ]
    )
    formats = ".nii.gz, .nii, .nrrd, .mha, .mhd, .png, .npy"
    assert unread == [f"{images}/d.jpg is left out, for it is none of {formats}"]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([], [], "they hold no files"),
        (["a.png"], ["b.png"], r"for example: .*images/a\.png has no label map in "),
        (["a.jpg"], ["a.png"], r"for example: .*images/a\.jpg is left out"),
        (["a.png", "a.npy"], ["a.png"], "for example: .* have the same name"),
    ],
)
def test_folders_without_a_pair_are_refused(folders, images, labels, message):
    with pytest.raises(UserError, match=message) as caught:
        layouts.pair_files(*folders(images, labels), "label map")
    assert "has a label map of the same name" in str(caught.value)


def test_a_folder_that_is_none_is_refused(folders, tmp_path):
    images, labels = folders(["a.png"], ["a.png"])
    for bad, reason in ((tmp_path / "none", "No such file"), (labels / "a.png", "Not a directory")):
        with pytest.raises(UserError, match=f"cannot read the folder {bad}: {reason}"):
            layouts.pair_files(images, bad, "segmentation")
        with pytest.raises(UserError, match=f"cannot read the folder {bad}: {reason}"):
            layouts.pair_files(bad, labels, "segmentation")
    with pytest.raises(UserError, match="for the images and for the segmentations; give two"):
        layouts.pair_files(images, labels / ".." / "images", "segmentation")


# --- whole files ---


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII", "A.NII.GZ"])
def test_nifti_is_read_with_its_header(tmp_path, name):
    image = volume(RANDOM.normal(size=(4, 6, 5)), kind=np.float64)
    image.SetDirection((-1, 0, 0, 0, 0, 1, 0, 1, 0))
    path = write(tmp_path / name.lower(), image).rename(tmp_path / name)
    picture = files.read_image(path)
    assert np.array_equal(picture.array, sitk.GetArrayFromImage(image).astype(np.float32))
    assert picture.array.dtype == np.float32
    assert picture.spacing == (3.0, 2.0, 1.0)
    assert picture.origin == pytest.approx((10.0, -20.0, 5.0))
    assert picture.direction == pytest.approx((-1, 0, 0, 0, 0, 1, 0, 1, 0))


def test_scale_and_offset_of_a_nifti_header_are_applied(tmp_path):
    path = write(tmp_path / "a.nii", volume())
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 0.5, -7.0)  # scl_slope, scl_inter
    path.write_bytes(content)
    assert np.array_equal(files.read_image(path).array, VOLUME * 0.5 - 7)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "A.NRRD", "a.seg.nrrd"])
@pytest.mark.parametrize("packed", [False, True])
def test_nrrd_and_metaimage_are_read_as_nifti_is(tmp_path, name, packed):
    image = turned(volume(RANDOM.normal(size=(4, 6, 5)), kind=np.float32), 0.3)
    sitk.WriteImage(image, str(tmp_path / name), useCompression=packed)
    picture = files.read_image(tmp_path / name)
    expected = files.read_image(write(tmp_path / "a.nii.gz", image))
    assert np.array_equal(picture.array, expected.array)
    for ours, theirs in zip(picture[1:4], expected[1:4], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_nrrd_without_a_space_has_no_place(tmp_path):
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 5 6 4\nspacings: 1 2 3\nencoding: raw\n"
    content = head + b"endian: little\n\n" + VOLUME.astype("<i2").tobytes()
    picture = files.read_labels(write(tmp_path / "a.nrrd", content))
    assert np.array_equal(picture.array, VOLUME)
    assert picture[1:4] == ((3.0, 2.0, 1.0), None, None)


def test_slicers_segments_have_names(tmp_path):
    image = volume(VOLUME)
    for index, (number, name) in enumerate([(2, "left kidney"), (3, "tumour")]):
        image.SetMetaData(f"Segment{index}_LabelValue", str(number))
        image.SetMetaData(f"Segment{index}_Name", name)
    picture = files.read_labels(write(tmp_path / "a.seg.nrrd", image))
    assert picture.names == {2: "left kidney", 3: "tumour"}


def test_a_name_that_is_not_utf_8_is_refused_where_the_reader_cannot_have_it(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.nrrd"))
    write(tmp_path / "a.nrrd", volume()).rename(path)
    with pytest.raises(UserError, match=r"is not UTF-8, which its format needs; rename it"):
        files.read_image(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("kind", ["vectors", "times"])
def test_of_several_channels_of_an_image_the_first_is_taken_and_labels_have_one(
    tmp_path, name, kind
):
    array = RANDOM.random((4, 6, 5, 3)).astype(np.float32)
    if kind == "vectors":
        image = sitk.GetImageFromArray(array, isVector=True)
    else:
        image = sitk.GetImageFromArray(np.moveaxis(array, -1, 0).copy(), isVector=False)
    path = write(tmp_path / name, image)
    picture = files.read_image(path)
    assert np.array_equal(picture.array, array[..., 0])
    assert "the first of its 3 channels or times was taken" in picture.notes
    with pytest.raises(UserError, match="has 3 channels or times; save one label map per file"):
        files.read_labels(path)


def test_2d_nifti_is_read(tmp_path):
    image = volume(SQUARE, (0.5, 0.25), (1.0, 2.0))
    picture = files.read_labels(write(tmp_path / "a.nii.gz", image))
    assert np.array_equal(picture.array, SQUARE)
    assert picture[1:4] == ((0.25, 0.5), (1.0, 2.0), (1.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("axis", "spacing", "origin"),
    [
        (0, (2.0, 1.0), (10.0, -20.0)),
        (1, (3.0, 1.0), (10.0, 5.0)),
        (2, (3.0, 2.0), (-20.0, 5.0)),
    ],
)
def test_a_volume_of_one_slice_is_2d(tmp_path, axis, spacing, origin):
    single = VOLUME.take([1], axis=axis)
    picture = files.read_labels(write(tmp_path / "a.nii", volume(single)))
    assert np.array_equal(picture.array, single.squeeze(axis))
    assert picture[1:4] == (spacing, pytest.approx(origin), (1.0, 0.0, 0.0, 1.0))
    plain = files.read_labels(write(tmp_path / "a.npy", single))
    assert np.array_equal(plain.array, single.squeeze(axis))
    assert plain[1:4] == ((1.0, 1.0), None, None)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_png_keeps_its_depth(tmp_path, kind):
    pixels = RANDOM.integers(0, np.iinfo(kind).max, (6, 5), kind, endpoint=True)
    picture = files.read_image(write(tmp_path / "a.png", pixels))
    assert np.array_equal(picture.array, pixels)
    assert picture[1:4] == ((1.0, 1.0), None, None)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_grey_png_stored_in_colour_is_grey(tmp_path, channels):
    pixels = np.repeat(SQUARE[..., None], channels, axis=2).astype(np.uint8)
    if channels in (2, 4):
        pixels[..., -1] = 255
    path = write(tmp_path / "a.png", pixels)
    assert np.array_equal(files.read_image(path).array, SQUARE)
    assert np.array_equal(files.read_labels(path).array, SQUARE)


def with_palette(colours):
    picture = Image.fromarray(SQUARE.astype(np.uint8), "L").convert("P")
    picture.putpalette(np.asarray(colours, np.uint8).tobytes())
    return picture


def test_labels_in_a_palette_of_colours_are_the_numbers_of_the_colours(tmp_path):
    path = tmp_path / "a.png"
    with_palette([(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 128)]).save(path)
    assert np.array_equal(files.read_labels(path).array, SQUARE)
    with pytest.raises(UserError, match=r"a\.png is a colour picture; save it as grey"):
        files.read_image(path)


def test_a_palette_of_greys_stands_for_its_greys(tmp_path):
    path = tmp_path / "a.png"
    with_palette([(3, 3, 3), (2, 2, 2), (1, 1, 1), (0, 0, 0)]).save(path)
    assert np.array_equal(files.read_labels(path).array, 3 - SQUARE)
    assert np.array_equal(files.read_image(path).array, 3 - SQUARE)


SITK = ("nrrd", "mha", "mhd")


def rgb_nifti(folder):
    content = bytearray(write(folder / "a.nii", volume()).read_bytes())
    struct.pack_into("<2h", content, 70, 128, 24)
    return write(folder / "a.nii", bytes(content))


def flipped_in(name):
    """Damage the packed voxels of a file, whose check sum tells."""

    def make(folder):
        sitk.WriteImage(volume(), str(folder / name), useCompression=True)
        voxels = folder / name.replace("mhd", "zraw")
        content = bytearray(voxels.read_bytes())
        content[-12] ^= 1
        voxels.write_bytes(content)
        return folder / name

    return make


def replaced_in(name, before, after):
    def make(folder):
        content = write(folder / name, volume()).read_bytes()
        assert before in content
        return write(folder / name, content.replace(before, after))

    return make


def without_voxels(folder):
    sitk.WriteImage(volume(), str(folder / "a.mhd"), useCompression=True)
    (folder / "a.zraw").unlink()
    return folder / "a.mhd"


def part(name, keep):
    def make(folder):
        kind = np.uint8 if name.endswith("png") else np.float32
        array = RANDOM.integers(0, 200, (6, 50)).astype(kind)
        content = array if name.endswith(("png", "npy")) else volume(array[None].repeat(3, 0))
        path = write(folder / name, content)
        return write(path, path.read_bytes()[: int(keep * path.stat().st_size)])

    return make


def sheared(folder):
    path = write(folder / "a.nii", volume())
    content = bytearray(path.read_bytes())
    struct.pack_into("<h", content, 252, 0)  # qform_code: the sform counts
    struct.pack_into("<f", content, 284, 4.0)  # srow_x[1]: 63 degrees
    return write(path, bytes(content))


def with_header(place, code, value):
    def make(folder):
        content = bytearray(write(folder / "a.nii", volume()).read_bytes())
        struct.pack_into(code, content, place, value)
        return write(folder / "a.nii", bytes(content))

    return make


def flipped_bit(folder):
    content = bytearray(gzip.compress(write(folder / "b.nii", volume()).read_bytes()))
    content[-8] ^= 1  # its checksum
    return write(folder / "a.nii.gz", bytes(content))


def file(name, content):
    return lambda folder: write(folder / name, content)


HALF_CLEAR = np.full((6, 5, 4), 127, np.uint8)
COLOURS = RANDOM.integers(0, 255, (6, 5, 3), np.uint8)
DEEP = sitk.GetImageFromArray(np.ones((6, 5, 3), np.uint16), isVector=True)
BAD_FILES = [
    (lambda folder: folder / "a.nii", "cannot read .*: No such file or directory"),
    (lambda folder: folder / "a.png", "cannot read .*: No such file or directory"),
    (lambda folder: folder / "a.npy", "cannot read .*: No such file or directory"),
    *((lambda folder, k=kind: folder / f"a.{k}", "cannot read .*: No such file") for kind in SITK),
    (lambda folder: folder / "a.jpg", r"is none of \.nii\.gz, \.nii, .*\.npy; save it as"),
    *((file(f"a{kind}", b""), "is empty") for kind in (".nii", ".nii.gz", ".png", ".npy")),
    *((file(f"a.{kind}", b"hello"), "is not a whole ") for kind in ("nii", "nii.gz", "png")),
    *((part("a.nii", keep), "is not a whole NIfTI file") for keep in (0.1, 0.5, 0.99)),
    *((part("a.nii.gz", keep), "is not a whole NIfTI file") for keep in (0.1, 0.5, 0.97)),
    *((part("a.nrrd", keep), "is not a whole NRRD file") for keep in (0.01, 0.5, 0.99)),
    *((part("a.mha", keep), "is not a whole MetaImage file") for keep in (0.01, 0.5, 0.99)),
    *((file(f"a.{kind}", b"hello"), "is not a whole ") for kind in SITK),
    *((flipped_in(f"a.{kind}"), "is not a whole ") for kind in SITK),
    (replaced_in("a.mha", b"NDims = 3", b"NDims =73"), "is not a whole MetaImage file"),
    (replaced_in("a.mha", b"Spacing = 1 2 3", b"Spacing = 1 2  "), "is not a whole MetaImage"),
    (without_voxels, r"is not a whole MetaImage file; .*a\.zraw is missing"),
    *((part("a.png", keep), "is not a whole PNG file") for keep in (0.04, 0.1, 0.5, 0.9)),
    *((part("a.npy", keep), "is not a whole NumPy file") for keep in (0.02, 0.5, 0.99)),
    (flipped_bit, "is not a whole NIfTI file"),
    (with_header(40, "<h", 0), "is not a whole NIfTI file"),  # dim[0]
    (with_header(42, "<h", -5), "is not a whole NIfTI file"),  # dim[1]
    (with_header(44, "<h", 30000), "is not a whole NIfTI file"),
    (with_header(108, "<f", np.nan), "is not a whole NIfTI file"),  # vox_offset
    (with_header(70, "<h", 1), "NIfTI's datatype 1, which is not read; save it as"),
    (with_header(280, "<f", np.nan), "tells no grid"),  # srow_x[0]
    (file("a.nii", gzip.compress(bytes(1000))), "is not a whole NIfTI file"),
    (sheared, "are not at right angles"),
    (rgb_nifti, "has 3 channels of colour; save one channel per file"),
    (file("a.nii", volume(np.ones((3, 4, 5)), kind=np.complex64)), "of type complex64"),
    (file("a.png", COLOURS), "is a colour picture"),
    (file("a.png", HALF_CLEAR), "is transparent in places"),
    (file("a.png", DEEP), "is a PNG of 16 bit with more than one channel"),
    (file("a.npy", np.ones((2, 3, 4, 5))), "is 4-D"),
    (file("a.npy", np.ones(7)), "is 1-D"),
    (file("a.npy", np.float64(7)), "is 0-D"),
    (file("a.npy", np.ones((1, 7))), r"has the shape \(1, 7\)"),
    (file("a.npy", np.ones((1, 7, 1))), r"has the shape \(1, 7, 1\)"),
    (file("a.npy", np.ones((0, 7))), r"has the shape \(0, 7\)"),
    (file("a.npy", np.ones((3, 4), complex)), "of type complex128"),
    (file("a.npy", np.full((3, 4), "a")), "of type <U1"),
    (file("a.npy", np.ones((3, 4), "f4, i4")), "they must be real numbers"),
    (file("a.npy", np.array([[1, None]], object)), "holds pickled objects, which are not opened"),
    (file("a.npy", pickle.dumps([1])), "archives and pickles are not opened"),
    (file("a.npy", b"PK\x03\x04" + bytes(30)), "archives and pickles are not opened"),
    (file("a.npy", b"\x93NUMPY\x01\x00\x06\x00('a',\n"), "is not a whole NumPy file"),
]


@pytest.mark.parametrize("read", [files.read_image, files.read_labels])
@pytest.mark.parametrize(("make", "message"), BAD_FILES)
def test_a_bad_file_is_one_sentence_with_its_name(tmp_path, read, make, message):
    path = make(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    bad_inputs.check(str(caught.value), [str(path)])


def test_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    for content in (pickle.dumps(Trap()), np.array([[Trap()]], object)):
        with pytest.raises(UserError, match="not opened"):
            files.read_labels(write(tmp_path / "a.npy", content))
    assert not (tmp_path / "sprung").exists()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["a.nii", "a.nii.gz", "a.png", "a.npy", "a.nrrd", "a.mha"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damage_is_refused_or_read_but_never_a_traceback(tmp_path_factory, name, damage):
    folder = tmp_path_factory.getbasetemp()
    content = SQUARE.astype(np.uint8) if name.endswith(("png", "npy")) else volume()
    damaged = bytearray(write(folder / name, content).read_bytes())
    for place, byte in damage:
        damaged[place % len(damaged)] = byte
    path = write(folder / f"damaged.{name}", bytes(damaged))
    output = []
    for read in (files.read_image, files.read_labels):
        try:
            picture = read(path)
        except UserError as error:
            output.append(str(error))
            continue
        oriented, _ = grids.oriented(picture, picture.array)
        assert oriented.array.ndim in (2, 3)
        assert np.isfinite(oriented.array).all()
    assert all(str(path) in message and "\n" not in message for message in output)


def test_nifti_2_is_read(tmp_path):
    header = bytearray(544)
    struct.pack_into("<i8s2h", header, 0, 540, b"n+2\0\r\n\032\n", 4, 16)  # int16
    struct.pack_into("<8q", header, 16, 3, 5, 6, 4, 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, *[1.0] * 8)
    struct.pack_into("<q", header, 168, 544)
    content = bytes(header) + VOLUME.astype("<i2").tobytes()
    assert np.array_equal(files.read_labels(write(tmp_path / "a.nii", content)).array, VOLUME)


def test_the_other_byte_order_is_looked_through(tmp_path):
    content = bytearray(352)
    struct.pack_into(">i", content, 0, 348)
    struct.pack_into(">8h", content, 40, 3, 5, 6, 4, 0, 0, 0, 0)  # what is beyond 3-D is unused
    struct.pack_into(">2h", content, 70, 16, 32)
    struct.pack_into(">9f", content, 76, *[1.0] * 8, 352)
    content[344:348] = b"n+1\0"
    path = write(tmp_path / "a.nii", bytes(content) + VOLUME.astype(">f4").tobytes())
    assert np.array_equal(files.read_labels(path).array, VOLUME)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack(">f", np.nan))
    with pytest.raises(UserError, match=r"a\.nii has NaN or infinity in 1 of 120 voxels"):
        files.read_labels(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not a whole NIfTI file"):
        files.read_labels(path)


# --- values ---


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ([np.nan], "has NaN or infinity in 1 of 30 voxels"),
        ([np.nan, np.inf, -np.inf], "has NaN or infinity in 3 of 30 voxels"),
        ([1e300], "has NaN or infinity in 1 of 30 voxels"),  # float32 cannot hold it
        ([-7.5] * 30, "has the value -7.5 in all voxels; give an image with contrast"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_an_image_that_cannot_be_registered_is_refused(tmp_path, first, message):
    array = np.append(first, RANDOM.normal(size=30 - len(first))).reshape(6, 5)
    for name, content in (("a.npy", array), ("a.nii", volume(array, (1, 1), (0, 0), float))):
        path = write(tmp_path / name, content)
        with pytest.raises(UserError, match=f"{path} {message}"):
            files.read_image(path)


def test_a_mask_is_no_image_but_is_a_label_map(tmp_path):
    for name in ("a.npy", "a.png"):
        path = write(tmp_path / name, SQUARE > 1)
        with pytest.raises(UserError, match="is a mask of true and false"):
            files.read_image(path)
        assert np.array_equal(files.read_labels(path).array, SQUARE > 1)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint64, np.float16, np.float64])
def test_labels_of_any_type_are_whole_numbers(tmp_path, kind):
    picture = files.read_labels(write(tmp_path / "a.npy", SQUARE.astype(kind)))
    assert picture.array.dtype == np.uint8
    assert np.array_equal(picture.array, SQUARE)


@pytest.mark.parametrize(("label", "kind"), [(256, np.uint16), (2**16, np.int32)])
def test_labels_take_the_smallest_type_that_holds_them(tmp_path, label, kind):
    picture = files.read_labels(write(tmp_path / "a.npy", np.array([[0, 1], [2, label]])))
    assert picture.array.dtype == kind
    assert picture.array[1, 1] == label


@pytest.mark.parametrize("off", [2.00007, 0.9882, 1.00002, 1.96])
def test_labels_that_are_whole_but_for_rounding_are_rounded_with_a_note(tmp_path, off):
    array = np.where(SQUARE == 1, off, 0).astype(np.float32)
    picture = files.read_labels(write(tmp_path / "a.npy", array))
    assert np.array_equal(picture.array, np.where(SQUARE == 1, round(off), 0))
    assert f"such as {np.float32(off):.7g} were rounded" in picture.notes[0]


@pytest.mark.parametrize(("slope", "stored"), [(1.00002, 1), (1 / 255, 252), (0.5, 2)])
def test_labels_under_a_slope_of_the_header_are_whole_numbers(tmp_path, slope, stored):
    path = write(tmp_path / "a.nii", volume(stored * (VOLUME > 1)))
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 112, slope)
    path.write_bytes(content)
    picture = files.read_labels(path)
    assert np.array_equal(picture.array, VOLUME > 1)
    assert bool(picture.notes) == (slope != 0.5)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ([0.25], "has a value that is no whole number in 1 of 30 voxels, such as 0.25"),
        ([0.5] * 10, "has a value that is no whole number in 10 of 30 voxels, such as 0.5"),
        ([np.nan], "has NaN or infinity in 1 of 30 voxels"),
        ([np.inf, np.nan], "has NaN or infinity in 2 of 30 voxels"),
        ([-1.0], "has the label -1; labels must be whole numbers from 0 to 2147483647"),
        ([2.0**31], "has the label 2147483648"),
    ],
)
def test_labels_that_are_no_structures_are_refused(tmp_path, first, message):
    array = np.append(first, SQUARE.ravel()[len(first) :]).reshape(6, 5)
    for name, content in (("a.npy", array), ("a.nii", volume(array, (1, 1), (0, 0), float))):
        path = write(tmp_path / name, content)
        with pytest.raises(UserError, match=f"{path} {message}"):
            files.read_labels(path)


@pytest.mark.parametrize("label", [-5, 2**40])
def test_whole_numbers_out_of_range_are_refused(tmp_path, label):
    path = write(tmp_path / "a.npy", np.array([[0, 1], [2, label]]))
    with pytest.raises(UserError, match=f"has the label {label}; labels must"):
        files.read_labels(path)


def test_255_structures_are_read_and_256_refused(tmp_path):
    numbers = np.kron(10 * np.arange(256).reshape(16, 16), np.ones((2, 2), int))
    read = files.read_labels(write(tmp_path / "a.png", numbers.astype(np.uint16)))
    assert np.array_equal(read.array, numbers)
    with pytest.raises(UserError, match=r"a\.npy has 256 structures and may have 255"):
        files.read_labels(write(tmp_path / "a.npy", numbers + 1))


def test_an_empty_segmentation_is_read_and_told(tmp_path):
    picture = files.read_labels(write(tmp_path / "a.npy", np.zeros((3, 4))))
    assert files.is_empty(picture.array)
    assert not files.is_empty(np.eye(3))


# --- grids ---


def test_the_same_grid_is_left_alone(tmp_path):
    array, note = reconciled(tmp_path, volume(), volume())
    assert np.array_equal(array, VOLUME)
    assert note is None


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_labels_in_another_orientation_come_back(tmp_path, orientation, angle):
    image = turned(volume(), angle)
    labels = sitk.DICOMOrient(image, orientation)
    array, note = reconciled(tmp_path, image, labels)
    assert np.array_equal(array, VOLUME)
    stored = sitk.GetArrayFromImage(labels)
    if not np.array_equal(stored, VOLUME):
        assert note == (
            f"{tmp_path}/labels.nii.gz has another grid than {tmp_path}/image.nii.gz and was "
            "resampled to it by the headers"
        )


@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("orientation", ["LPS", "LSA", "RAI", "SPR"])
def test_a_slice_in_another_orientation_comes_back(tmp_path, orientation, angle):
    image = turned(volume(SQUARE[None]), angle, axis=0)  # an oblique slice
    array, _ = reconciled(tmp_path, image, sitk.DICOMOrient(image, orientation))
    assert np.array_equal(array, SQUARE)


def test_a_2d_file_and_a_volume_of_one_slice_share_a_grid(tmp_path):
    image = volume(SQUARE, (1.0, 2.0), (10.0, -20.0))
    array, note = reconciled(tmp_path, image, volume(SQUARE[None]))
    assert np.array_equal(array, SQUARE)
    assert note is None


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("ndim", [2, 3])
def test_larger_voxels_in_the_same_box_are_divided(tmp_path, factor, ndim):
    coarse = VOLUME if ndim == 3 else SQUARE
    fine = coarse
    for axis in range(ndim):
        fine = fine.repeat(factor, axis)
    image = volume(fine + np.arange(fine.shape[-1]), (1.0,) * ndim, (0.0,) * ndim)
    labels = volume(coarse, (float(factor),) * ndim, ((factor - 1) / 2,) * ndim)
    array, note = reconciled(tmp_path, image, labels)
    assert np.array_equal(array, fine)
    assert "was resampled to it by the headers" in note


def test_smaller_voxels_in_the_same_box_are_picked(tmp_path):
    fine = VOLUME.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    image = volume(VOLUME, (3.0, 3.0, 3.0), (1.0, 1.0, 1.0))
    array, _ = reconciled(tmp_path, image, volume(fine, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    assert np.array_equal(array, VOLUME)


@pytest.mark.parametrize("step", [2, 3, 4])
def test_every_second_voxel_still_fills_the_same_box(tmp_path, step):
    fine = np.arange(24 * 24).reshape(24, 24) // 100
    labels = volume(fine[::step, ::step], (float(step),) * 2, (0.0, 0.0))
    array, _ = reconciled(tmp_path, volume(fine, (1.0, 1.0), (0.0, 0.0)), labels)
    assert np.array_equal(array[::step, ::step], fine[::step, ::step])
    assert (array[-1] > 0).all()  # nothing is cut off at the border


def test_structures_lost_by_resampling_are_told(tmp_path):
    fine = np.ones((18, 15), int)
    fine[0, 0] = 7
    labels = volume(fine, (1.0, 1.0), (0.0, 0.0))
    array, note = reconciled(tmp_path, volume(SQUARE, (3.0, 3.0), (1.0, 1.0)), labels)
    assert (array == 1).all()
    assert note.endswith("which lost the structures 7")


@pytest.mark.parametrize(
    ("spacing", "origin"),
    [
        ((1.001, 2.002, 3.003), (10.0, -20.0, 5.0)),
        ((1.0, 2.0, 3.0), (10.3, -20.5, 5.9)),  # less than half a voxel
    ],
)
def test_noise_in_a_header_is_tolerated(tmp_path, spacing, origin):
    array, note = reconciled(tmp_path, volume(), volume(spacing=spacing, origin=origin))
    assert np.array_equal(array, VOLUME)
    assert note is None


def test_noise_of_a_thousandth_is_tolerated_in_large_pictures(tmp_path):
    labels = np.tile(SQUARE, (2, 400))  # 2000 voxels wide: noise of two voxels at the far end
    image = volume(labels, (0.5, 0.5), (0.0, 0.0))
    array, note = reconciled(tmp_path, image, volume(labels, (0.5005, 0.5005), (0.0, 0.0)))
    assert np.array_equal(array, labels)
    assert note is None


LARGE = RANDOM.integers(0, 4, (40, 40, 40))


@pytest.mark.parametrize(
    "labels",
    [
        volume(LARGE, (1.1, 1.0, 1.0), (0.0, 0.0, 0.0)),  # other spacing, same shape
        volume(LARGE, (1.0, 1.0, 1.0), (0.0, 2.0, 0.0)),  # other place
        volume(LARGE, (1.0, 1.0, 1.0), (500.0, 0.0, 0.0)),  # no common voxel
        volume(LARGE[:20], (1.0, 1.0, 1.0), (0.0, 0.0, 30.0)),  # a part that reaches beyond
        turned(volume(LARGE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), 0.1),
        turned(volume(LARGE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), np.pi),  # about the first voxel
    ],
)
def test_another_box_is_refused_with_both_files_and_grids(tmp_path, labels):
    image = volume(LARGE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    with pytest.raises(UserError, match=r"do not fill the same box in space.*; resample") as caught:
        reconciled(tmp_path, image, labels)
    shape = " x ".join(map(str, labels.GetSize()[::-1]))
    sentence = str(caught.value)
    assert f"labels.nii.gz (shape {shape}, spacing 1 x 1 x 1" in sentence
    assert "image.nii.gz (shape 40 x 40 x 40, spacing 1 x 1 x 1 mm, origin 0 0 0, d" in sentence


@pytest.mark.parametrize(
    "box",
    [
        (slice(0, 39), slice(0, 40), slice(0, 40)),  # a slice less
        (slice(3, 30), slice(4, 40), slice(5, 33)),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_labels_on_a_crop_of_the_image_lie_where_they_were(tmp_path, box, angle):
    image = turned(volume(LARGE, (1.0, 1.5, 2.0), (5.0, 6.0, 7.0)), angle)
    crop = image[tuple(side for side in box[::-1])]  # SimpleITK counts x first
    array, note = reconciled(tmp_path, image, crop)
    expected = np.zeros_like(LARGE)
    expected[box] = LARGE[box]
    assert np.array_equal(array, expected)
    assert "was resampled to it by the headers; they fill different boxes" in note


def test_labels_of_a_larger_box_are_cut_to_the_image_but_no_structure_is_lost(tmp_path):
    labels = np.zeros((40, 40, 40), int)
    labels[12:20, 14:24, 15:25] = 3
    whole = volume(labels, (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
    image = volume(LARGE, (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
    array, _ = reconciled(tmp_path, image[10:30, 10:30, 10:25], whole)
    assert np.array_equal(array, labels[10:25, 10:30, 10:30])
    with pytest.raises(UserError, match=r"same box in space \(50 % of the structures lie outside"):
        reconciled(tmp_path, image[20:30, 10:30, 10:25], whole)


def test_the_overlap_is_intersection_over_union(tmp_path):
    # 200 voxels long: of one or two that are missing the nearest are taken, three are background
    image = volume(np.tile(SQUARE, (1, 40)) + 1, (1.0, 1.0), (0.0, 0.0))
    for missing in (1, 2, 3):
        array, note = reconciled(tmp_path, image, image[: 200 - missing, :])
        expected = np.tile(SQUARE, 40)[:, :-missing] + 1
        assert np.array_equal(array[:, : 200 - missing], expected)
        assert (array[:, -1] > 0).all() == (missing < 3)
        assert "was resampled" in note


def test_without_a_header_voxels_belong_together_as_stored(tmp_path):
    for names in (("i.nii", "l.npy"), ("i.npy", "l.nii"), ("i.npy", "l.npy")):
        contents = [volume() if name.endswith("nii") else VOLUME for name in names]
        array, note = reconciled(tmp_path, *contents, names)
        assert np.array_equal(array, VOLUME)
        assert (note is None) == (names[0][-3:] == names[1][-3:])
        assert note is None or "laid on its image voxel by voxel" in note
    array, _ = reconciled(tmp_path, SQUARE.astype(np.uint8), SQUARE, ("i.png", "l.npy"))
    assert np.array_equal(array, SQUARE)


def test_other_shapes_without_a_header_are_refused(tmp_path):
    message = r"l\.npy \(shape 3 x 6 x 5, no header\) and .*i\.nii \(shape 4 x 6 x 5, spacing 3 x"
    with pytest.raises(UserError, match=f"{message}.*differ in shape, and not both have a header"):
        reconciled(tmp_path, volume(), VOLUME[1:], ("i.nii", "l.npy"))
    with pytest.raises(UserError, match=r"transpose the array to \(z, y, x\)"):
        reconciled(tmp_path, volume(), VOLUME.T, ("i.nii", "l.npy"))


@pytest.mark.parametrize("names", [("i.nii", "l.npy"), ("i.nii", "l.nii")])
def test_2d_and_3d_are_not_mixed(tmp_path, names):
    labels = SQUARE if names[1].endswith("npy") else volume(SQUARE, (1, 1), (0, 0))
    with pytest.raises(UserError, match=r"l\.n.*shape 6 x 5.*i\.nii .*are 2-D and 3-D"):
        reconciled(tmp_path, volume(), labels, names)


# --- orientation ---


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_orienting_is_that_of_simpleitk(tmp_path, orientation, angle):
    image = sitk.DICOMOrient(turned(volume(), angle, axis=0), orientation)
    picture = files.read_image(write(tmp_path / "a.nii", image))
    moved, labels = grids.oriented(picture, picture.array.astype(int) + 1)
    expected = sitk.DICOMOrient(image, "LPS")
    assert np.array_equal(moved.array, sitk.GetArrayFromImage(expected))
    assert np.array_equal(labels, moved.array + 1)
    assert moved.spacing == pytest.approx(expected.GetSpacing()[::-1])
    assert moved.origin == pytest.approx(expected.GetOrigin(), abs=1e-5)
    assert moved.direction == pytest.approx(expected.GetDirection(), abs=1e-6)
    assert np.shares_memory(moved.array, picture.array)  # large volumes are not copied


@pytest.mark.parametrize("shear", [0.3, 0.7])
def test_a_sheared_volume_is_resampled_to_where_its_voxels_lie(shear):
    """A ball in space stays one: it was an ellipsoid of skew axes in the array."""
    matrix = np.array([[1.0, shear, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    places = np.stack(np.indices((20, 40, 40))[::-1], -1) @ matrix.T
    centre = matrix @ [20, 20, 10]
    inside = np.linalg.norm(places - centre, axis=-1) < 9
    lengths = np.linalg.norm(matrix, axis=0)
    direction = tuple((matrix / lengths).ravel())
    image = Picture(
        100.0 * inside.astype(np.float32), tuple(lengths[::-1]), (0.0, 0.0, 0.0), direction
    )
    straight, labels, notes = grids.straightened(image, inside.astype(np.int32))
    axes = np.reshape(straight.direction, (3, 3))
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-9)
    steps = np.array(straight.spacing[::-1])
    there = np.argwhere(labels)[:, ::-1] * steps @ axes.T + straight.origin
    assert there.mean(axis=0) == pytest.approx(centre, abs=0.3)
    assert np.linalg.norm(there - centre, axis=1).max() < 9 + 1
    assert len(there) * steps.prod() == pytest.approx(inside.sum() * lengths.prod()
        * abs(np.linalg.det(matrix / lengths)), rel=0.05)  # fmt: skip
    assert (straight.array[labels > 0] > 50).mean() > 0.9
    assert "degrees off right angles, and it was resampled" in notes[0]


def test_a_shear_of_less_than_half_a_voxel_is_left_as_it_is():
    direction = (1.0, 1e-3, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    image = Picture(VOLUME, (3.0, 2.0, 1.0), (0.0, 0.0, 0.0), direction)
    straight, labels, notes = grids.straightened(image, VOLUME)
    assert straight.array is labels is VOLUME
    assert "0.057 degrees off right angles, by less than half a voxel" in notes[0]


@pytest.mark.parametrize("kind", ["nii", "nrrd", "mha"])
def test_labels_under_the_sheared_header_of_their_image_are_left_as_they_are(tmp_path, kind):
    matrix = np.array([[1.0, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    names = [f"{name}.{kind}" for name in ("image", "labels")]
    for name in names:
        image = volume()
        if kind == "nii":
            content = bytearray(write(tmp_path / name, image).read_bytes())
            struct.pack_into("<h", content, 252, 0)
            struct.pack_into("<f", content, 284, 0.4)
            write(tmp_path / name, bytes(content))
        else:
            image.SetDirection(matrix.ravel().tolist())
            write(tmp_path / name, image)
    first, second = (tmp_path / name for name in names)
    array, note = grids.reconcile(
        files.read_image(first), files.read_labels(second), first, second
    )  # fmt: skip
    assert np.array_equal(array, VOLUME)
    assert note is None


def test_without_a_header_nothing_is_reordered():
    picture = Picture(SQUARE, (1.0, 1.0), None, None)
    image, labels = grids.oriented(picture, SQUARE)
    assert image is picture
    assert labels is SQUARE


# --- intensities ---


def test_percentiles_become_0_and_1_and_the_rest_is_clipped():
    image = np.concatenate([[-1e6], np.arange(1, 100), [1e6]]).reshape(1, 101)
    values = intensity.normalised(image)
    assert values.dtype == np.float32
    assert values[0, [0, 1, 50, 99, 100]] == pytest.approx([0, 0, 0.5, 1, 1])
    assert np.diff(values[0, 1:100]) == pytest.approx(1 / 98, rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(-1e4, 1e4))
def test_scale_and_offset_of_an_image_do_not_matter(scale, offset):
    image = np.random.default_rng(1).normal(size=(8, 9))
    again = intensity.normalised(scale * image + offset)
    assert again == pytest.approx(intensity.normalised(image), abs=1e-5)


def test_large_whole_numbers_keep_their_differences():
    image = 2**30 + np.arange(101)
    assert intensity.normalised(image) == pytest.approx(intensity.normalised(np.arange(101)))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.array([1.0, np.nan]), "a.nii has NaN or infinity in 1 of 2 voxels"),
        (np.array([1.0, np.inf, -np.inf]), "a.nii has NaN or infinity in 2 of 3 voxels"),
        (np.full((3, 3), 4), "a.nii has the value 4 in all voxels"),
        (np.arange(1000) == 0, "a.nii has the value 0 in nearly all voxels"),
        (np.zeros((0, 3)), "a.nii has no voxels"),
    ],
)
def test_an_image_without_contrast_is_refused(image, message):
    with pytest.raises(UserError, match=message):
        intensity.normalised(image, "a.nii")
