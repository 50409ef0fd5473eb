import copy
import sys

import pytest
import yaml

import pr12
from pr12.workflow import address, params, settings
from pr12.workflow.errors import UserError

TRAIN = {
    "hidden": [800, 800],
    "width_scale": 0.25,
    "bottleneck": 0,
    "hard_weight": 0.0,
    "soft_weight": 0.0,
    "logit_weight": 0.0,
    "temperature": 1.0,
    "mean": "geometric",
    "standardise_logits": False,
    "noise_fraction": 0.0,
    "noise_sigma": 0.0,
    "transfer_classes": [0, 1],
    "transfer_fraction": 1.0,
    "dropout_input": 0.0,
    "dropout_hidden": 0.0,
    "max_norm": None,
    "jitter": 0,
    "batch_size": 50,
    "epochs": 60,
    "learning_rate": 0.001,
    "early_stopping": False,
    "matmul_precision": "highest",
}
DIGITS = {
    "dataset": "digits",
    "train": 700,
    "validation": 297,
    "test": 800,
    "margin": 1,
    "split_seed": 0,
}


@pytest.fixture
def config():
    return copy.deepcopy(
        {
            "run": "embedded",
            "papers": ["distill"],
            "data": {"small": DIGITS, "large": DIGITS | {"train": 600}},
            "distill": {
                "dataset": "small",
                "seeds": [0, 1],
                "train": TRAIN,
                "evaluate": {"bias_classes": []},
                "figures": {"student_cases": {}},
                "gradient_limit": {"temperatures": [1.0], "examples": 5},
                "cases": {
                    "teacher": {"hard_weight": 1.0, "dropout_hidden": 0.5, "seeds": [7]},
                    "soft": {"soft_weight": 1.0, "temperature": 20, "bias_classes": [3]},
                    "limit": {"step": "gradient_limit", "examples": 9},
                },
                "runs": {
                    "smoke": None,
                    "full": {
                        "dataset": "large",
                        "seeds": [0, 1, 2],
                        "train": {"width_scale": 1.0, "epochs": 12},
                        "cases": {"teacher": {"seeds": [5], "dropout_input": 0.2}},
                    },
                },
            },
        }
    )


@pytest.fixture
def texts():
    return {
        "claims": [
            {"id": "good", "case": "teacher", "metric": "m"},
            {"less": {"case": "soft", "than": "teacher"}, "metric": "m"},
            {"gap": {"case": "soft", "from": "limit", "to": "teacher"}, "metric": "m"},
            {"best_inside": ["soft", "teacher"], "metric": "m"},
            {"ratio": {"case": "soft", "than": "limit"}, "metric": "m", "at_least": 2},
        ],
        "tables": [{"title": "Errors", "rows": [{"case": "soft"}], "columns": []}],
        "withdrawn": [{"case": "soft", "reason": "a fault"}],
    }


def put(config, path, value):
    *parents, key = path.split("/")
    for name in parents:
        config = config[int(name)] if isinstance(config, list) else config[name]
    config[int(key) if isinstance(config, list) else key] = value


def test_a_run_lays_its_overrides_over_the_defaults(config):
    before = copy.deepcopy(config)
    config["run"] = before["run"] = "full"
    resolved = settings.resolve(config)
    assert config == before  # what was given is not changed
    assert resolved["run"] == "full"
    section = resolved["distill"]
    assert section["train"] == TRAIN | {"width_scale": 1.0, "epochs": 12}
    assert (section["dataset"], section["seeds"]) == ("large", [0, 1, 2])
    assert section["cases"]["teacher"] == {
        "hard_weight": 1.0,
        "dropout_hidden": 0.5,
        "seeds": [5],
        "dropout_input": 0.2,
    }
    assert section["cases"]["soft"] == before["distill"]["cases"]["soft"]
    assert "runs" not in section
    assert resolved["data"]["large"]["train"] == 600


@pytest.mark.parametrize("run", ["embedded", "smoke"])
def test_a_run_without_overrides_is_the_sections_own(config, run):
    config["run"] = run
    section = settings.resolve(config)["distill"]
    assert section == {key: value for key, value in config["distill"].items() if key != "runs"}


def test_a_paper_needs_no_runs(config):
    del config["distill"]["runs"]
    for run in settings.RUNS:
        assert settings.resolve(config | {"run": run})["distill"] == config["distill"]


def test_a_steps_params_are_defaults_then_seeds_then_the_cases_overrides(config):
    section = settings.resolve(config)["distill"]
    soft = settings.step_params("distill", section, "train", "soft")
    assert soft["temperature"] == 20.0
    assert soft["soft_weight"] == 1.0
    assert soft["seeds"] == (0, 1)
    assert soft["epochs"] == 60
    assert "bias_classes" not in soft  # the evaluation's
    assert settings.step_params("distill", section, "evaluate", "soft") == {"bias_classes": (3,)}
    assert settings.step_params("distill", section, "train", "teacher")["seeds"] == (7,)
    limit = settings.step_params("distill", section, "gradient_limit", "limit")
    assert limit == {"temperatures": (1.0,), "examples": 9}
    assert settings.step_params("distill", section, "gradient_limit")["examples"] == 5
    assert section["train"] == TRAIN


def test_a_case_overrides_train_unless_it_names_a_step(config):
    section = config["distill"]
    assert settings.case_step(section, "soft") == "train"
    assert settings.case_step(section, "limit") == "gradient_limit"


def test_claims_name_their_cases(texts):
    assert [settings.claim_cases(claim) for claim in texts["claims"]] == [
        {"teacher"},
        {"soft", "teacher"},
        {"soft", "limit", "teacher"},
        {"soft", "teacher"},
        {"soft", "limit"},
    ]


MISTAKES = [
    ("run", "ful", "run is 'ful'; allowed: embedded, full, smoke"),
    ("run", None, "run is None; allowed: embedded, full, smoke"),
    ("distil", {}, "distil is unknown; allowed: run, papers, data, distill"),
    ("papers", ["distill", "vae"], "vae is in papers but has no section; add one"),
    ("distill/runs/ful", {}, "distill.runs.ful is unknown; allowed: embedded, full, smoke"),
    ("distill/runs/full", 3, "distill.runs.full is 3; it must be a mapping"),
    ("distill/runs", 3, "distill.runs is 3; it must be a mapping"),
    ("runs", {}, "runs is unknown; allowed: run, papers, data, distill"),
    ("distill/claims", [], "distill.claims is no param; move it to papers/distill/"),
    (
        "data/small/trian",
        1,
        "data.small.trian is unknown; allowed here: dataset, margin, split_seed, test, train, "
        "validation",
    ),
    ("data/small/train", "700", 'data.small.train is "700"; it must be a whole number'),
    ("data/small/train", 0, "data.small.train is 0; it must be a number of at least 1"),
    ("data/large/dataset", "cifar", 'data.large.dataset is "cifar"; it must be one of digits, mni'),
    ("distill/dataset", "mnist", "distill.dataset is 'mnist'; allowed: small, large"),
    ("distill/trian", {}, "there is no step pr12.distill.trian"),
    ("distill/mlp", {}, "there is no step pr12.distill.mlp"),
    ("distill/seeds", [], "distill.seeds is []; it must be a list with at least one element"),
    ("distill/seeds", [0, 1, 0], "distill.seeds is [0, 1, 0]; name each seed once"),
    ("distill/seeds", [0, "1"], 'distill.seeds[1] is "1"; it must be a whole number'),
    ("distill/cases", {}, "distill.cases is empty; name at least one case"),
    ("distill/cases", {"..": {}}, "distill.cases... is no name; use letters, digits"),
    ("distill/cases", {"a b": {}}, "distill.cases.a b is no name; use letters, digits"),
    ("distill/cases", {"$(x)": {}}, "distill.cases.$(x) is no name; use letters, digi"),
    (
        "distill/cases",
        {5: {}},
        "distill.cases has the key 5; a key must be a text, write '5' in quotes",
    ),
    ("distill/cases/soft", 3, "distill.cases.soft is 3; it must be a mapping"),
    (
        "distill/cases/soft/step",
        "trian",
        "distill.cases.soft.step is 'trian'; allowed: train, gradient_limit",
    ),
    (
        "distill/train/temperature",
        -1,
        "distill.train.temperature is -1; it must be a number above 0",
    ),
    (
        "distill/train/learning_rate",
        "0.001",
        'distill.train.learning_rate is "0.001"; it must be a number',
    ),
    ("distill/train/temprature", 2, "distill.train.temprature is unknown; allowed: batch_size, "),
    (
        "distill/cases/soft/temprature",
        2,
        "distill.cases.soft.temprature is unknown; allowed: batch_size, bias_classes, ",
    ),
    (
        "distill/cases/soft/temperature",
        -1,
        "distill.cases.soft.temperature is -1; it must be a number above 0",
    ),
    (
        "distill/cases/soft/temperature",
        "20",
        'distill.cases.soft.temperature is "20"; it must be a number',
    ),
    (
        "distill/cases/teacher/seeds",
        [],
        "distill.cases.teacher.seeds is []; it must be a list with at least one element",
    ),
    (
        "distill/cases/soft/bias_classes",
        3,
        "distill.cases.soft.bias_classes is 3; it must be a list",
    ),
    (
        "distill/cases/limit/temperature",
        3,
        "distill.cases.limit.temperature is unknown; allowed: examples, step, temperatures",
    ),
    (
        "distill/train/learning_rate",
        "1e-3",
        "distill.train.learning_rate is the text '1e-3', not a number; write 1.0e-3 in params.yaml",
    ),
    (
        "distill/runs/full/train/epochs",
        "1.2E1",
        "distill.runs.full.train.epochs is the text '1.2E1', not a number; write 1.2e+1 in params",
    ),
    (
        "distill/gradient_limit/temperatures",
        [1.0, "1e3"],
        "distill.gradient_limit.temperatures[1] is the text '1e3', not a number; write 1.0e+3 in",
    ),
    ("data/small/train", "7e2", "data.small.train is the text '7e2', not a number; write 7.0e+2"),
]


@pytest.mark.parametrize(("path", "value", "sentence"), MISTAKES, ids=lambda m: str(m)[:30])
def test_every_mistake_is_told_with_its_path_and_what_is_allowed(config, path, value, sentence):
    settings.resolve(config)
    put(config, path, value)
    with pytest.raises(UserError) as caught:
        settings.resolve(config)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "train/epoch",
            3,
            "distill.runs.full.train.epoch is unknown; allowed: hidden, width_scale",
        ),
        ("trian", {}, "distill.runs.full.trian is unknown; allowed: dataset, seeds, train"),
        ("train", 3, "distill.runs.full.train is 3; it must be a mapping"),
        ("cases/techer", {}, "distill.runs.full.cases.techer is unknown; allowed: teacher, soft"),
        ("cases/soft", 3, "distill.runs.full.cases.soft is 3; it must be a mapping"),
    ],
)
def test_mistakes_of_the_chosen_run_are_told_where_they_stand(config, path, value, sentence):
    config["run"] = "full"
    put(config["distill"]["runs"]["full"], path, value)
    with pytest.raises(UserError) as caught:
        settings.resolve(config)
    assert str(caught.value).startswith(sentence)


def test_wrong_values_of_the_chosen_run_are_found(config):
    config["run"] = "full"
    config["distill"]["runs"]["full"]["train"]["temperature"] = -1
    with pytest.raises(UserError, match="temperature is -1; it must be a number above 0"):
        settings.resolve(config)
    config["run"] = "embedded"
    settings.resolve(config)


@pytest.mark.parametrize("key", ["run", "papers", "data"])
def test_a_missing_top_key_is_told(config, key):
    del config[key]
    with pytest.raises(UserError, match=f"^{key} is missing in params.yaml"):
        settings.resolve(config)


def test_a_missing_default_is_told(config):
    del config["distill"]["train"]["epochs"]
    with pytest.raises(UserError, match=r"^distill\.train\.epochs is missing"):
        settings.resolve(config)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "claims/0/case",
            "x",
            "claims.yaml[0] (good) names the unknown case 'x'; see distill.cases",
        ),
        ("claims/1/less/than", "x", "claims.yaml[1] names the unknown case 'x'; see distill.cases"),
        ("claims/2/gap/from", "x", "claims.yaml[2] names the unknown case 'x'; see distill.cases"),
        ("claims/3/best_inside", ["soft", "x"], "claims.yaml[3] names the unknown case 'x'; see"),
        ("claims/4/ratio/than", "x", "claims.yaml[4] names the unknown case 'x'; see distill"),
        ("claims/4/ratio", "soft", "claims.yaml[4].ratio is 'soft'; it must be a mapping"),
        ("claims/1/less", "soft", "claims.yaml[1].less is 'soft'; it must be a mapping"),
        (
            "tables/0/rows/0/case",
            "x",
            "tables.yaml[0] names the unknown case 'x'; see distill.cases",
        ),
        (
            "withdrawn/0/case",
            "x",
            "withdrawn.yaml[0] names the unknown case 'x'; see distill.cases",
        ),
    ],
)
def test_texts_that_name_an_unknown_case_say_their_file(config, texts, path, value, sentence):
    settings.check_texts("distill", config["distill"], texts)
    put(texts, path, value)
    with pytest.raises(UserError) as caught:
        settings.check_texts("distill", config["distill"], texts)
    assert str(caught.value).startswith(f"papers/distill/{sentence}")


@pytest.fixture
def folder(tmp_path, texts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "papers" / "distill"
    folder.mkdir(parents=True)
    link = {"name": "A paper", "url": "https://arxiv.org/abs/1503.02531"}
    about = {"title": "A title", "citation": "A citation", "links": [link]}
    for name, value in {"paper": about, **texts}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    (folder / "deviations.md").write_text("- Adam: none\n  is named.\n\n- No jitter.\n")
    return folder


def test_what_is_written_of_a_paper_is_read_from_its_folder(folder, texts):
    read = settings.paper(folder)
    assert set(read) == {*settings.TEXTS, "context", "cited_for", "card"}
    assert read["context"] == {}
    assert (read["title"], read["citation"]) == ("A title", "A citation")
    assert read["links"] == [{"name": "A paper", "url": "https://arxiv.org/abs/1503.02531"}]
    assert read["deviations"] == ["Adam: none is named.", "No jitter."]
    assert {key: read[key] for key in texts} == texts


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("paper.yaml", None, "paper.yaml is missing; write it"),
        ("claims.yaml", None, "claims.yaml is missing; write it"),
        ("deviations.md", None, "deviations.md is missing; write it, empty if there is none"),
        (
            "paper.yaml",
            "title: x\n",
            "paper.yaml must be a mapping with the keys title, citation, ",
        ),
        ("paper.yaml", "title:\ncitation: x\nlinks: []\n", "paper.yaml: title is None; it must be"),
        (
            "paper.yaml",
            "title: x\ncitation: x\nlinks: [{name: x}]\n",
            "paper.yaml: links[0] is {'name': 'x'}; it must have the texts name and url",
        ),
        ("claims.yaml", "", "claims.yaml is None; it must be a list, [] if it is empty"),
        ("tables.yaml", "- x\n", "tables.yaml[0] is 'x'; it must be a mapping"),
        ("withdrawn.yaml", None, "withdrawn.yaml is missing; write it"),
        ("withdrawn.yaml", "", "withdrawn.yaml is None; it must be a list, [] if it is empty"),
        ("withdrawn.yaml", "- {case: x, reason: 3}\n", "withdrawn.yaml[0] is {'case': 'x', 'reas"),
        (
            "withdrawn.yaml",
            "- {case: x, reason: a}\n- {case: x, reason: b}\n",
            "withdrawn.yaml[1] names the case 'x' again; join the reasons",
        ),
        ("withdrawn.yaml", "- {case: x}\n", "withdrawn.yaml[0] is {'case': 'x'}; it must have"),
        (
            "claims.yaml",
            "- id: a\n  id: b\n",
            "claims.yaml: the key id stands twice, in lines 1 and",
        ),
        (
            "claims.yaml",
            "- at_most: 1e-6\n",
            "claims.yaml: [0].at_most is 1e-6 in line 1, which is",
        ),
        ("deviations.md", "- a\nb\n", "deviations.md, line 2, belongs to no item; begin an item"),
    ],
)
def test_a_file_of_a_paper_that_is_missing_or_of_another_shape_is_named(
    folder, name, text, sentence
):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(UserError) as caught:
        settings.paper(folder)
    assert str(caught.value).startswith(f"papers/distill/{sentence}")


def test_withdrawn_cases_have_their_reason(folder):
    assert settings.withdrawn(folder) == {"soft": "a fault"}
    (folder / "withdrawn.yaml").write_text("# none\n[]\n")
    assert settings.withdrawn(folder) == {}


@pytest.fixture
def step_source(tmp_path, monkeypatch):
    """Return what writes the source of a step that cannot be imported."""
    monkeypatch.setattr(address, "SRC", tmp_path / "src")
    monkeypatch.setattr(pr12, "__path__", [*pr12.__path__, str(tmp_path / "src/pr12")])
    path = tmp_path / "src/pr12/nobody/train.py"
    path.parent.mkdir(parents=True)

    def write(declared):
        path.write_text(f"{declared}\nraise SystemExit\n")
        path.with_name("params.py").write_text(
            "from dataclasses import dataclass\n@dataclass\nclass Train:\n    warm: int\n"
        )

    yield write
    params.steps.cache_clear()
    for name in ("pr12.nobody.params", "pr12.nobody"):
        sys.modules.pop(name, None)
    vars(pr12).pop("nobody", None)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("", {}),
        ("AFTER = {'warm': 0}", {}),
        ("BEFORE = {'warm': 0}", {"warm": 0}),
        ("BEFORE: dict[str, int] = {'warm': 0}", {"warm": 0}),
        ("BEFORE = {}", {}),
    ],
)
def test_what_a_step_did_before_it_had_a_field_is_read_from_its_source(
    step_source, declared, value
):
    step_source(declared)
    assert settings.before("pr12.nobody.train") == value
    assert "pr12.nobody.train" not in sys.modules


@pytest.mark.parametrize(
    "value", ["dict(warm=0)", "['warm']", "{'wram': 0}", "{'warm': None.x}", "3"]
)
def test_a_declaration_that_is_no_plain_mapping_of_fields_is_refused(step_source, value):
    step_source(f"BEFORE = {value}")
    with pytest.raises(UserError) as caught:
        settings.before("pr12.nobody.train")
    assert str(caught.value) == (
        f"pr12.nobody.train: BEFORE is {value}; it must be a plain mapping with keys out of warm"
    )
