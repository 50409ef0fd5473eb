"""Raw files are compared with their checksums when they are read, not only when fetched."""

import hashlib
import json
import os

import pytest
import torch

import bad_inputs
from pr12.data import fetched
from pr12.distill.data import problems
from pr12.photostyle.data import weights_file
from pr12.workflow import address
from pr12.workflow.errors import UserError

CONTENT = b"published\n"
MD5, SHA256 = (getattr(hashlib, name)(CONTENT).hexdigest() for name in ("md5", "sha256"))
KINDS = [f"md5:{MD5}", f"sha256:{SHA256}", f"sha256-prefix:{SHA256[:8]}"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.csv").write_bytes(CONTENT)
    return tmp_path


def check(folder, record, names=("a.csv",)):
    verified = folder / "verified.json"
    verified.write_text(record if isinstance(record, str) else json.dumps(record))
    fetched.check_all(verified, folder / "raw", names)


@pytest.mark.parametrize("checksum", KINDS)
def test_the_file_that_was_fetched_passes(folder, checksum):
    listed = {"a.csv": checksum, "b.csv": f"md5:{MD5}"}
    check(folder, listed)
    assert fetched.record(folder / "verified.json") == listed
    assert (folder / "raw/a.csv").read_bytes() == CONTENT


def exchanged(folder):
    (folder / "raw/a.csv").write_bytes(b"edited\n")


def missing(folder):
    (folder / "raw/a.csv").unlink()


def a_folder(folder):
    missing(folder)
    (folder / "raw/a.csv").mkdir()


def a_pipe(folder):
    missing(folder)
    os.mkfifo(folder / "raw/a.csv")


def as_it_was(folder):
    pass


BAD_INPUTS = [  # id, what happens to the file, the record, what the message must hold
    ("exchanged, md5", exchanged, {"a.csv": KINDS[0]}, "a.csv is not what was fetched", MD5),
    ("exchanged, sha256", exchanged, {"a.csv": KINDS[1]}, "a.csv is not what was fetched", SHA256),
    (
        "exchanged, prefix",
        exchanged,
        {"a.csv": KINDS[2]},
        "a.csv is not what was fetched",
        KINDS[2],
    ),
    ("file gone", missing, {"a.csv": KINDS[1]}, "cannot read", "No such file"),
    ("a folder of its name", a_folder, {"a.csv": KINDS[1]}, "a.csv is not what", "is not a file"),
    ("a pipe of its name", a_pipe, {"a.csv": KINDS[1]}, "a.csv is not what", "is not a file"),
    ("not listed", as_it_was, {"b.csv": KINDS[1]}, "verified.json says nothing of a.csv", "delete"),
    ("no entry", as_it_was, {}, "verified.json says nothing of a.csv", "delete"),
    ("a list as record", as_it_was, [], "verified.json is no list of checksums", "delete it"),
    ("a number as record", as_it_was, "7", "verified.json is no list of checksums", "delete it"),
    ("cut off record", as_it_was, '{"a.csv', "verified.json is not JSON", "delete it"),
    ("brackets without end", as_it_was, "[" * 100_000, "verified.json is no list", "delete it"),
    ("empty record", as_it_was, "", "verified.json is not JSON", "delete it"),
    ("a number as checksum", as_it_was, {"a.csv": 7}, "7 for a.csv", "no checksum"),
    ("nothing as checksum", as_it_was, {"a.csv": None}, "None for a.csv", "no checksum"),
    ("an empty checksum", as_it_was, {"a.csv": "sha256:"}, "'sha256:' for a.csv", "no checksum"),
    ("an unknown kind", as_it_was, {"a.csv": "crc32:00"}, "'crc32:00' for a.csv", "no checksum"),
    ("a short prefix", as_it_was, {"a.csv": "sha256-prefix:1"}, "for a.csv", "no checksum"),
    ("a checksum of volumes", as_it_was, {"a.csv": f"volumes-sha256:{SHA256}"}, "a.csv", "not a f"),
    ("a checksum of pixels", as_it_was, {"a.csv": f"pixels-sha256:{SHA256}"}, "a.csv", "MATLAB"),
]


@pytest.mark.parametrize(
    ("change", "record", "subject", "words"),
    [row[1:] for row in BAD_INPUTS],
    ids=[row[0] for row in BAD_INPUTS],
)
def test_bad_inputs(folder, change, record, subject, words):
    change(folder)
    bad_inputs.answered(lambda: check(folder, record), [subject, words, "run again"])


# --- what has no record of its own: data/raw is compared with data/sources.csv ---


@pytest.fixture
def listed(folder, monkeypatch):
    """A repository whose data/sources.csv lists two data sets, one of them with two files."""
    raw = folder / "data/raw"
    for name in ("adult/adult.data", "adult/adult.test", "weights/net.safetensors"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(CONTENT)
    rows = ["adult,adult.data", "adult,adult.test", "weights,net.safetensors"]
    table = ["name,file,urls,bytes,checksum,licence,used_by"]
    table += [f"{row},https://localhost/x,,sha256:{SHA256},CC0,nobody" for row in rows]
    (folder / "data/sources.csv").write_text("\n".join(table) + "\n")
    monkeypatch.setattr(address, "SRC", folder / "src")
    monkeypatch.chdir(folder)
    return raw


@pytest.mark.parametrize("relative", [True, False])
def test_raw_data_are_compared_with_the_list(listed, relative):
    raw = listed.relative_to(listed.parents[1]) if relative else listed
    fetched.check_raw(raw / "adult")
    fetched.check_raw(raw / "weights/net.safetensors")
    fetched.check_raw(raw / "unlisted")
    (raw / "adult/adult.test").write_bytes(b"edited\n")
    fetched.check_raw(raw / "adult/adult.data")
    with pytest.raises(UserError) as caught:
        fetched.check_raw(raw / "adult")
    for words in ("adult.test is not what was fetched", SHA256, "build/*/data/adult/fetch.*"):
        assert words in str(caught.value)


def test_a_table_that_was_exchanged_is_not_read(listed):
    (listed / "adult/adult.data").write_bytes(b"edited\n")
    with pytest.raises(UserError, match=r"adult\.data is not what was fetched"):
        problems.fetched("adult", listed / "adult")


def test_weights_that_were_exchanged_are_not_read(listed):
    path = listed / "weights/net.safetensors"
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(UserError, match=r"net\.safetensors is not what was fetched"):
        weights_file.read_weights(path, {"a": (2,)})
    ours = listed.parent / "net.safetensors"  # a user's file of the same name
    path.rename(ours)
    assert weights_file.read_weights(ours, {"a": (2,)})["a"].tolist() == [1.0, 1.0]
