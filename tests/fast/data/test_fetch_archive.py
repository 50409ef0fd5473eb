import gzip
import hashlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from http_server import serve
from pr12.data import archive, fetch, nifti, volumes
from pr12.workflow import address, step
from pr12.workflow.errors import UserError

SOURCES = address.SRC.parent / "data" / "sources.csv"
SUBJECTS = ("hippocampus_001", "hippocampus_003", "hippocampus_004")
FILES = [f"{subject}.nii.gz" for subject in SUBJECTS]
PARTS = ("imagesTr", "labelsTr")


def voxels(index, part):
    stream = np.random.default_rng([index, PARTS.index(part)])
    return stream.integers(0, 3 if part == "labelsTr" else 200, (3 + index, 4, 5)).astype(np.uint8)


def volume(array, spacing=(1.0, 1.0, 1.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1), pack=True):
    """Return the bytes of a NIfTI file."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetDirection([float(value) for value in direction])
    path = Path(os.environ["PR12_TEST_SCRATCH"]) / ("a.nii.gz" if pack else "a.nii")
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


@pytest.fixture(scope="module", autouse=True)
def scratch(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PR12_TEST_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        yield


@pytest.fixture(scope="module")
def contents(scratch):
    """Return part -> file -> bytes."""
    return {
        part: {name: volume(voxels(index, part)) for index, name in enumerate(FILES)}
        for part in PARTS
    }


@pytest.fixture(autouse=True)
def three_subjects_and_no_mirror(monkeypatch):
    monkeypatch.setattr(volumes, "SUBJECTS", SUBJECTS)
    fetch._archive.cache_clear()
    for name in ("PR12_MIRROR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "raw"


@pytest.fixture(scope="module")
def checksums(contents, tmp_path_factory):
    base = tmp_path_factory.mktemp("checksums")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volumes, "SUBJECTS", SUBJECTS)
        return {part: volumes.folder_checksum(laid_out(base, contents) / part) for part in PARTS}


def laid_out(place, contents):
    """Write the folders as a mirror holds them."""
    for part, ours in contents.items():
        (place / part).mkdir(parents=True, exist_ok=True)
        for name, content in ours.items():
            (place / part / name).write_bytes(content)
    return place


def tar(members, **options):
    """Return an archive of (name, content) or (TarInfo, None)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as made:
        for name, content in members:
            member = name if content is None else tarfile.TarInfo(name)
            member.size = 0 if content is None else len(content)
            made.addfile(member, io.BytesIO(content or b""))
    return stream.getvalue()


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, None


def official(contents, root="Task04_Hippocampus", without=()):
    """Return the members of the real layout: folders, macOS's files, a test set, other subjects."""
    members = [special(root, tarfile.DIRTYPE), (f"{root}/._dataset.json", b"\0\5\x16\7mac")]
    members.append((f"{root}/dataset.json", b"{}"))
    for part, ours in contents.items():
        members += [special(f"{root}/{part}", tarfile.DIRTYPE), (f"{root}/._{part}", b"\0\5mac")]
        for name, content in ours.items():
            members += [(f"{root}/{part}/._{name}", b"\0\5mac"), (f"{root}/{part}/{name}", content)]
        members.append((f"{root}/{part}/hippocampus_118.nii.gz", b"left out"))
    members.append((f"{root}/imagesTs/{FILES[0]}", b"of the test set"))
    return [(name, content) for name, content in members if name not in without]


@pytest.fixture(scope="module")
def server(contents):
    whole = tar(official(contents))
    served = {
        "Task04.tar": whole,
        "hippo/Task04.tar": whole,
        "dots.tar": tar(official(contents, "./Task04_Hippocampus")),
        "flat.tar": tar([(f"{p}/{n}", c) for p in PARTS for n, c in contents[p].items()]),
        "pax.tar": tar(official(contents), format=tarfile.PAX_FORMAT, pax_headers={"a": "b"}),
        "missing.tar": tar(official(contents, without=[f"Task04_Hippocampus/imagesTr/{FILES[1]}"])),
        "other.tar": tar(official({p: dict.fromkeys(FILES, contents[p][FILES[0]]) for p in PARTS})),
        "none.tar": tar([("readme", b"")]),
        "login.tar": b"<html>Please log in</html>" * 100,
        "empty.tar": b"",
        "packed.tar": gzip.compress(whole),
    }
    with serve(served) as running:
        yield running


def source(checksum, *urls, part="imagesTr"):
    return fetch.Source("hippo", part, urls, None, checksum, "CC-BY-SA-4.0", "tests")


def get(row, folder, mirror=None):
    return fetch.fetch(row, folder, mirror, timeout=0.3, pauses=(0.01, 0.01))


def holds(folder, contents, part="imagesTr"):
    """Tell whether a folder holds one part and nothing else, hidden or not."""
    result = {path.name: path.read_bytes() for path in (folder / part).iterdir()}
    return result == contents[part] and [path.name for path in folder.iterdir()] == [part]


# --- what works ---


@pytest.mark.parametrize("name", ["Task04.tar", "dots.tar", "flat.tar", "pax.tar"])
def test_a_folder_is_taken_out_of_the_archive_without_other_files(
    server, folder, contents, checksums, name
):
    url = f"{server.address}/well/{name}"
    assert get(source(checksums["imagesTr"], url), folder) == url
    assert holds(folder, contents)
    assert get(source(checksums["imagesTr"], "http://127.0.0.1/"), folder) == "was there already"


def test_the_archive_is_downloaded_once_for_both_folders(server, folder, contents, checksums):
    server.requests.clear()
    for part in PARTS:
        get(source(checksums[part], f"{server.address}/well/Task04.tar", part=part), folder)
    assert server.requests == {"/well/Task04.tar": 1}
    for part in PARTS:
        assert {path.name: path.read_bytes() for path in (folder / part).iterdir()} == contents[
            part
        ]


def test_a_download_that_breaks_off_begins_again_from_nothing(server, folder, contents, checksums):
    server.requests.clear()
    url = f"{server.address}/broken_once/Task04.tar"
    get(source(checksums["imagesTr"], url), folder)
    assert holds(folder, contents)
    assert server.requests == {"/broken_once/Task04.tar": 2}


def test_the_checksum_of_the_archive_is_checked_where_its_address_gives_it(
    server, folder, contents, checksums, capsys
):
    md5 = hashlib.md5(tar(official(contents))).hexdigest()
    wrong = f"{server.address}/well/dots.tar#md5={md5}"
    right = f"{server.address}/well/Task04.tar#md5={md5}"
    assert get(source(checksums["imagesTr"], wrong, right), folder) == right.partition("#")[0]
    assert holds(folder, contents)
    words = capsys.readouterr().err
    assert f"/well/dots.tar has the wrong checksum (expected md5:{md5}, found md5:" in words


def test_a_mirror_folder_is_copied_without_other_files(
    server, tmp_path, folder, contents, checksums
):
    server.requests.clear()
    mirror = laid_out(tmp_path / "mirror" / "hippo", contents)
    for name in ("hippocampus_118.nii.gz", "._hippocampus_001.nii.gz", "notes.txt"):
        (mirror / "imagesTr" / name).write_bytes(b"left out")
    (mirror / "imagesTr" / FILES[0]).chmod(0o444)
    row = source(checksums["imagesTr"], f"{server.address}/well/Task04.tar")
    assert get(row, folder, str(tmp_path / "mirror")) == str(mirror / "imagesTr")
    assert holds(folder, contents)
    assert os.access(folder / "imagesTr" / FILES[0], os.W_OK)
    assert not server.requests


def test_a_mirror_on_the_web_holds_the_archive_under_its_own_name(
    server, folder, contents, checksums
):
    # No checksum of the archive is asked of a mirror: it may have packed the same files anew.
    row = source(checksums["imagesTr"], f"http://127.0.0.1:1/x/Task04.tar#md5={'0' * 32}")
    assert get(row, folder, f"{server.address}/well/") == f"{server.address}/well/hippo/Task04.tar"
    assert holds(folder, contents)


def test_a_mirror_that_fails_is_passed_over(server, tmp_path, folder, contents, checksums, capsys):
    mirror = laid_out(tmp_path / "mirror" / "hippo", contents)
    (mirror / "imagesTr" / FILES[2]).unlink()
    url = f"{server.address}/well/Task04.tar"
    assert get(source(checksums["imagesTr"], url), folder, str(tmp_path / "mirror")) == url
    assert holds(folder, contents)
    assert f"{mirror / 'imagesTr'} lacks {FILES[2]}" in capsys.readouterr().err


# --- what lies there already ---


def test_a_right_folder_is_kept_as_it_is(folder, contents, checksums):
    laid_out(folder, contents)
    (folder / "imagesTr" / ".DS_Store").write_bytes(b"macOS was here")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert get(source(checksums["imagesTr"], "http://127.0.0.1:1/"), folder) == "was there already"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def flipped(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


WRONG = {
    "missing": (lambda part: (part / FILES[1]).unlink(), f"lacks {FILES[1]};"),
    "two missing": (
        lambda part: [(part / name).unlink() for name in FILES[:2]],
        f"lacks {FILES[0]} and 1 more;",
    ),
    "extra": (
        lambda part: (part / "hippocampus_118.nii.gz").write_bytes(b""),
        "holds what does not belong there, hippocampus_118.nii.gz;",
    ),
    "truncated": (
        lambda part: os.truncate(part / FILES[2], 100),
        f"holds {FILES[2]}, which is not a whole .gz file;",
    ),
    "one bit": (
        lambda part: (part / FILES[0]).write_bytes(flipped((part / FILES[0]).read_bytes())),
        f"holds {FILES[0]}, which is not a whole .gz file;",
    ),
    "empty": (
        lambda part: (part / FILES[0]).write_bytes(b""),
        f"holds {FILES[0]}, which is not a NIfTI file;",
    ),
    "a folder in place of a file": (
        lambda part: [(part / FILES[0]).unlink(), (part / FILES[0]).mkdir()],
        f"holds {FILES[0]}, which is not a file;",
    ),
    "a pipe": (  # nobody writes into it: to read it would never end
        lambda part: [(part / FILES[0]).unlink(), os.mkfifo(part / FILES[0])],
        f"holds {FILES[0]}, which is not a file;",
    ),
    "another volume": (
        lambda part: (part / FILES[0]).write_bytes((part / FILES[1]).read_bytes()),
        "has the wrong checksum (expected volumes-sha256:",
    ),
    "two swapped": (
        lambda part: [
            (part / FILES[0]).rename(part / "kept"),
            (part / FILES[1]).rename(part / FILES[0]),
            (part / "kept").rename(part / FILES[1]),
        ],
        "has the wrong checksum",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_folder_is_fetched_anew_with_the_file_named_in_one_line(
    server, folder, contents, checksums, capfd, case
):
    change, words = WRONG[case]
    laid_out(folder, {"imagesTr": contents["imagesTr"]})
    change(folder / "imagesTr")
    get(source(checksums["imagesTr"], f"{server.address}/well/Task04.tar"), folder)
    assert holds(folder, contents)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"{folder / 'imagesTr'} {words}")
    assert line.endswith("; it is fetched anew")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_replaced(server, tmp_path, folder, contents, checksums, kind):
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    if kind == "file":
        (folder / "imagesTr").write_text("no folder")
    else:
        (folder / "imagesTr").symlink_to(tmp_path / "elsewhere")
    get(source(checksums["imagesTr"], f"{server.address}/well/Task04.tar"), folder)
    assert holds(folder, contents)
    assert (tmp_path / "elsewhere" / "mine").read_text() == "mine"


# --- what fails ---


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("well/missing.tar", f"lacks {FILES[1]}"),
        ("well/other.tar", "has the wrong checksum (expected volumes-sha256:"),
        ("well/none.tar", f"lacks {FILES[0]} and 2 more"),
        ("well/login.tar", "is not a whole .tar file"),
        ("well/empty.tar", "is not a whole .tar file"),
        ("well/packed.tar", "is not a whole .tar file"),
        ("well/absent.tar", "answers 404 Not Found"),
        ("truncated/Task04.tar", "breaks off before the end"),
        ("silent/Task04.tar", "sends nothing for 0.3 s"),
        ("endless/Task04.tar", "sends more bytes than the file may have"),
    ],
)
def test_a_failure_names_the_reason_and_leaves_nothing(
    server, folder, checksums, monkeypatch, path, reason
):
    monkeypatch.setattr(fetch, "LARGEST", 200_000)
    url = f"{server.address}/{path}"
    with pytest.raises(UserError) as caught:
        get(source(checksums["imagesTr"], url), folder)
    message = str(caught.value)
    assert message.startswith(f"cannot fetch hippo/imagesTr: {url} {reason}")
    name = path.partition("/")[2]
    assert (
        f"set PR12_MIRROR to a folder that holds hippo/imagesTr or a web address with hippo/{name},"
        f" or put the folder at {folder / 'imagesTr'}" in message
    )
    assert not folder.exists() or list(folder.iterdir()) == []


def test_an_archive_cut_anywhere_leaves_nothing(folder, contents, checksums):
    whole = tar(official(contents))
    cuts = range(0, whole.rindex(b"Task04_Hippocampus/imagesTr/hippo") - 1, 700)
    with serve({f"{cut}.tar": whole[:cut] for cut in cuts}) as cut_server:
        for cut in cuts:
            row = source(checksums["imagesTr"], f"{cut_server.address}/well/{cut}.tar")
            with pytest.raises(UserError, match=r"is not a whole \.tar file|lacks hippocampus"):
                get(row, folder)
            assert not folder.exists() or list(folder.iterdir()) == []


def test_a_failure_leaves_an_older_wrong_folder_as_it_was(server, folder, contents, checksums):
    laid_out(folder, {"imagesTr": {"mine.txt": b"mine"}})
    with pytest.raises(UserError):
        get(source(checksums["imagesTr"], f"{server.address}/well/missing.tar"), folder)
    assert holds(folder, {"imagesTr": {"mine.txt": b"mine"}})


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("moment", ["a file is written", "the folder is checked", "it is renamed"])
def test_an_interrupted_extraction_leaves_nothing_of_itself(
    server, folder, contents, checksums, monkeypatch, moment, old
):
    if old:
        laid_out(folder, {"imagesTr": {"mine.txt": b"mine"}})
    target, name = {
        "a file is written": (Path, "write_bytes"),
        "the folder is checked": (archive.os.path, "lexists"),
        "it is renamed": (Path, "replace"),
    }[moment]
    original = getattr(target, name)
    calls = []

    def interrupt(*arguments):
        calls.append(arguments)
        # In mid-file, and between the two renames if there are two
        if len(calls) == (2 if name == "write_bytes" or (old and name == "replace") else 1):
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(target, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(source(checksums["imagesTr"], f"{server.address}/well/Task04.tar"), folder)
    monkeypatch.undo()
    assert calls
    if old:
        assert holds(folder, {"imagesTr": {"mine.txt": b"mine"}})
    else:
        assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_no_hindrance(server, folder, contents, checksums):
    laid_out(folder, {f".imagesTr.{os.getpid()}.{state}": {"a": b"?"} for state in ("part", "old")})
    get(source(checksums["imagesTr"], f"{server.address}/well/Task04.tar"), folder)
    assert holds(folder, contents)


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path, checksums):
    (tmp_path / "file").write_text("not a folder")
    place = tmp_path / "file" / "raw"
    with pytest.raises(UserError, match=f"cannot write {place}/imagesTr: Not a directory; free"):
        get(source(checksums["imagesTr"], f"{server.address}/well/Task04.tar"), place)
    assert (tmp_path / "file").read_text() == "not a folder"


# --- mirrors that are not as they should be ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda part: None, "cannot be read (No such file or directory)"),
        (lambda part: part.write_text(""), "cannot be read (Not a directory)"),
        (lambda part: part.mkdir(), f"lacks {FILES[0]} and 2 more"),
        (
            lambda part: [part.mkdir(), os.mkfifo(part / FILES[0])],
            f"holds {FILES[0]}, which is not a file",
        ),
        (
            lambda part: [part.mkdir(), (part / FILES[0]).write_bytes(bytes(1_000_001))],
            f"holds {FILES[0]}, which has more than 1000000 bytes",
        ),
    ],
    ids=["no folder", "a file", "an empty folder", "a pipe", "a huge file"],
)
def test_a_mirror_folder_that_is_wrong_is_told(tmp_path, folder, checksums, change, words):
    (tmp_path / "mirror" / "hippo").mkdir(parents=True)
    change(tmp_path / "mirror" / "hippo" / "imagesTr")
    row = source(checksums["imagesTr"], "http://127.0.0.1:1/a.tar")
    with pytest.raises(UserError) as caught:
        get(row, folder, str(tmp_path / "mirror"))
    assert f"hippo/imagesTr {words}; " in str(caught.value)


# --- archives that are meant to harm ---


NAME = f"T/imagesTr/{FILES[0]}"
HARMFUL = {
    "absolute": ([(f"/etc/imagesTr/{FILES[0]}", b"x")], "leads out of its folder"),
    "upwards": ([(f"T/../../imagesTr/{FILES[0]}", b"x")], "leads out of its folder"),
    "a link": ([special(NAME, tarfile.SYMTYPE, "/etc/passwd")], "is a link or no file"),
    "a hard link": ([special(NAME, tarfile.LNKTYPE, "../../x")], "is a link or no file"),
    "a pipe": ([special(NAME, tarfile.FIFOTYPE)], "is a link or no file"),
    "a device": ([special(NAME, tarfile.CHRTYPE)], "is a link or no file"),
    "a folder": ([special(NAME, tarfile.DIRTYPE)], "is a link or no file"),
    "a huge file": ([(NAME, bytes(1_000_001))], "has more than 1000000 bytes"),
    "twice": ([(NAME, b"x"), (f"U/imagesTr/{FILES[0]}", b"y")], f"imagesTr/{FILES[0]} twice"),
}


@pytest.mark.parametrize("case", HARMFUL)
def test_a_harmful_archive_is_refused(case):
    members, words = HARMFUL[case]
    with pytest.raises(archive.UnusableError) as caught:
        archive.read_tar(tar(members), "imagesTr", volumes.file_names())
    assert str(caught.value).startswith("holds ")
    assert words in str(caught.value)


def test_a_harmful_archive_writes_nothing_anywhere(tmp_path, folder, contents, checksums):
    members = [
        ("../../escaped", b"x"),
        (f"{tmp_path}/escaped", b"x"),
        special("Task04_Hippocampus/imagesTr", tarfile.SYMTYPE, str(tmp_path)),
        special("Task04_Hippocampus/imagesTr/escaped", tarfile.SYMTYPE, "/etc/passwd"),
        *official(contents),
    ]
    with serve({"a.tar": tar(members)}) as bad:
        get(source(checksums["imagesTr"], f"{bad.address}/well/a.tar"), folder)
    assert holds(folder, contents)  # what has another name is not looked at
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert not list(tmp_path.rglob("escaped"))


def with_head(content, at, **fields):
    """Change fields of one head of an archive and make its sum right again."""
    places = {"size": (124, 12), "type": (156, 1), "name": (0, 100)}
    head = bytearray(content[at : at + 512])
    for field, value in fields.items():
        start, length = places[field]
        head[start : start + length] = value.ljust(length, b"\0")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return content[:at] + bytes(head) + content[at + 512 :]


@pytest.mark.parametrize("size", [-1, -512, -1024, -1536, -3072, -(10**9), 2**70])
def test_a_size_below_zero_or_beyond_all_bounds_does_not_lead_in_circles(size):
    whole = tar([(f"T/imagesTr/{name}", b"x" * 700) for name in FILES])
    bad = with_head(whole, 1536, size=tarfile.itn(size, 12, tarfile.GNU_FORMAT))
    with pytest.raises(archive.UnusableError):
        archive.read_tar(bad, "imagesTr", set(FILES))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3 * 1536 - 1), st.integers(0, 255)), max_size=6),
    st.booleans(),
)
def test_a_broken_archive_is_refused_or_gives_some_of_the_files(changes, right_sums):
    names = [f"hippocampus_{index}.nii.gz" for index in range(3)]
    content = bytearray(tar([(f"T/imagesTr/{name}", b"x" * 700) for name in names]))
    for at, value in changes:
        content[at] = value
    content = bytes(content)
    if right_sums:
        for at in (0, 1536, 3072):
            content = with_head(content, at)
    try:
        result = archive.read_tar(content, "imagesTr", set(names))
    except archive.UnusableError:
        return
    assert set(result) <= set(names)
    assert all(len(ours) <= archive.LARGEST for ours in result.values())


def test_no_small_file_fills_the_memory(folder, contents, checksums, monkeypatch):
    monkeypatch.setattr(volumes, "LARGEST", 100_000)
    bomb = gzip.compress(bytes(30_000_000))
    assert len(bomb) < archive.LARGEST
    laid_out(folder, {"imagesTr": {**contents["imagesTr"], FILES[1]: bomb}})
    with pytest.raises(archive.UnusableError, match=f"{FILES[1]}, which has more than 100000 byt"):
        volumes.check_folder(folder / "imagesTr", checksums["imagesTr"])


# --- the checksum ---


def checksum_of(contents, place):
    return volumes.folder_checksum(laid_out(place, {"part": contents}) / "part")


def test_the_checksum_is_as_documented(tmp_path, contents):
    digest = hashlib.sha256()
    for index, subject in enumerate(SUBJECTS):
        array = voxels(index, "imagesTr")
        direction = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]
        head = [subject, list(array.shape), [1.0, 1.0, 1.0], direction]
        digest.update(json.dumps(head).encode() + b"\n")
        digest.update(struct.pack(f"<{array.size}d", *array.ravel().tolist()))
    expected = f"volumes-sha256:{digest.hexdigest()}"
    assert checksum_of(contents["imagesTr"], tmp_path) == expected


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float32, np.float64, ">f4"])
def test_the_checksum_does_not_depend_on_the_type_of_voxels_or_on_packing(
    tmp_path, contents, checksums, kind
):
    array = voxels(0, "imagesTr").astype(np.dtype(kind).newbyteorder("="))
    other = contents["imagesTr"] | {FILES[0]: volume(array)}
    unpacked = gzip.decompress(other[FILES[1]])
    other[FILES[1]] = gzip.compress(unpacked, compresslevel=1, mtime=7)
    other[FILES[2]] = gzip.decompress(other[FILES[2]])  # a .nii.gz that is not packed at all
    assert checksum_of(other, tmp_path) == checksums["imagesTr"]


def test_the_checksum_does_not_depend_on_the_sign_of_zero(tmp_path, contents):
    plain = voxels(0, "labelsTr").astype(np.float32)
    assert (plain == 0).any()
    result = {
        checksum_of(contents["labelsTr"] | {FILES[0]: volume(array)}, tmp_path / str(index))
        for index, array in enumerate((plain, np.where(plain == 0, np.float32(-0.0), plain)))
    }
    assert len(result) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"array": voxels(0, "imagesTr") + (np.arange(60).reshape(3, 4, 5) == 59)},
        {"array": voxels(0, "imagesTr").reshape(4, 3, 5)},
        {"array": voxels(0, "imagesTr").T.copy()},
        {"spacing": (1.0, 1.0, 1.001)},
        {"direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)},
    ],
    ids=["one voxel", "shape", "transposed", "spacing", "direction"],
)
def test_the_checksum_depends_on_voxels_and_geometry(tmp_path, contents, checksums, change):
    made = volume(**{"array": voxels(0, "imagesTr"), **change})
    other = checksum_of(contents["imagesTr"] | {FILES[0]: made}, tmp_path)
    assert other != checksums["imagesTr"]


def test_the_checksum_depends_on_the_names(tmp_path, contents, checksums, monkeypatch):
    monkeypatch.setattr(volumes, "SUBJECTS", (*SUBJECTS[:2], "hippocampus_006"))
    renamed = dict(contents["imagesTr"])
    renamed["hippocampus_006.nii.gz"] = renamed.pop(FILES[2])
    assert checksum_of(renamed, tmp_path) != checksums["imagesTr"]


# --- a volume that may be damaged ---


HEAD = {"dimensions": 40, "type": 70, "bits": 72, "offset": 108, "magic": 344}


def changed(content, place, form, *values):
    content = bytearray(content)
    struct.pack_into(form, content, HEAD[place], *values)
    return gzip.compress(bytes(content))


def huge(content, offset):
    """Return a volume of 2^45 voxels that begin where no file can."""
    head = gzip.decompress(changed(content, "offset", "<f", offset))
    return changed(head, "dimensions", "<4h", 3, 32767, 32767, 32767)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda plain: gzip.compress(plain[:-1]), "ends before its last"),
        (lambda plain: gzip.compress(plain[:352]), "ends before its last"),
        (lambda plain: changed(plain, "offset", "<f", 360.0), "ends before its last"),
        (lambda plain: plain[:-1], "ends before its last"),
        (lambda plain: changed(plain, "dimensions", "<4h", 3, 999, 999, 999), "ends before"),
        (lambda plain: changed(plain, "type", "<2h", 64, 8), "ends before"),  # of 8 bytes, not bits
        (lambda plain: huge(plain, -1e30), "ends before"),
        (lambda plain: huge(plain, float("nan")), "ends before"),
        (lambda plain: changed(plain, "dimensions", "<5h", 4, 5, 4, 3, 2), "does not have one"),
        (lambda plain: changed(plain, "dimensions", "<4h", 2, 5, 12, 1), "does not have one"),
        (lambda plain: changed(plain, "type", "<2h", 128, 24), "does not have one"),
        (lambda plain: changed(plain, "magic", "<4s", b"no!"), "is not a NIfTI file"),
        (lambda plain: changed(plain, "magic", "<4s", b"ni1"), "is not a NIfTI file"),
        (lambda plain: gzip.compress(plain[:300]), "is not a NIfTI file"),
        (lambda plain: gzip.compress(b""), "is not a NIfTI file"),
        (lambda plain: b"<html>Please log in</html>", "is not a NIfTI file"),
        (lambda plain: gzip.compress(plain)[:-1], "is not a whole .gz file"),
        (lambda plain: gzip.compress(plain)[:40], "is not a whole .gz file"),
        (lambda plain: b"\x1f\x8b", "is not a whole .gz file"),
        (lambda plain: flipped(gzip.compress(plain)), "is not a whole .gz file"),
    ],
)
def test_a_damaged_volume_is_refused(tmp_path, make, words):
    plain = gzip.decompress(volume(voxels(0, "imagesTr")))
    (tmp_path / "a.nii.gz").write_bytes(make(plain))
    with pytest.raises(ValueError, match=words):
        nifti.read_volume(tmp_path / "a.nii.gz", 100_000)


def save(path, content):
    path.write_bytes(content)
    return path


def big_endian(head):
    """Turn round the bytes of each number in the head of a NIfTI file."""
    head = head.copy()
    groups = [(4, [0, 32]), (2, [36, *range(40, 56, 2), *range(68, 76, 2), 120, 252, 254])]
    groups += [(4, [56, 60, 64, *range(76, 120, 4), *range(124, 148, 4), *range(256, 328, 4)])]
    for size, places in groups:
        for at in places:
            head[at : at + size] = head[at : at + size][::-1]
    return head


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_voxels_that_are_not_finite_are_refused(tmp_path, bad, kind, order):
    plain = gzip.decompress(volume(voxels(0, "imagesTr").astype(kind)))
    head, body = np.frombuffer(plain[:352], np.uint8).copy(), np.frombuffer(plain[352:], f"<{kind}")
    path = tmp_path / "a.nii"
    if order == ">":
        head = big_endian(head)
    good = head.tobytes() + body.astype(order + kind).tobytes()
    assert (
        nifti.read_volume(save(path, good), 100_000).voxels.tolist()
        == voxels(0, "imagesTr").tolist()
    )
    changed_body = body.astype(order + kind)
    changed_body[-1] = bad
    with pytest.raises(ValueError, match="has voxels that are NaN or infinite"):
        nifti.read_volume(save(path, head.tobytes() + changed_body.tobytes()), 100_000)


def test_complex_voxels_are_refused(tmp_path):
    image = sitk.GetImageFromArray(np.ones((2, 2, 2), np.complex64))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    with pytest.raises(ValueError, match="does not have one number per voxel"):
        nifti.read_volume(tmp_path / "a.nii.gz", 100_000)


@pytest.mark.parametrize("pack", [False, True])
def test_a_volume_is_read_with_its_geometry(tmp_path, pack):
    path = tmp_path / ("a.nii.gz" if pack else "a.nii")
    turned = (0, 1, 0, -1, 0, 0, 0, 0, 1)
    path.write_bytes(volume(voxels(1, "imagesTr"), (0.5, 1.0, 2.0), turned, pack))
    result = nifti.read_volume(path, 100_000)
    assert result.voxels.tolist() == voxels(1, "imagesTr").tolist()
    assert result.spacing == (0.5, 1.0, 2.0)
    np.testing.assert_allclose(result.direction, turned, atol=1e-6)


def test_a_scale_in_the_head_is_applied(tmp_path):
    plain = bytearray(gzip.decompress(volume(voxels(0, "imagesTr"))))
    struct.pack_into("<2f", plain, 112, 2.0, -1.0)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(plain)))
    result = nifti.read_volume(tmp_path / "a.nii.gz", 100_000)
    assert result.voxels.tolist() == (2.0 * voxels(0, "imagesTr") - 1).tolist()


# --- the list and the step ---


def test_the_hippocampus_set_is_listed_as_monai_lists_it():
    from monai.apps.datasets import DecathlonDataset  # seconds that no other test needs

    task = "Task04_Hippocampus"
    published = f"{DecathlonDataset.resource[task]}#md5={DecathlonDataset.md5[task]}"
    rows = [row for row in fetch.read_sources(SOURCES.read_text()) if row.name == "hippocampus"]
    assert [row.file for row in rows] == list(PARTS)
    for row in rows:
        assert row.urls == (published,)
        assert (row.bytes, row.licence, row.used_by) == (None, "CC-BY-SA-4.0", "rca")
        assert row.checksum.startswith(volumes.PREFIX)


def test_the_list_of_subjects_is_sorted_and_leaves_out_those_that_copies_lack():
    numbers = volumes.NUMBERS.split()
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 260
    assert not {"010", "118", "281"} & set(numbers)


def test_a_folder_has_no_size_in_the_list():
    row = ",".join(fetch.CELLS) + "\nhippo,imagesTr,http://host/a.tar,{},{},CC0,rca\n"
    checksum = f"volumes-sha256:{'0' * 64}"
    assert fetch.read_sources(row.format("", checksum))[0].checksum == checksum
    with pytest.raises(UserError, match="line 2: bytes is '7'; it must be empty for a folder"):
        fetch.read_sources(row.format(7, checksum))


def run_step(tmp_path, checksums, *urls):
    cells = [
        f"hippo,{part},{' '.join(urls)},,{checksums[part]},CC-BY-SA-4.0,tests" for part in PARTS
    ]
    text = "\n".join([",".join(fetch.CELLS), *cells, ""])
    (tmp_path / "sources.csv").write_text(text)
    line = ["--params", '{"name": "hippo"}', f"sources={tmp_path / 'sources.csv'}"]
    return [*line, f"folder={tmp_path / 'raw'}", f"verified={tmp_path / 'verified.json'}"]


def test_the_step_writes_down_what_it_verified(server, tmp_path, contents, checksums, capsys):
    server.requests.clear()
    line = run_step(tmp_path, checksums, f"{server.address}/well/Task04.tar")
    with step.start(
        fetch.Params, reads=["sources"], writes=["folder", "verified"], arguments=line
    ) as job:
        fetch.main(job)
    assert json.loads((tmp_path / "verified.json").read_text()) == checksums
    assert server.requests == {"/well/Task04.tar": 1}
    size = sum(map(len, contents["imagesTr"].values()))
    assert f"hippo/imagesTr: {size} bytes, {checksums['imagesTr']}, " in capsys.readouterr().err


IN_A_PROCESS = """
import resource, runpy, signal, sys
from pr12.data import volumes
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background
volumes.SUBJECTS = {subjects}
{before}
sys.argv = ["fetch", *sys.argv[1:]]
runpy.run_module("pr12.data.fetch", run_name="__main__")
"""


def start_process(tmp_path, checksums, url, before=""):
    code = IN_A_PROCESS.format(subjects=SUBJECTS, before=before)
    line = run_step(tmp_path, checksums, url)
    return subprocess.Popen(
        [sys.executable, "-c", code, *line],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(address.SRC)},
    )


def test_the_command_line_tells_a_write_that_fails_without_a_traceback(server, tmp_path, checksums):
    # A file-size limit of the kernel's own: whatever writes is stopped in mid-file.
    before = "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))"
    url = f"{server.address}/well/Task04.tar"
    process = start_process(tmp_path, checksums, url, before)
    _, words = process.communicate()
    assert process.returncode == 2, words
    assert "imagesTr: File too large; free or unlock the place" in words.splitlines()[-1]
    assert "Traceback" not in words
    assert list((tmp_path / "raw").iterdir()) == []
    assert not (tmp_path / "verified.json").exists()


def test_control_c_during_the_check_leaves_nothing(server, tmp_path, checksums):
    # The first volume that is read stops until the signal comes.
    before = """
import time
from pr12.data import nifti
def wait(*arguments):
    print("reading", file=sys.stderr, flush=True)
    time.sleep(60)
nifti.read_volume = wait
"""
    url = f"{server.address}/well/Task04.tar"
    with start_process(tmp_path, checksums, url, before) as process:
        while (line := process.stderr.readline()) != "reading\n":
            assert line  # else it ended before
        assert [path.name for path in (tmp_path / "raw").iterdir()] == [
            f".imagesTr.{process.pid}.part"
        ]
        process.send_signal(signal.SIGINT)
        words = process.stderr.read()
    assert process.returncode == 130, words
    assert list((tmp_path / "raw").iterdir()) == []


def test_the_step_imports_simpleitk_for_volumes_only():
    code = "import pr12.data.fetch, sys; print('SimpleITK' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(address.SRC)}
    assert subprocess.check_output([sys.executable, "-c", code], env=env) == b"False\n"
