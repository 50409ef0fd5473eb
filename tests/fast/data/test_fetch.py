import errno
import gzip
import hashlib
import io
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_array
from sklearn.datasets._covtype import ARCHIVE

from http_server import serve
from pr12.core import vision
from pr12.data import fetch
from pr12.workflow import address, files, step
from pr12.workflow.errors import UserError

SOURCES = address.SRC.parent / "data" / "sources.csv"
HEADER = "name,file,urls,bytes,checksum,licence,used_by\n"

# Random bytes do not pack: the packed file is longer than the file.
CONTENT = random.Random(0).randbytes(20_000)
PACKED = gzip.compress(CONTENT, mtime=0)
SERVED = {
    "images.gz": PACKED,
    "images": CONTENT,
    "packed": PACKED,
    "toy/images": CONTENT,
    "bomb.gz": gzip.compress(bytes(50_000_000)),
    "half.gz": PACKED[: len(PACKED) // 2],
    "empty.gz": b"",
}


@pytest.fixture(scope="module")
def server():
    with serve(SERVED) as served:
        yield served


@pytest.fixture(autouse=True)
def no_mirror_and_no_proxy(monkeypatch):
    for name in ("PR12_MIRROR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "raw"


def source(*urls, content=CONTENT, **change):
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    row = fetch.Source("toy", "images", urls, len(content), checksum, "CC0", "tests")
    return row._replace(**change)


def get(row, folder, mirror=None):
    return fetch.fetch(row, folder, mirror, timeout=0.3, pauses=(0.01, 0.01, 0.01))


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def holds_only_the_file(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} == {"images": CONTENT}


# --- what works ---


@pytest.mark.parametrize(
    "path",
    [
        "well/images.gz",
        "well/images",
        "busy_twice/images.gz",
        "broken_once/images.gz",
        # the same bytes, but declared as packed for the transfer: they arrive unpacked
        "decoded/images.gz",
    ],
)
def test_a_file_is_downloaded_unpacked_and_checked(server, folder, path):
    server.requests.clear()
    url = f"{server.address}/{path}"
    assert get(source(url), folder) == url
    assert holds_only_the_file(folder)
    expected = {"busy_twice/images.gz": 3, "broken_once/images.gz": 2}
    assert server.requests == {f"/{path}": expected.get(path, 1)}


def test_a_file_whose_own_name_ends_in_gz_stays_packed(server, folder):
    row = source(f"{server.address}/well/images.gz", content=PACKED, file="part/images.gz")
    get(row, folder)
    assert (folder / "part" / "images.gz").read_bytes() == PACKED


def test_a_packed_file_stays_packed_whatever_its_address_is_called(server, folder, capsys):
    urls = (f"{server.address}/decoded/images.gz", f"{server.address}/well/packed")
    row = source(*urls, content=PACKED, file="images.gz")
    assert get(row, folder) == urls[1]  # the first address unpacks it: another file
    assert (folder / "images.gz").read_bytes() == PACKED
    assert "decoded/images.gz has 20000 bytes instead of" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["well/images", "well/images.gz", "decoded/images.gz"])
def test_a_file_of_unknown_size_is_known_by_its_checksum(server, folder, path):
    get(source(f"{server.address}/{path}", bytes=None), folder)
    assert holds_only_the_file(folder)


def test_md5_is_a_checksum_too(server, folder):
    get(source(f"{server.address}/well/images", checksum=md5(CONTENT)), folder)
    assert holds_only_the_file(folder)


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.mark.parametrize("digits", [8, 9, 63])
def test_the_first_digits_of_a_checksum_decide_where_no_more_are_known(server, folder, digits):
    digest = hashlib.sha256(CONTENT).hexdigest()
    urls = [f"{server.address}/{how}/images" for how in ("corrupt", "well")]
    row = source(*urls, checksum=f"sha256-prefix:{digest[:digits]}", bytes=None)
    assert get(row, folder) == urls[1]
    assert holds_only_the_file(folder)
    assert get(row, folder) == "was there already"
    (folder / "images").write_bytes(CONTENT + b"a")
    with pytest.raises(UserError) as caught:
        get(row._replace(urls=urls[:1]), folder)
    assert f"(expected {row.checksum}, found sha256:" in str(caught.value)


def test_digits_that_do_not_begin_the_checksum_are_not_enough(server, folder):
    inner = hashlib.sha256(CONTENT).hexdigest()[1:9]
    with pytest.raises(UserError, match="has the wrong checksum"):
        get(source(f"{server.address}/well/images", checksum=f"sha256-prefix:{inner}"), folder)


def test_the_next_address_is_tried(server, folder, capsys):
    urls = [f"{server.address}/{how}/images.gz" for how in ("corrupt", "truncated", "busy", "well")]
    assert get(source(*urls), folder) == urls[3]
    assert holds_only_the_file(folder)
    words = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in words] == urls[:3]


def test_a_file_with_the_right_checksum_is_kept_without_network(folder):
    folder.mkdir()
    (folder / "images").write_bytes(CONTENT)
    before = (folder / "images").stat()
    where = get(source(f"http://127.0.0.1:{unused_port()}/images"), folder)
    assert where == "was there already"
    assert (folder / "images").stat() == before


@pytest.mark.parametrize("old", [b"", CONTENT[:-1], CONTENT[:-1] + b"?", CONTENT + b"?"])
def test_a_wrong_file_is_replaced(server, folder, old, capsys):
    folder.mkdir()
    (folder / "images").write_bytes(old)
    get(source(f"{server.address}/well/images.gz"), folder)
    assert holds_only_the_file(folder)
    assert "it is fetched anew" in capsys.readouterr().err


# --- mirrors ---


def test_a_mirror_folder_is_asked_first(server, tmp_path, folder):
    server.requests.clear()
    (tmp_path / "mirror" / "toy").mkdir(parents=True)
    (tmp_path / "mirror" / "toy" / "images").write_bytes(CONTENT)
    where = get(source(f"{server.address}/well/images.gz"), folder, str(tmp_path / "mirror"))
    assert where == str(tmp_path / "mirror" / "toy" / "images")
    assert holds_only_the_file(folder)
    assert not server.requests


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda toy: toy.rmdir(), "cannot be read (No such file or directory)"),
        (lambda toy: None, "cannot be read (No such file or directory)"),
        (lambda toy: (toy / "images").mkdir(), "bytes instead of 20000"),
        (lambda toy: os.mkfifo(toy / "images"), "has 0 bytes instead of 20000"),
        (lambda toy: (toy / "images").write_bytes(CONTENT[:9]), "has 9 bytes instead of 20000"),
        (lambda toy: (toy / "images").write_bytes(bytes(20_000)), "has the wrong checksum"),
    ],
    ids=["no folder", "no file", "a folder", "a pipe", "truncated", "another file"],
)
def test_a_mirror_folder_without_the_file_is_passed_over(
    server, tmp_path, folder, capsys, change, words
):
    toy = tmp_path / "mirror" / "toy"
    toy.mkdir(parents=True)
    change(toy)
    url = f"{server.address}/well/images.gz"
    assert get(source(url), folder, str(tmp_path / "mirror")) == url
    assert holds_only_the_file(folder)
    assert f"toy/images: {toy / 'images'} " in (line := capsys.readouterr().err)
    assert words in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.mkdir(), "is not a file"),
        (os.mkfifo, "is not a file"),  # nobody writes into it: to read it would never end
        (lambda path: path.write_bytes(CONTENT[:9]), "has the wrong checksum"),
    ],
    ids=["a folder", "a pipe", "truncated"],
)
def test_a_mirror_folder_without_a_file_of_unknown_size_is_passed_over(
    server, tmp_path, folder, capsys, change, words
):
    (tmp_path / "mirror" / "toy").mkdir(parents=True)
    change(tmp_path / "mirror" / "toy" / "images")
    row = source(f"{server.address}/well/images.gz", bytes=None)
    get(row, folder, str(tmp_path / "mirror"))
    assert holds_only_the_file(folder)
    assert f"{tmp_path / 'mirror' / 'toy' / 'images'} {words}" in capsys.readouterr().err


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_mirror_on_the_web_is_asked_first(server, folder, slash):
    server.requests.clear()
    where = get(source(f"{server.address}/well/images.gz"), folder, f"{server.address}/well{slash}")
    assert where == f"{server.address}/well/toy/images"
    assert holds_only_the_file(folder)
    assert server.requests == {"/well/toy/images": 1}


@pytest.mark.parametrize(
    ("how", "words"),
    [("corrupt", "has the wrong checksum"), ("nowhere", "answers 404 Not Found")],
)
def test_a_mirror_on_the_web_that_fails_is_passed_over(server, folder, capsys, how, words):
    url = f"{server.address}/well/images.gz"
    mirror = f"{server.address}/well/absent" if how == "nowhere" else f"{server.address}/{how}"
    assert get(source(url), folder, mirror) == url
    assert words in capsys.readouterr().err


def test_a_password_in_the_address_of_a_mirror_is_not_told(server, folder, capsys):
    host = server.address.removeprefix("http://")
    where = get(source("http://127.0.0.1/"), folder, f"http://me:secret@{host}/well")
    assert where == f"http://{host}/well/toy/images"
    with pytest.raises(UserError, match="toy/images has the wrong checksum") as caught:
        get(source(checksum=md5(b"")), folder, f"http://me:secret@{host}/well")
    assert "secret" not in str(caught.value) + capsys.readouterr().err


@pytest.mark.parametrize("mirror", ["ftp://host/folder", "file:///folder", "s3://bucket"])
def test_a_mirror_of_another_kind_is_refused(folder, mirror):
    with pytest.raises(UserError, match="it must be a folder, or begin with http:// or https://"):
        get(source("http://127.0.0.1/images"), folder, mirror)


# --- what fails ---


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("truncated/images.gz", "breaks off before the end: the file is truncated"),
        ("truncated/images", "breaks off before the end: the file is truncated"),
        ("short/images.gz", "is not a whole .gz file"),
        ("short/images", "has 10000 bytes instead of 20000"),
        ("well/half.gz", "is not a whole .gz file"),
        ("well/empty.gz", "has 0 bytes instead of 20000"),
        ("corrupt/images.gz", "is not a whole .gz file"),
        ("corrupt/images", "has the wrong checksum (expected sha256:"),
        ("stall/images.gz", "sends nothing for 0.3 s"),
        ("silent/images.gz", "sends nothing for 0.3 s"),
        ("busy/images.gz", "answers 503 Service Unavailable"),
        ("well/absent.gz", "answers 404 Not Found"),
        ("endless/images", "sends more bytes than the file may have"),
        ("well/bomb.gz", "sends more bytes than the file may have"),
    ],
)
def test_a_failure_names_the_address_and_the_reason_and_leaves_nothing(
    server, folder, path, reason
):
    server.requests.clear()
    url = f"{server.address}/{path}"
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        get(source(url), folder)
    message = str(caught.value)
    assert message.startswith(f"cannot fetch toy/images: {url} {reason}")
    assert "set PR12_MIRROR to a folder or web address that holds toy/images" in message
    assert str(folder / "images") in message
    assert list(folder.iterdir()) == []
    again = {"busy/images.gz": 4, "truncated/images.gz": 4, "truncated/images": 4}
    assert server.requests == {f"/{path}": again.get(path, 1)}
    assert time.monotonic() - started < 20  # not the default of 30 s, let alone for ever


def test_a_bomb_is_unpacked_no_further_than_the_size_of_the_file(server, folder):
    size = 200_000  # 50 MB are packed into 49 kB
    row = source(f"{server.address}/well/bomb.gz", bytes=size)
    with pytest.raises(UserError, match=f"bomb.gz has {size + 1} bytes instead of {size}"):
        get(row, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("truncated/images", "breaks off before the end"),
        ("short/images", "has the wrong checksum"),
        ("short/images.gz", "is not a whole .gz file"),
        ("well/empty.gz", "has the wrong checksum"),
        ("endless/images", "sends more bytes than the file may have"),
        ("well/bomb.gz", "has the wrong checksum"),
    ],
)
def test_a_wrong_file_of_unknown_size_leaves_nothing(server, folder, monkeypatch, path, reason):
    monkeypatch.setattr(fetch, "LARGEST", 200_000)
    sizes = []
    check = fetch._check

    def note(file, row):
        sizes.append(file.stat().st_size if file.exists() else 0)
        check(file, row)

    monkeypatch.setattr(fetch, "_check", note)
    with pytest.raises(UserError, match=f"/{path} {reason}"):
        get(source(f"{server.address}/{path}", bytes=None), folder)
    assert list(folder.iterdir()) == []
    assert max(sizes) <= 200_001  # of a bomb no more is unpacked: 50 MB are packed into 49 kB


def test_a_wrong_checksum_is_told_with_the_right_one(server, folder):
    row = source(f"{server.address}/corrupt/images", checksum=md5(CONTENT))
    result = md5(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(UserError) as caught:
        get(row, folder)
    assert f"expected {row.checksum}, found {result}" in str(caught.value)


def test_a_host_out_of_reach_is_named(folder):
    refused = f"http://127.0.0.1:{unused_port()}/images"
    unknown = "http://no-such-host.invalid/images"
    with pytest.raises(UserError) as caught:
        get(source(refused, unknown), folder, "/nowhere/mirror")
    message = str(caught.value)
    assert "/nowhere/mirror/toy/images cannot be read (No such file or directory); " in message
    assert f"{refused} is out of reach (no connection to host 127.0.0.1); " in message
    assert f"{unknown} is out of reach (no connection to host no-such-host.invalid); " in message
    assert "set PR12_MIRROR" in message
    assert list(folder.iterdir()) == []


def test_a_failure_leaves_an_older_wrong_file_as_it_was(server, folder):
    folder.mkdir()
    (folder / "images").write_bytes(b"mine")
    with pytest.raises(UserError):
        get(source(f"{server.address}/corrupt/images.gz"), folder)
    assert [path.name for path in folder.iterdir()] == ["images"]
    assert (folder / "images").read_bytes() == b"mine"


@pytest.mark.parametrize("from_mirror", [False, True])
def test_a_full_disk_is_told_and_no_other_address_is_tried(server, tmp_path, folder, from_mirror):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "images").write_bytes(CONTENT)
    mirror = str(tmp_path) if from_mirror else None
    folder.mkdir()
    with files.atomic(folder / "images") as temporary:
        temporary.write_bytes(b"")
    (folder / "images").unlink()
    temporary.symlink_to("/dev/full")  # the kernel's own full disk, where the part is written
    server.requests.clear()
    url = f"{server.address}/well/images"
    with pytest.raises(UserError, match=r"cannot write .*images: No space left on device; free"):
        get(source(url, f"{url}.gz"), folder, mirror)
    assert list(folder.iterdir()) == []
    assert server.requests == ({} if from_mirror else {"/well/images": 1})


def test_a_folder_that_cannot_be_written_to_is_told(server, folder, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(fetch, "open", refuse, raising=False)  # root may write anywhere
    with pytest.raises(
        UserError, match=r"cannot write .*images: Permission denied; free or unlock"
    ):
        get(source(f"{server.address}/well/images"), folder)


@pytest.mark.parametrize("folder", ["{tmp}/file", "{tmp}/file/raw", "/proc/self/raw", "/proc/raw"])
def test_a_folder_that_cannot_be_made_is_told(server, tmp_path, folder):
    (tmp_path / "file").write_text("not a folder")
    place = Path(folder.format(tmp=tmp_path))
    with pytest.raises(UserError, match=f"cannot write {place}/images: "):
        get(source(f"{server.address}/well/images"), place)
    assert (tmp_path / "file").read_text() == "not a folder"


# --- a file that is known by its pixels ---


PIXELS = np.random.default_rng(0).integers(0, 256, (560, 1965), np.uint8)


def mat(variables, **options):
    stream = io.BytesIO()
    savemat(stream, variables, **options)
    return stream.getvalue()


def with_unknown_type():
    """Return a MATLAB file whose pixels are of an unknown type: SciPy's reader dies of it."""
    content = bytearray(mat({"ff": PIXELS}))
    # head, tag of the matrix, its flags, shape and (short) name, then the tag of the pixels
    place = 128 + 8 + 16 + 16 + 8
    assert content[place : place + 8] == struct.pack("<II", 2, PIXELS.size)
    content[place] = 20
    return bytes(content)


BAD_PIXELS = {
    "no.mat": (b"<html>Please log in</html>" * 100, "is not a whole MATLAB file"),
    "empty.mat": (b"", "is not a whole MATLAB file"),
    "head.mat": (mat({"ff": PIXELS})[:128], "has no variable ff"),
    "cut.mat": (mat({"ff": PIXELS})[:-1000], "is not a whole MATLAB file"),
    "deadly.mat": (with_unknown_type(), "is not a whole MATLAB file"),
    "none.mat": (mat({"gg": PIXELS}), "has no variable ff"),
    "turned.mat": (
        mat({"ff": PIXELS.T}),
        "has as ff ('ndarray', 'uint8', (1965, 560)) instead of an ndarray of uint8 (560, 1965)",
    ),
    "flat.mat": (
        mat({"ff": PIXELS.reshape(-1, 1)}),
        "has as ff ('ndarray', 'uint8', (1100400, 1))",
    ),
    "float.mat": (mat({"ff": PIXELS / 255}), "has as ff ('ndarray', 'float64', (560, 1965))"),
    "sparse.mat": (mat({"ff": csc_array((560, 1965))}), "has as ff ('csc_matrix', 'float64', "),
    "other.mat": (mat({"ff": PIXELS ^ 1}), "has the wrong checksum (expected pixels-sha256:"),
}


@pytest.fixture(scope="module")
def mat_server():
    good = {
        "plain.mat": mat({"ff": PIXELS}),
        "packed.mat": mat({"ff": PIXELS}, do_compression=True),
        "second.mat": mat({"a": "text", "ff": PIXELS, "zz": np.eye(3)}),
    }
    with serve(good | {name: content for name, (content, _) in BAD_PIXELS.items()}) as served:
        yield served


def faces(*urls):
    checksum = f"pixels-sha256:{hashlib.sha256(PIXELS.tobytes(order='C')).hexdigest()}"
    return fetch.Source("toy", "faces.mat", urls, None, checksum, "none stated", "tests")


@pytest.mark.parametrize("name", ["plain.mat", "packed.mat", "second.mat"])
def test_the_same_pixels_are_the_same_file_in_any_container(mat_server, folder, name):
    url = f"{mat_server.address}/well/{name}"
    assert get(faces(url), folder) == url
    assert [path.name for path in folder.iterdir()] == ["faces.mat"]
    assert get(faces("http://127.0.0.1/"), folder) == "was there already"


@pytest.mark.parametrize("name", BAD_PIXELS)
def test_a_file_with_other_pixels_or_none_leaves_nothing(mat_server, folder, name):
    url = f"{mat_server.address}/well/{name}"
    with pytest.raises(UserError) as caught:
        get(faces(url), folder)
    assert str(caught.value).startswith(f"cannot fetch toy/faces.mat: {url} {BAD_PIXELS[name][1]}")
    assert list(folder.iterdir()) == []


def test_the_next_place_is_tried_after_other_pixels(mat_server, tmp_path, folder, capsys):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "faces.mat").write_bytes(BAD_PIXELS["deadly.mat"][0])
    url = f"{mat_server.address}/corrupt/plain.mat"  # its last bit is one of the last pixel
    good = f"{mat_server.address}/well/plain.mat"
    assert get(faces(url, good), folder, str(tmp_path)) == good
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("toy/faces.mat is not a whole MATLAB file")
    assert f"{url} has the wrong checksum" in second


# --- data/sources.csv ---


def test_sources_agree_with_torchvision():
    published = vision.import_torchvision().datasets.MNIST
    rows = [row for row in fetch.read_sources(SOURCES.read_text()) if row.name == "mnist"]
    assert [(row.file, row.urls) for row in rows] == [
        (file.removesuffix(".gz"), tuple(f"{mirror}{file}" for mirror in published.mirrors))
        for file, _ in published.resources
    ]
    # the IDX format: a head of 4 bytes and 4 for each dimension, then one byte for each value
    assert [row.bytes for row in rows] == [
        16 + 60_000 * 28 * 28,
        8 + 60_000,
        16 + 10_000 * 28 * 28,
        8 + 10_000,
    ]


def test_sources_agree_with_scikit_learn():
    row = next(row for row in fetch.read_sources(SOURCES.read_text()) if row.name == "covtype")
    assert (row.file, row.checksum) == (ARCHIVE.filename, f"sha256:{ARCHIVE.checksum}")
    assert ARCHIVE.url in row.urls


ROW = f"toy,images,http://host/a.gz https://host/b,7,md5:{'0' * 32},CC0,distill\n"


def test_a_row_is_read_cell_by_cell():
    assert fetch.read_sources(HEADER + ROW) == [
        fetch.Source(
            "toy",
            "images",
            ("http://host/a.gz", "https://host/b"),
            7,
            f"md5:{'0' * 32}",
            "CC0",
            "distill",
        )
    ]
    assert fetch.read_sources(HEADER) == []
    assert fetch.read_sources(HEADER + ROW.replace(",7,", ",,"))[0].bytes is None
    assert fetch.read_sources(HEADER + ROW.replace("CC0", '"CC BY, or such"'))[0].licence == (
        "CC BY, or such"
    )


def test_weights_of_torchvision_are_listed_by_its_own_addresses():
    models = vision.import_torchvision().models
    rows = {row.name: row for row in fetch.read_sources(SOURCES.read_text())}
    for name, weights in (("vgg19", models.VGG19_Weights), ("googlenet", models.GoogLeNet_Weights)):
        url = weights.IMAGENET1K_V1.url
        assert rows[name].urls == (url,)
        assert rows[name].file == url.rpartition("/")[2]
        digits = re.search(r"-([0-9a-f]{8})\.pth", url)[1]
        assert rows[name].checksum.partition(":")[2].startswith(digits)


def test_frey_face_is_listed_by_its_pixels():
    rows = [row for row in fetch.read_sources(SOURCES.read_text()) if row.name == "frey_face"]
    assert [(row.file, row.bytes) for row in rows] == [("frey_rawface.mat", None)]
    assert rows[0].checksum.startswith("pixels-sha256:")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("toy", "", "line 2: name is ''; it must be a word"),
        ("toy", "../toy", "line 2: name is '../toy'"),
        ("images", "../x", "line 2: file is '../x'; it must be a path inside its folder"),
        ("images", "a/../../x", "line 2: file is"),
        ("images", "a/..", "line 2: file is"),
        ("images", "/etc/passwd", "line 2: file is"),
        ("images", "a//b", "line 2: file is"),
        ("images", ".hidden", "line 2: file is"),
        ("images", "a\\b", "line 2: file is"),
        ("images", '"a\nb"', "line 3: file is"),
        ("images", "a ", "line 2: file is"),
        ("http://host/a.gz", "ftp://host/a.gz", "line 2: urls is"),
        ("http://host/a.gz", "file:///etc/passwd", "line 2: urls is"),
        ("http://host/a.gz ", "http://host/a.gz  ", "line 2: urls is"),
        ("7", "0", "line 2: bytes is '0'; it must be a whole number above 0"),
        ("7", "-7", "line 2: bytes is"),
        ("7", "7.0", "line 2: bytes is"),
        ("7", " ", "line 2: bytes is ' '; it must be a whole number above 0, or empty"),
        ("7", "7" * 5000, "line 2: bytes is"),
        ("7", "\N{ARABIC-INDIC DIGIT SEVEN}", "line 2: bytes is"),
        ("md5:0", "md5:", "line 2: checksum is"),
        ("md5:0", "md5:G", "line 2: checksum is"),
        ("md5:", "pixels-sha256:", "line 2: checksum is"),  # too short for it
        ("md5:", "pixels-md5:", "it must be md5:, sha256: or pixels-sha256: and lower-case digits"),
        ("md5:", "sha1:", "line 2: checksum is"),
        (f"md5:{'0' * 32}", "sha256-prefix:0000000", "line 2: checksum is"),  # too short to know it
        (f"md5:{'0' * 32}", f"sha256-prefix:{'0' * 64}", "line 2: checksum is"),  # the whole
        ("CC0", "", "line 2: licence is ''; it must be not empty"),
        (",distill", "", "line 2 has 6 cells; it must have 7"),
        (",distill", ",distill,stn", "line 2 has 8 cells; it must have 7"),
        (ROW, "\n" + ROW, "line 2 has 0 cells; it must have 7"),
        (ROW, ROW + ROW, "line 3: toy/images is listed twice"),
        ("CC0", '"CC0" or', "line 2 is not CSV"),
        ("CC0", '"CC0', "is not CSV"),
        (HEADER, "", "line 1 must be name,file,urls"),
        ("name,", "\ufeffname,", "line 1 must be name,file,urls"),
    ],
)
def test_a_wrong_cell_is_told_with_its_line(old, new, message):
    with pytest.raises(UserError) as caught:
        fetch.read_sources((HEADER + ROW).replace(old, new, 1))
    assert str(caught.value).startswith("sources.csv ")
    assert message in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=7, max_size=7) | st.text())
def test_what_is_read_is_safe_or_refused(cells):
    row = cells if isinstance(cells, str) else ",".join(cells)
    try:
        rows = fetch.read_sources(HEADER + row)
    except UserError:
        return
    root = Path("/raw")
    for source in rows:
        path = root / source.name / source.file
        assert path.is_relative_to(root)
        assert ".." not in path.parts


@settings(max_examples=60, deadline=None)
@given(
    st.from_regex(fetch.CELLS["file"][0], fullmatch=True),
    st.from_regex(fetch.CELLS["urls"][0], fullmatch=True),
)
def test_a_file_that_is_allowed_stays_in_its_folder(file, urls):
    quoted = '"' + urls.replace('"', '""') + '"'
    row = fetch.read_sources(HEADER + f"toy,{file},{quoted},1,md5:{'0' * 32},CC0,x")[0]
    assert os.path.normpath(f"/raw/{row.file}") == f"/raw/{row.file}"
    assert all(url.startswith(("http://", "https://")) for url in row.urls)


# --- the step ---


def run_step(tmp_path, text, name="toy"):
    (tmp_path / "sources.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    verified = tmp_path / "record" / "verified.json"
    line = ["--params", json.dumps({"name": name}), f"sources={tmp_path / 'sources.csv'}"]
    line += [f"folder={tmp_path / 'raw'}", f"verified={verified}"]
    with step.start(
        fetch.Params, reads=["sources"], writes=["folder", "verified"], arguments=line
    ) as job:
        fetch.main(job)
    return json.loads(verified.read_text())


def rows(*urls):
    row = source(*urls)
    cells = (row.name, row.file, " ".join(urls), str(row.bytes), row.checksum, "CC0", "tests")
    return HEADER + ",".join(cells) + "\n"


def test_the_step_asks_the_mirror_of_the_environment(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PR12_MIRROR", f"{server.address}/well")
    text = rows("http://no-such-host.invalid/images")
    record = {"images": source().checksum}
    assert run_step(tmp_path, text + text.replace("toy", "other").removeprefix(HEADER)) == record
    assert holds_only_the_file(tmp_path / "raw")
    assert f"{server.address}/well/toy/images" in capsys.readouterr().err
    monkeypatch.setenv("PR12_MIRROR", "")
    assert run_step(tmp_path, text.replace(",20000,", ",,")) == record
    words = capsys.readouterr().err.splitlines()[-1]
    assert words.startswith("toy/images: 20000 bytes, sha256:")
    assert "was there already" in words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + ROW, "sources.csv has no data set mnist; it has toy"),
        ((HEADER + ROW).encode("utf-16"), "cannot read "),
        (HEADER + "mnist\n", "sources.csv line 2 has 1 cells; it must have 7"),
    ],
)
def test_a_mistake_in_the_list_is_one_sentence(tmp_path, capsys, text, message):
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path, text, "mnist")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_a_failure_writes_no_record(server, tmp_path, capsys):
    absent = rows(f"{server.address}/well/absent").replace("toy,images", "toy,labels")
    text = rows(f"{server.address}/well/images") + absent.removeprefix(HEADER)
    with pytest.raises(SystemExit, match="2"):
        run_step(tmp_path, text)
    assert "cannot fetch toy/labels" in capsys.readouterr().err
    assert not (tmp_path / "record").exists()
    assert holds_only_the_file(tmp_path / "raw")  # and the next run need not fetch it again


# A file-size limit of the kernel's own: whatever writes is stopped in mid-file.
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
sys.argv = ["fetch", *sys.argv[1:]]
runpy.run_module("pr12.data.fetch", run_name="__main__")
"""


def test_the_command_line_tells_a_write_that_fails_without_a_traceback(server, tmp_path):
    (tmp_path / "sources.csv").write_text(rows(f"{server.address}/well/images.gz"))
    line = ["--params", '{"name": "toy"}', f"sources={tmp_path / 'sources.csv'}"]
    line += [f"folder={tmp_path / 'raw'}", f"verified={tmp_path / 'verified.json'}"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )
    assert done.returncode == 2, done.stderr
    first, last = done.stderr.splitlines()
    assert first.startswith("PYTHONPATH=src python -m ")
    assert "images: File too large; free or unlock the place" in last
    assert list((tmp_path / "raw").iterdir()) == []
    assert not (tmp_path / "verified.json").exists()


def test_the_step_imports_neither_torch_nor_scipy():
    code = "import pr12.data.fetch, sys; print(bool({'torch', 'scipy'} & {*sys.modules}))"
    env = {**os.environ, "PYTHONPATH": str(address.SRC)}
    assert subprocess.check_output([sys.executable, "-c", code], env=env) == b"False\n"
