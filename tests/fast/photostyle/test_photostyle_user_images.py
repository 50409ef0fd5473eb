import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image, ImageOps

from pr12.photostyle.transfer import images, output
from pr12.photostyle.transfer.images import Photograph, read_mask, read_photograph
from pr12.workflow.errors import UserError

RANDOM = np.random.default_rng(0)
EIGHT = RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)
SIXTEEN = RANDOM.integers(0, 65536, (5, 7, 4), dtype=np.uint16)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def save_deep(path, pixels, orientation=1, **options):
    """Write 16 bits by a library that the module does not write with."""
    if path.suffix == ".png":
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3), str(path))
    else:
        tags = [(274, "H", 1, orientation, True)]
        kind = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=kind, extratags=tags, **options)
    return path


def grey_and_alpha_png(path, values):
    """Write a PNG of grey and alpha with 16 bits by hand (ISO 15948)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        whole += struct.pack(">I", len(data)) + name + data + checksum
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_colours_of_8_bits_are_read(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", EIGHT[..., :3])
    actual = read_photograph(path)
    np.testing.assert_allclose(actual.pixels * 255, EIGHT[..., :3], atol=1e-4)
    assert actual.pixels.dtype == np.float32
    assert (actual.alpha, actual.bits, actual.was_grey) == (None, 8, False)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_all_16_bits_of_a_colour_are_read(tmp_path, suffix, channels):
    actual = read_photograph(save_deep(tmp_path / f"a{suffix}", SIXTEEN[..., :channels]))
    np.testing.assert_array_equal(np.rint(actual.pixels.astype(float) * 65535), SIXTEEN[..., :3])
    assert actual.bits == 16
    assert (actual.alpha is None) == (channels == 3)
    if channels == 4:
        np.testing.assert_array_equal(np.rint(actual.alpha.astype(float) * 65535), SIXTEEN[..., 3])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_16_bits_becomes_three_equal_colours(tmp_path, suffix):
    actual = read_photograph(save_deep(tmp_path / f"a{suffix}", SIXTEEN[..., 0]))
    expected = np.repeat(SIXTEEN[..., :1], 3, axis=2)
    np.testing.assert_array_equal(np.rint(actual.pixels.astype(float) * 65535), expected)
    assert actual.was_grey
    assert actual.bits == 16


def test_grey_of_8_bits_becomes_three_equal_colours(tmp_path):
    actual = read_photograph(save(tmp_path / "a.png", EIGHT[..., 0]))
    np.testing.assert_allclose(actual.pixels * 255, np.repeat(EIGHT[..., :1], 3, axis=2), atol=1e-4)
    assert actual.was_grey


def test_grey_of_16_bits_with_alpha_is_read_with_8(tmp_path):
    actual = read_photograph(grey_and_alpha_png(tmp_path / "a.png", SIXTEEN[..., :2]))
    np.testing.assert_allclose(actual.pixels[..., 1], SIXTEEN[..., 0] / 65535, atol=1 / 255)
    np.testing.assert_allclose(actual.alpha, SIXTEEN[..., 1] / 65535, atol=1 / 255)


def test_separate_planes_of_16_bits_are_read(tmp_path):
    planes = SIXTEEN[..., :3].transpose(2, 0, 1).copy()
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    actual = read_photograph(path)
    np.testing.assert_array_equal(np.rint(actual.pixels.astype(float) * 65535), SIXTEEN[..., :3])


def test_of_several_images_the_first_is_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([SIXTEEN[..., :3], SIXTEEN[..., 1:]]), photometric="rgb")
    actual = read_photograph(path)
    np.testing.assert_array_equal(np.rint(actual.pixels.astype(float) * 65535), SIXTEEN[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["8.png", "8.jpg", "16.tif"])
def test_orientation_is_applied_as_pillow_does(tmp_path, kind, orientation):
    path = tmp_path / kind
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "16.tif":
        save_deep(path, SIXTEEN[..., :3], orientation)
    else:
        save(path, EIGHT[..., :3], exif=exif)
    marked = Image.fromarray((SIXTEEN if kind == "16.tif" else EIGHT)[..., 0].astype(np.int32))
    marked.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(marked)) / (65535 if kind == "16.tif" else 255)
    actual = read_photograph(path).pixels
    assert actual.shape[:2] == expected.shape
    if kind != "8.jpg":
        np.testing.assert_allclose(actual[..., 0], expected, atol=1e-6)


def test_alpha_of_8_bits_and_of_a_palette_is_kept(tmp_path):
    actual = read_photograph(save(tmp_path / "a.png", EIGHT))
    np.testing.assert_allclose(actual.alpha * 255, EIGHT[..., 3], atol=1e-4)
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    actual = read_photograph(tmp_path / "p.png")
    assert actual.pixels[0, 1].tolist() == [1, 0, 0]
    assert actual.alpha.tolist() == [[0, 1]]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    actual = read_photograph(tmp_path / "a.jpg").pixels
    assert actual[..., 0].min() > 0.95
    assert actual[..., 1:].max() < 0.05


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_an_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(UserError, match="is empty"):
        read_photograph(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    pixels = RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", pixels)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="not a whole image"):
        read_photograph(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_truncated_file_of_16_bits_is_refused(tmp_path, suffix):
    path = save_deep(tmp_path / f"a{suffix}", RANDOM.integers(0, 65536, (64, 64, 3), np.uint16))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError, match="not a whole image"):
        read_photograph(path)


def test_what_is_no_image_or_no_file_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")
    with pytest.raises(UserError, match="not a whole image"):
        read_photograph(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="not a file"):
        read_photograph(tmp_path)


def test_the_first_of_several_images_is_read_and_their_number_told(tmp_path):
    frames = [Image.fromarray(EIGHT[..., :3]), Image.fromarray(255 - EIGHT[..., :3])]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    photograph = read_photograph(tmp_path / "a.png")
    assert photograph.images == 2
    np.testing.assert_allclose(photograph.pixels * 255, EIGHT[..., :3], atol=1e-4)


def test_hidden_colours_become_those_of_the_nearest_pixel_seen():
    pixels = np.zeros((2, 4, 3), np.float32)
    pixels[:, :2], pixels[:, 2:] = 0.25, (1, 0, 1)
    alpha = np.float32([[1, 0.5, 0, 0]] * 2)
    seen = images.without_hidden(Photograph(pixels, alpha, 8, False, None), images.Path("a"))
    assert np.unique(seen.pixels).tolist() == [0.25]
    assert seen.alpha is alpha


def test_numbers_of_32_bits_are_refused(tmp_path):
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="32 bits"):
        read_photograph(tmp_path / "a.tif")


@pytest.mark.parametrize("side", [10_001, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    whole = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + checksum
    whole += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "a.png").write_bytes(whole)
    with pytest.raises(UserError, match="100 million pixels"):
        read_photograph(tmp_path / "a.png")


# --- masks ---


def test_a_mask_is_three_colours_whatever_its_file(tmp_path):
    colours = np.uint8([[[255, 0, 0], [0, 0, 255]]])
    assert read_mask(save(tmp_path / "a.png", colours)).tolist() == colours.tolist()
    Image.fromarray(colours).convert("P").save(tmp_path / "p.png")
    assert read_mask(tmp_path / "p.png").tolist() == colours.tolist()
    clear = np.concatenate([colours, np.uint8([[[255], [0]]])], axis=2)
    assert read_mask(save(tmp_path / "c.png", clear)).tolist() == [[[255, 0, 0], [0] * 3]]
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[[0] * 3, [255] * 3]]


def test_a_mask_of_16_bits_keeps_its_upper_bits_and_small_labels(tmp_path):
    path = save_deep(tmp_path / "a.png", np.uint16([[[65535, 0, 257]]]))
    assert read_mask(path).tolist() == [[[255, 0, 1]]]
    path = save_deep(tmp_path / "b.png", np.uint16([[0, 3]]))
    assert read_mask(path).tolist() == [[[0] * 3, [3] * 3]]


# --- writing ---


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_what_is_written_is_read_again(tmp_path, suffix, bits, with_alpha):
    pixels = (EIGHT if bits == 8 else SIXTEEN).astype(np.float32) / (2**bits - 1)
    alpha = pixels[..., 3] if with_alpha else None
    given = Photograph(pixels[..., :3], alpha, bits, False, b"some profile" * 12)
    path = tmp_path / f"a{suffix}"
    output.write_photograph(path, given)
    actual = read_photograph(path)
    np.testing.assert_array_equal(actual.pixels, given.pixels)
    assert (actual.bits, actual.profile) == (bits, given.profile)
    if with_alpha:
        np.testing.assert_array_equal(actual.alpha, alpha)
    else:
        assert actual.alpha is None
    assert len(list(tmp_path.iterdir())) == 1


def test_another_library_reads_our_png_of_16_bits(tmp_path):
    pixels = SIXTEEN.astype(np.float32) / 65535
    given = Photograph(pixels[..., :3], pixels[..., 3], 16, False, None)
    output.write_photograph(tmp_path / "a.png", given)
    actual = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png")))
    np.testing.assert_array_equal(actual, SIXTEEN)


def test_a_jpeg_too_long_for_its_format_is_refused():
    pixels = np.zeros((1, 65_501, 3), np.float32)
    with pytest.raises(UserError, match=r"65501 x 1 pixels.*65500.*\.png"):
        output.lost(images.Path("a.jpg"), Photograph(pixels, None, 8, False, None))


def test_jpeg_loses_alpha_and_bits_and_it_is_said(tmp_path):
    pixels = np.full((8, 8, 3), 0.25, np.float32)
    given = Photograph(pixels, pixels[..., 0], 16, False, None)
    path = tmp_path / "a.JPG"
    assert len(output.lost(path, given)) == 2
    output.write_photograph(path, given)
    actual = read_photograph(path)
    np.testing.assert_allclose(actual.pixels, pixels, atol=0.01)
    assert (actual.alpha, actual.bits) == (None, 8)


def test_values_beyond_0_and_1_are_cut_off(tmp_path):
    pixels = np.float32([[[-0.5, 0.5, 1.5]]])
    output.write_photograph(tmp_path / "a.png", Photograph(pixels, None, 8, False, None))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[0, 128, 255]]]


def test_places_where_nothing_can_be_written_are_refused(tmp_path):
    inputs = [save(tmp_path / "a.png", EIGHT)]
    (tmp_path / "b.png").mkdir()
    for path, text in (
        (tmp_path / "c.bmp", "no known format"),
        (tmp_path / "c", "no known format"),
        (tmp_path / "none" / "c.png", "does not exist"),
        (tmp_path / "b.png", "is a folder"),
        (tmp_path / "." / "a.png", "is also an input"),
    ):
        with pytest.raises(UserError, match=text):
            output.check_output(path, inputs)
    output.check_output(tmp_path / "c.png", inputs)
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "c.png").exists()


def test_a_folder_that_cannot_be_written_to_is_refused():
    with pytest.raises(UserError, match="cannot write into the folder"):
        output.check_output(images.Path("/proc/c.png"), [])
