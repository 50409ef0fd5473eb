"""Trained nets under lasting names: each is made by a job of each run, and DVC knows it."""

from pathlib import Path

import pytest
import yaml

from pr12.report.lookup import nets
from pr12.workflow import results
from pr12.workflow.errors import UserError

ROOT = Path(__file__).parents[3]
PAPERS = ("distill", "vae", "rca", "stn", "photostyle")
GOOD = {"name": "a", "trained": "teacher/train", "file": "model", "about": "a net"}
BAD_NETS = [
    ("a key too many", [GOOD | {"sice": 1}], "nets.yaml[0]", "the keys name, trained, file, about"),
    ("a text", ["teacher"], "nets.yaml[0]", "must be a mapping"),
    ("an unknown step", [GOOD | {"trained": "teacher/trein"}], "'teacher/trein'", "<case>/<step>"),
    ("an unknown output", [GOOD | {"file": "modell"}], "'modell'", "an output of the step"),
    ("a name twice", [GOOD, GOOD], "nets.yaml[1] has the name 'a' of another net", "change it"),
]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["embedded", "full", "smoke"])
def test_dvc_lists_the_nets_of_all_papers(run):
    listed = {}
    for paper in PAPERS:
        for net in nets.listed(ROOT, paper, run):
            path = f"build/${{run}}/nets/{paper}/{net.name}.safetensors"
            listed[net.name] = {"path": path, "type": "model", "desc": net.about}
    assert listed == yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"]


@pytest.mark.parametrize(
    ("entries", "subject", "remedy"),
    [row[1:] for row in BAD_NETS],
    ids=[row[0] for row in BAD_NETS],
)
def test_a_bad_list_is_one_sentence(tmp_path, entries, subject, remedy):
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    place = tmp_path / "papers/distill/nets.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(yaml.safe_dump(entries))
    with pytest.raises(UserError) as caught:
        nets.listed(tmp_path, "distill")
    message = str(caught.value)
    assert subject in message
    assert remedy in message
    assert "\n" not in message


def test_a_net_of_a_case_that_is_gone_is_left_out_with_a_word(tmp_path, capsys):
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    place = tmp_path / "papers/distill/nets.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(yaml.safe_dump([GOOD, GOOD | {"name": "b", "trained": "gone/train"}]))
    assert [net.name for net in nets.listed(tmp_path, "distill")] == ["a"]
    assert "the run embedded has no gone" in capsys.readouterr().err


def test_what_is_not_trained_is_not_copied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "papers"):
        Path(name).symlink_to(ROOT / name)
    assert nets.main(["stn", "nets"]) == 2
    assert "model.safetensors is missing; run `snakemake" in capsys.readouterr().err
    assert not Path("nets").exists()


def test_a_copy_removes_what_is_listed_no_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (net, *_) = nets.listed(ROOT, "stn")
    net.path.parent.mkdir(parents=True)
    net.path.write_bytes(b"a net")
    results.write(net.path.parent, [net.path])
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "old.safetensors").write_bytes(b"")
    nets.copy([net], folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{net.name}.safetensors": b"a net"
    }
