"""Evidence of an earlier schema becomes today's, and only what today's graph made."""

import pytest

import evidence_cases
from pr12.report import evidence, migrate
from pr12.shared import files, report, step
from pr12.shared.errors import UserError

CASES = ("z2", "z3")


def nodes(case):
    train = evidence_cases.node(f"vae/{case}/train")
    return [train, evidence_cases.node(f"vae/{case}/evaluate", reads=[train["folder"]])]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write a report of the first edition, and today's graph, which made it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "reports/full/vae"
    metrics = {"test/error": [0.5, 0.25], "test/units": [10]}
    files.write_json(folder / "metrics.json", dict.fromkeys(CASES, report.summaries(metrics)))
    files.write_json(folder / "provenance.json", {case: provenance(case) for case in CASES})
    (folder / "README.md").write_text("first edition")
    chain = [node for case in CASES for node in nodes(case)]
    results = {case: nodes(case)[-1]["folder"] for case in CASES}
    files.write_json(tmp_path / "chains.json", evidence_cases.today(chain, results))
    return folder


def provenance(case, **changed):
    last = nodes(case)[-1]
    command = f"python -m pr12.vae.evaluate model=m metrics={last['folder']}/metrics.json"
    inputs = {"model": {"path": "m", "sha256": "ab" * 32}}
    made_by = {"command": command, "source": last["source"], "inputs": inputs, "device": "cpu"}
    return made_by | {"seconds": 12.5} | changed


def run(folder, **paths):
    given = {"report": folder} | paths
    migrate.main(step.Job(migrate.Params(), given, (), "pr12.report.migrate", "python"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_first_edition_becomes_evidence_of_the_steps_that_made_it(folder, tmp_path):
    run(folder, chains=tmp_path / "chains.json")
    found = evidence.read_all(folder / "evidence", ["z2", "z3"])
    assert [*found] == ["z2", "z3"]
    assert found["z2"].metrics == {"test/error": [0.5, 0.25], "test/units": [10]}
    assert found["z2"].chain == nodes("z2")
    assert found["z2"].provenance["inputs"]["model"]["sha256"] == "ab" * 32
    assert "seconds" not in found["z2"].provenance
    assert not (folder / "provenance.json").exists()
    assert (folder / "README.md").read_text() == "first edition"


def test_a_second_time_changes_nothing(folder, tmp_path):
    run(folder, chains=tmp_path / "chains.json")
    first = contents(folder)
    run(folder, chains=tmp_path / "chains.json")
    run(folder)
    assert contents(folder) == first


def test_half_a_migration_goes_on(folder, tmp_path):
    whole = contents(folder)
    run(folder, chains=tmp_path / "chains.json")
    first = contents(folder)
    evidence_file = folder / "evidence/z3/evidence.json"
    evidence_file.unlink()
    evidence_file.parent.rmdir()
    (folder / "provenance.json").write_bytes(whole["provenance.json"])
    run(folder, chains=tmp_path / "chains.json")
    assert contents(folder) == first


def test_newer_evidence_is_not_replaced(folder, tmp_path):
    newer = [nodes("z2")[-1] | {"folder": "build/test/vae/z2/evaluate.fedcba9876"}]
    metrics = {"test/error": [0.125]}
    evidence_cases.write_case(folder / "evidence", "z2", metrics, newer, {"codes": [1]})
    before = contents(folder / "evidence/z2")
    run(folder, chains=tmp_path / "chains.json")
    assert contents(folder / "evidence/z2") == before
    assert evidence.read(folder / "evidence/z3").metrics["test/error"] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"command": "python -m pr12 metrics=build/test/vae/z3/evaluate.1/metrics.json"},
            r"z3 was written to build/test/vae/z3/evaluate\.1, today's graph has build/",
        ),
        ({"command": "python -m pr12"}, "z3 was written to None, today's graph has build/"),
        ({"source": "1111111111"}, "z3 was made by the source 1111111111, today's is abcdef0123"),
    ],
)
def test_what_another_graph_made_is_refused_and_nothing_is_written(
    folder, tmp_path, changed, message
):
    made_by = {"z2": provenance("z2"), "z3": provenance("z3", **changed)}
    files.write_json(folder / "provenance.json", made_by)
    before = contents(folder)
    with pytest.raises(UserError, match=message) as caught:
        run(folder, chains=tmp_path / "chains.json")
    assert str(caught.value).endswith("migrate with the code that made it")
    assert contents(folder) == before


def test_a_case_that_is_no_more_or_has_no_numbers_is_refused(folder, tmp_path):
    files.write_json(folder / "provenance.json", {"gone": provenance("z2")})
    with pytest.raises(UserError, match=r"gone was written to .*, today's graph has None; migrate"):
        run(folder, chains=tmp_path / "chains.json")
    files.write_json(folder / "provenance.json", {"z2": provenance("z2")})
    files.write_json(folder / "metrics.json", {})
    with pytest.raises(UserError, match=r"z2 has no numbers in metrics\.json; bring both back"):
        run(folder, chains=tmp_path / "chains.json")


def test_the_first_edition_needs_todays_graph(folder):
    with pytest.raises(UserError, match=r"is of the first edition: add chains=PATH"):
        run(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": 7}, "is of schema 7, from which nothing leads to 1; a newer version"),
        ({"schema": -1}, "is of schema -1, from which nothing leads to 1; a newer version"),
        ({"schema": "1"}, "is no evidence; bring it back from git"),
        ({"schema": True}, "is no evidence; bring it back from git"),
        ([], "is no evidence; bring it back from git"),
        ({}, "is no evidence; bring it back from git"),
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
    monkeypatch.setattr(evidence, "SCHEMA", 0)
    evidence_cases.write_case(tmp_path / "evidence", "z2", {"error": [1]}, nodes("z2"), [1])
    monkeypatch.undo()

    def renamed(found):
        return found | {"schema": 1, "metrics": {"test/error": found["metrics"]["error"]}}

    monkeypatch.setattr(migrate, "STEPS", {0: renamed})
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
