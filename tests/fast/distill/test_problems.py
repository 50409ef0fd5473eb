import gzip

import numpy as np
import pytest

from pr12.data import fetch
from pr12.distill.data import problems
from pr12.workflow import address
from pr12.workflow.errors import UserError

# Files in UCI's formats, with fewer rows. Names as in adult.names.
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
    ("target", ">50K <=50K"),
]


def adult(folder, count=200):
    """Write adult.data and adult.test, half of the rows each, and one more with unknown values."""
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
    data, test = [unknown, *rows[::2]], [*rows[1::2], unknown]
    write(folder / "adult.data", [", ".join(row) for row in data], "\n\n")
    lines = ["|1x3 Cross validator", *(", ".join(row) + "." for row in test)]
    write(folder / "adult.test", lines, "\n\n")
    return folder


def letter(folder, count=260):
    rng = np.random.default_rng(0)
    rows = [[chr(65 + i % 26), *map(str, rng.integers(0, 16, 16))] for i in range(count)]
    return write(folder / "letter-recognition.data", [",".join(row) for row in rows]).parent


def covtype(folder, count=90):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        area, soil = rng.integers(4), i % 40
        flags = [str(int(j == area)) for j in range(4)] + [str(int(j == soil)) for j in range(40)]
        rows.append([*map(str, rng.integers(-170, 7000, 10)), *flags, "2211765"[i % 7]])
    return write(folder / "covtype.data.gz", [",".join(row) for row in rows]).parent


def write(path, lines, end="\n"):
    content = ("\n".join(lines) + end).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


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
    table = problems.fetched("adult", adult(tmp_path))
    assert table.attributes.shape == (200, 14)
    assert table.levels.tolist() == [0, 7, 0, 16, 0, 7, 14, 6, 5, 2, 0, 0, 0, 41]
    # Row 0 is adult.data's first known one, row 1 its second, the rows' number 2; then adult.test.
    assert table.attributes[[0, 1, 100], 0].tolist() == [17, 19, 18]
    assert table.classes[[0, 1, 100]].tolist() == [">50K", ">50K", "<=50K"]
    sexes = table.attributes[:, 9]  # codes in alphabetical order: Female 0, Male 1
    assert sexes.tolist() == [0] * 100 + [1] * 100
    problem = problems.make("adult", table, 100, 50, 0)
    inputs = problems.one_hot(problem.train.attributes, problem.levels)
    assert inputs.shape == (100, 104)
    assert (inputs[:, 1:8].sum(axis=1) == 1).all()  # workclass
    assert problem.nominal.sum() == 8
    assert inputs.min() == 0
    assert inputs.max() == 1


def test_adult_codes_are_of_both_files_together(tmp_path):
    row = "39, {}, 77516, Bachelors, 13, Divorced, Sales, Wife, {}, Male, 2174, 0, 40, Cuba, {}"
    write(tmp_path / "adult.data", [row.format("State-gov", "Black", "<=50K")])
    lines = ["|1x3 Cross validator", row.format("Private", "White", ">50K.")]
    write(tmp_path / "adult.test", lines)
    table = problems.fetched("adult", tmp_path)
    assert table.attributes.tolist() == [
        [39, 1, 77516, 0, 13, 0, 0, 0, 0, 0, 2174, 0, 40, 0],
        [39, 0, 77516, 0, 13, 0, 0, 0, 1, 0, 2174, 0, 40, 0],
    ]
    assert table.levels.tolist() == [0, 2, 0, 1, 0, 1, 1, 1, 2, 1, 0, 0, 0, 1]
    assert table.classes.tolist() == ["<=50K", ">50K"]


def test_letter_problems(tmp_path):
    table = problems.fetched("letter", letter(tmp_path))
    one = problems.make("letter_p1", table, 130, 65, 0)
    half = problems.make("letter_p2", table, 130, 65, 0)
    assert sum(part.targets.sum() for part in one[1:4]) == 10
    assert sum(part.targets.sum() for part in half[1:4]) == 130
    assert one.train.attributes.shape == (130, 16)
    assert not one.nominal.any()
    first = (tmp_path / "letter-recognition.data").read_text().splitlines()[0].split(",")
    assert table.attributes[0].tolist() == [float(cell) for cell in first[1:]]
    assert table.classes[:3].tolist() == ["A", "B", "C"]


def test_covtype_has_54_inputs_and_its_largest_class_is_positive(tmp_path):
    table = problems.fetched("covtype", covtype(tmp_path))
    problem = problems.make("covtype", table, 40, 20, 0)
    assert problem.levels.tolist() == [0] * 10 + [1] * 44
    assert problem.nominal.tolist() == [False] * 10 + [True] * 44
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


def test_files_are_those_that_are_fetched():
    listed = fetch.read_sources((address.SRC.parent / "data" / "sources.csv").read_text())
    for data, files in problems.FILES.items():
        assert tuple(row.file for row in listed if row.name == data) == files


WRITERS = {"adult": adult, "letter": letter, "covtype": covtype}


def change(old, new, count=1):
    return lambda text: text.replace(old, new, count)


@pytest.mark.parametrize(
    ("data", "file", "damage", "message"),
    [
        ("letter", 0, None, "cannot read .*letter-recognition.data: No such file"),
        ("adult", 1, None, "cannot read .*adult.test: No such file"),
        ("letter", 0, lambda text: "", r"letter.* is not UCI's file, .* \(here none\)"),
        ("letter", 0, lambda text: "<html>404</html>", r"17 columns \(here 1\)"),
        ("letter", 0, lambda text: "<html>\n<a>1,2</a>\n", "columns changed from 1 to 2"),
        ("letter", 0, lambda text: text[:-9], "columns changed from 17 to "),
        ("letter", 0, lambda text: "A" + text[1:].replace(",", ",x", 1), "where this has text"),
        ("letter", 0, lambda text: "1" + text[1:], "that begin with A to Z"),
        ("letter", 0, change("B", "\u0411"), "ascii"),
        ("adult", 0, change("19, ", "19x, "), "numbers where this has text"),
        ("adult", 0, change("19, ", "Private, "), "numbers where this has text"),
        ("adult", 0, change("19, ", "inf, "), "of finite numbers"),
        ("adult", 0, change(">50K", "rich", 9), "last column is <=50K or >50K"),
        ("adult", 1, change(">50K.", ">50K, x", 999), "columns changed"),
        ("adult", 1, change("|1x3", "1x3"), "columns changed from 1 to 15"),
        ("covtype", 0, lambda text: text.replace(",0,", ",0.5,", 1), "columns 11 to 54 are 0 or 1"),
        ("covtype", 0, lambda text: text[: text.index("\n") - 1] + "8\n", "last column is 1 to 7"),
        ("covtype", 0, lambda text: "nan" + text[text.index(",") :], "rows of numbers"),
        ("covtype", 0, lambda text: "x" + text, "could not convert"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, data, file, damage, message):
    path = WRITERS[data](tmp_path) / problems.FILES[data][file]
    if damage is None:
        path.unlink()
    else:
        packed = path.suffix == ".gz"
        text = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode()
        path.write_bytes(gzip.compress(damage(text).encode()) if packed else damage(text).encode())
    with pytest.raises(UserError, match=message) as caught:
        problems.fetched(data, tmp_path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; fetch it again")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda packed: packed[: len(packed) // 2], "is not UCI's file .Compressed file ended"),
        (lambda packed: packed[:40] + b"????" + packed[44:], "covtype.data.gz"),
        (gzip.decompress, "cannot read .*covtype.data.gz: Not a gzipped file"),
        (lambda packed: b"", "here none"),
    ],
    ids=["truncated", "corrupt", "unpacked", "empty"],
)
def test_a_bad_packed_file_is_one_sentence(tmp_path, damage, message):
    path = covtype(tmp_path) / "covtype.data.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        problems.fetched("covtype", tmp_path)


def test_too_few_examples_are_one_sentence():
    digits = problems.bundled("digits")
    with pytest.raises(UserError, match="1797 examples, too few"):
        problems.make("digits_p1", digits, 1500, 297, 0)
    few = problems.Table(digits.attributes[:40], digits.levels, digits.classes[:40])
    with pytest.raises(UserError, match="too few examples of one class"):
        problems.make("digits_p1", few, 20, 10, 0)
