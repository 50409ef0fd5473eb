"""Evidence of an earlier schema becomes today's."""

import pytest

import evidence_cases
from pr12.report import evidence, migrate
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def nodes(case):
    train = evidence_cases.node(f"vae/{case}/train")
    return [train, evidence_cases.node(f"vae/{case}/evaluate", reads=[train["folder"]])]


def run(folder):
    migrate.main(
        step.Job(migrate.Params(), {"report": folder}, (), "pr12.report.migrate", "python")
    )


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": 7}, "is of schema 7, from which nothing leads to 3; a newer version"),
        ({"schema": -1}, "is of schema -1, from which nothing leads to 3; a newer version"),
        ({"schema": "1"}, "is no evidence; git checkout -- "),
        ({"schema": True}, "is no evidence; git checkout -- "),
        ([], "is no evidence; git checkout -- "),
        ({}, "is no evidence; git checkout -- "),
    ],
)
def test_an_unknown_schema_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "evidence/z2/evidence.json"
    files.write_json(path, content)
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        run(tmp_path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """Write evidence of an earlier schema, of which one key had another name."""
    evidence_cases.write_case(tmp_path / "evidence", "z2", {"test/error": [1]}, nodes("z2"), [1])
    whole = contents(tmp_path)
    monkeypatch.setattr(evidence, "SCHEMA", 2)
    evidence_cases.write_case(tmp_path / "evidence", "z2", {"error": [1]}, nodes("z2"), [1])
    monkeypatch.undo()

    def renamed(content):
        return content | {"schema": 3, "metrics": {"test/error": content["metrics"]["error"]}}

    monkeypatch.setattr(migrate, "STEPS", {2: renamed})
    return tmp_path, whole


def test_evidence_of_an_earlier_schema_becomes_todays_with_its_picture(earlier):
    folder, whole = earlier
    assert contents(folder) != whole
    with pytest.raises(UserError, match=r"run: python -m pr12\.report\.migrate report="):
        evidence.read(folder / "evidence/z2")
    run(folder)
    assert contents(folder) == whole
    run(folder)
    assert contents(folder) == whole


@pytest.mark.parametrize("name", ["evidence.json", "picture.json"])
def test_damaged_evidence_is_not_made_good_by_a_migration(earlier, name):
    folder, _ = earlier
    path = folder / "evidence/z2" / name
    path.write_text(path.read_text().replace("1", "2", 1).replace("z2", "z3", 1))
    before = contents(folder)
    with pytest.raises(UserError, match=f"{name} is"):
        run(folder)
    assert contents(folder) == before


def test_rooms_rename_the_arrays_and_say_what_two_steps_read():
    arrays = {"folder": "build/full/data/mnist/data.1", "step": "pr12.shared.data", "reads": []}
    labels = {"folder": "build/full/distill/teacher/soft_labels.2", "reads": [arrays["folder"]]}
    labels |= {"step": "pr12.distill.soft_labels"}
    last = {"folder": "build/full/distill/t/temperature.3", "reads": [labels["folder"]]}
    last |= {"step": "pr12.distill.temperature"}
    chain = migrate.rooms({"schema": 1, "chain": [arrays, labels, last]})["chain"]
    assert chain[0] == {
        "folder": "build/full/data/mnist/arrays.1",
        "step": "pr12.data.arrays",
        "reads": [],
    }
    assert chain[1]["reads"] == ["build/full/data/mnist/arrays.1"]
    assert chain[2]["reads"] == [labels["folder"], "build/full/data/mnist/arrays.1"]


def test_evidence_of_schema_2_keeps_its_lists_of_folders(tmp_path, monkeypatch):
    old = nodes("z2")
    old[1]["reads"] = [old[0]["folder"]]
    monkeypatch.setattr(evidence, "SCHEMA", 2)
    evidence_cases.write_case(tmp_path / "evidence", "z2", {"test/error": [1]}, old, [1])
    monkeypatch.undo()
    before = files.read_json(tmp_path / "evidence/z2/evidence.json")
    run(tmp_path)
    after = evidence.read(tmp_path / "evidence/z2")
    assert after.chain == old
    now = files.read_json(tmp_path / "evidence/z2/evidence.json")
    assert {key for key in now if now[key] != before[key]} == {"schema", "digest"}


@pytest.mark.parametrize("level", ["..", "evidence", "evidence/z2", "."])
def test_a_folder_of_another_level_is_refused(tmp_path, level):
    """Nothing was migrated there, and nothing said so."""
    (tmp_path / "full/vae/evidence/z2").mkdir(parents=True)
    folder = tmp_path / "full/vae" / level
    with pytest.raises(UserError) as caught:
        run(folder)
    for words in (str(folder), "has no evidence/<case>/evidence.json", "report=reports/full/vae"):
        assert words in str(caught.value)


def test_what_was_migrated_is_told(earlier, capsys):
    folder, _ = earlier
    for count in (1, 0):
        run(folder)
        assert f"{count} of 1 cases were of an earlier schema" in capsys.readouterr().err
