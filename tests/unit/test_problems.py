import numpy as np
import pytest

from pr12.distill import problems
from pr12.shared.errors import UserError

# OpenML's own headers (data sets 1590, 6 and 1596), with fewer rows below them.
WORK = "Private Self-emp-not-inc Self-emp-inc Federal-gov Local-gov State-gov Without-pay"
EDUCATION = (
    "Bachelors Some-college 11th HS-grad Prof-school Assoc-acdm Assoc-voc 9th 7th-8th 12th "
    "Masters 1st-4th 10th Doctorate 5th-6th Preschool"
)
MARITAL = (
    "Married-civ-spouse Divorced Never-married Separated Widowed Married-spouse-absent "
    "Married-AF-spouse"
)
OCCUPATION = (
    "Tech-support Craft-repair Other-service Sales Exec-managerial Prof-specialty "
    "Handlers-cleaners Machine-op-inspct Adm-clerical Farming-fishing Transport-moving "
    "Priv-house-serv Protective-serv Armed-Forces"
)
RELATIONSHIP = "Wife Own-child Husband Not-in-family Other-relative Unmarried"
RACE = "White Asian-Pac-Islander Amer-Indian-Eskimo Other Black"
COUNTRY = (
    "United-States Cambodia England Puerto-Rico Canada Germany Outlying-US(Guam-USVI-etc) India "
    "Japan Greece South China Cuba Iran Honduras Philippines Italy Poland Jamaica Vietnam Mexico "
    "Portugal Ireland France Dominican-Republic Laos Ecuador Taiwan Haiti Columbia Hungary "
    "Guatemala Nicaragua Scotland Thailand Yugoslavia El-Salvador Trinadad&Tobago Peru Hong "
    "Holand-Netherlands"
)
ADULT = [
    ("age", None),
    ("workclass", WORK + " Never-worked"),
    ("fnlwgt", None),
    ("education", EDUCATION),
    ("education-num", None),
    ("marital-status", MARITAL),
    ("occupation", OCCUPATION),
    ("relationship", RELATIONSHIP),
    ("race", RACE),
    ("sex", "Female Male"),
    ("capital-gain", None),
    ("capital-loss", None),
    ("hours-per-week", None),
    ("native-country", COUNTRY),
    ("class", ">50K <=50K"),
]


def write(path, relation, header, rows, separator):
    text = [f"@relation {relation}", "", *(f"@attribute {line}" for line in header), "", "@data"]
    path.write_text("\n".join([*text, *(separator.join(row) for row in rows)]) + "\n")
    return path


def adult(path, count=200):
    header = [
        f"{name} " + ("numeric" if codes is None else "{ " + ", ".join(codes.split()) + " }")
        for name, codes in ADULT
    ]
    rows = []
    for i in range(count):
        row = []
        for name, codes in ADULT:
            known = codes.split() if codes else [str(17 + i)]
            if name == "workclass":
                known = known[:-1]  # Never-worked never goes with a known occupation
            row.append(known[i % len(known)])
        rows.append(row)
    unknown = rows[0].copy()
    unknown[1] = unknown[6] = "?"
    return write(path, "adult", header, [unknown, *rows], ", ")


def letter(path, count=260):
    names = "x-box y-box width high onpix x-bar y-bar x2bar y2bar xybar x2ybr xy2br x-ege xegvy"
    letters = [chr(65 + i) for i in range(26)]
    header = [f"'{name}' integer" for name in [*names.split(), "y-ege", "yegvx"]]
    header.append("'class' { " + ", ".join(letters) + "}")
    rng = np.random.default_rng(0)
    rows = [[*map(str, rng.integers(0, 16, 16)), letters[i % 26]] for i in range(count)]
    return write(path, "letter", header, rows, ",")


def covertype(path, count=90):
    header = [f"'Elevation{i}' numeric" for i in range(10)]
    header += [f"'Wilderness_Area{i}' {{0,1}}" for i in range(4)]
    header += [f"'Soil_Type{i}' numeric" for i in range(40)]
    header.append("'class' {1,2,3,4,5,6,7}")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        area, soil = rng.integers(4), i % 40
        flags = [str(int(j == area)) for j in range(4)] + [str(int(j == soil)) for j in range(40)]
        rows.append([*map(str, rng.integers(0, 3000, 10)), *flags, "2211765"[i % 7]])
    return write(path, "covertype", header, rows, ",")


@pytest.mark.parametrize(
    ("name", "width", "total", "share"),
    [
        ("breast_cancer", 30, 569, 212 / 569),
        ("digits_p1", 64, 1797, 174 / 1797),
        ("digits_p2", 64, 1797, 901 / 1797),
    ],
)
def test_bundled_problems(name, width, total, share):
    problem = problems.make(name, problems.bundled(problems.SOURCES[name].data), 200, 150, 0)
    parts = (problem.train, problem.validation, problem.test)
    assert [len(part.targets) for part in parts] == [200, 150, total - 350]
    for part in parts:
        assert part.attributes.shape == (len(part.targets), width)
        assert set(part.targets.tolist()) == {0, 1}
        assert part.targets.mean() == pytest.approx(share, abs=0.01)
    assert not problem.nominal.any()
    low, high = problem.train.attributes.min(axis=0), problem.train.attributes.max(axis=0)
    assert (low == 0).all()
    assert ((high == 1) | (high == 0)).all()


def test_no_example_is_in_two_parts_and_the_seed_decides():
    numbers = np.arange(60.0)
    table = problems.Table(
        numbers[:, None], np.array([problems.CONTINUOUS]), np.tile(["8", "1"], 30)
    )

    def identify(seed):
        problem = problems.make("digits_p1", table, 30, 20, seed)
        raw = [part.attributes.ravel() for part in problem[1:4]]
        # Every 8 has an even number, which the scaling cannot hide from its target.
        return [part.targets for part in problem[1:4]], np.concatenate(raw)

    targets, first = identify(0)
    assert len(np.unique(first.round(9))) == 60
    assert [len(part) for part in targets] == [30, 20, 10]
    assert (identify(0)[1] == first).all()
    assert (identify(1)[1] != first).any()


def test_scaling_uses_the_training_part_only():
    table = problems.Table(
        np.column_stack([np.r_[np.arange(40.0), 1000.0], np.full(41, 3.0)]),
        np.array([problems.CONTINUOUS, problems.CONTINUOUS]),
        np.array(["8", "1"] * 20 + ["1"]),
    )
    seen = 0
    for seed in range(8):
        problem = problems.make("digits_p1", table, 20, 10, seed)
        assert (problem.train.attributes[:, 0].min(), problem.train.attributes[:, 0].max()) == (
            0,
            1,
        )
        seen += problem.test.attributes[:, 0].max() > 1
        assert (np.concatenate([part.attributes for part in problem[1:4]])[:, 1] == 0).all()
    assert seen > 0  # the outlier, where it fell to the test part


def test_adult_drops_unknown_values_and_has_104_inputs(tmp_path):
    table = problems.read_arff(adult(tmp_path / "adult.arff"))
    assert table.attributes.shape == (200, 14)
    assert table.levels.tolist() == [0, 7, 0, 16, 0, 7, 14, 6, 5, 2, 0, 0, 0, 41]
    problem = problems.make("adult", table, 100, 50, 0)
    inputs = problems.one_hot(problem.train.attributes, problem.levels)
    assert inputs.shape == (100, 104)
    assert (inputs[:, 1:8].sum(axis=1) == 1).all()  # workclass
    assert problem.nominal.sum() == 8
    assert inputs.min() == 0
    assert inputs.max() == 1


def test_letter_problems(tmp_path):
    table = problems.read_arff(letter(tmp_path / "letter.arff"))
    one = problems.make("letter_p1", table, 130, 65, 0)
    half = problems.make("letter_p2", table, 130, 65, 0)
    assert sum(part.targets.sum() for part in one[1:4]) == 10
    assert sum(part.targets.sum() for part in half[1:4]) == 130
    assert one.train.attributes.shape == (130, 16)
    assert not one.nominal.any()


def test_covtype_has_54_inputs_and_its_largest_class_is_positive(tmp_path):
    table = problems.read_arff(covertype(tmp_path / "covertype.arff"))
    problem = problems.make("covtype", table, 40, 20, 0)
    assert problem.levels.tolist() == [0] * 10 + [1] * 44
    assert problems.one_hot(problem.test.attributes, problem.levels).shape == (30, 54)
    assert set(np.unique(problem.test.attributes[:, 10:])) <= {0.0, 1.0}
    # "2211765": two of seven for classes 2 and 1; class 2 has one more at the end.
    assert sum(part.targets.sum() for part in problem[1:4]) == (table.classes == "2").sum() == 26


def test_test_sets_are_at_most_those_of_table_1():
    sizes = {name: source.test for name, source in problems.SOURCES.items() if source.test}
    assert sizes == {"adult": 35222, "letter_p1": 14000, "letter_p2": 14000, "covtype": 25000}
    table = problems.Table(
        np.random.default_rng(0).random((20000, 1)), np.array([0]), np.tile(["O", "A"], 10000)
    )
    problem = problems.make("letter_p1", table, 4000, 1000, 0)
    assert [len(part.targets) for part in problem[1:4]] == [4000, 1000, 14000]


def test_a_numeric_class_is_read_too(tmp_path):
    path = tmp_path / "numeric.arff"
    path.write_text(
        "@relation r\n@attribute a numeric\n@attribute class numeric\n@data\n1,2\n3,?\n"
    )
    table = problems.read_arff(path)
    assert table.attributes.tolist() == [[1.0]]
    assert table.classes.tolist() == ["2.0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("", "not an ARFF file"),
        ("<html>404</html>", "not an ARFF file"),
        ("@relation r\n@attribute a numeric\n@attribute class {x,y}\n@data\n1,z\n", "not an ARFF"),
        (
            "@relation r\n@attribute a numeric\n@attribute class {x,y}\n@data\n1,x\n2\n",
            "not an ARFF",
        ),
        ("@relation r\n@attribute a numeric\n@attribute class {x,y}\n@data\n?,x\n", "no example"),
        ("@relation r\n@attribute a numeric\n@attribute class {x,y}\n@data\n", "no example"),
        ("@relation r\n@attribute class {x,y}\n@data\nx\n", "no attributes"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "bad.arff"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        problems.read_arff(path)


def test_too_few_examples_are_one_sentence():
    digits = problems.bundled("digits")
    with pytest.raises(UserError, match="1797 examples, too few"):
        problems.make("digits_p1", digits, 1500, 297, 0)
    few = problems.Table(digits.attributes[:40], digits.levels, digits.classes[:40])
    with pytest.raises(UserError, match="too few examples of one class"):
        problems.make("digits_p1", few, 20, 10, 0)
