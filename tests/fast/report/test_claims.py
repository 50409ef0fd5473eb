import json
import math
import statistics
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

import report_cases
from pr12.report import claim_forms, claims
from pr12.workflow.errors import UserError
from report_cases import CURRENT, EARLIER, OTHER, WITHDRAWN

TEXTS = {"id": "x", "says": "It is so.", "where": "Sec. 3"}
CASES = ["case", "than", "from", "to", "a", "b", "c", "d"]
ERRORS = "test/errors"


def rows_of(samples, standings=None):
    """Return rows of made-up samples: (case, metric) or case -> values."""
    metrics = {}
    for key, values in samples.items():
        case, metric = key if isinstance(key, tuple) else (key, ERRORS)
        metrics.setdefault(case, {})[metric] = values
    standings = standings or {}
    return {
        case: report_cases.row(case, ours, standings.get(case, CURRENT))
        for case, ours in metrics.items()
    }


def judge(form, samples, run="full", standings=None, **more):
    """Judge a claim on made-up samples, by how each case stands to today's code."""
    claim = TEXTS | form | more
    claims.check([claim], CASES, "paper.claims")
    return claims.judge(claim, rows_of(samples, standings), run)


PUBLISHED = {"case": "case", "metric": ERRORS, "published": 74, "tolerance": 6}
ACCURACY, HIDDEN = "test/accuracy", "test/hidden"
PRINTED_UP = PUBLISHED | {"metric": ACCURACY}
UNKNOWN = PUBLISHED | {"metric": HIDDEN}  # whose name does not say what is better
LESS = {"less": {"case": "case", "than": "than"}, "metric": ERRORS}
GAP = {"gap": {"case": "case", "from": "from", "to": "to"}, "metric": ERRORS, "at_least": 0.5}
RATIO = {"ratio": {"case": "case", "than": "than"}, "metric": ERRORS, "at_least": 1.5}
INSIDE = {"best_inside": ["a", "b", "c", "d"], "metric": ERRORS}
FALLS = {"falls": ["test/e1", "test/e2", "test/e3"], "case": "case"}
AT_MOST = {"case": "case", "metric": ERRORS, "at_most": 80}
AT_LEAST = {"case": "case", "metric": ERRORS, "at_least": 70}


def series(first, second, third):
    keys = FALLS["falls"]
    return {("case", key): v for key, v in zip(keys, (first, second, third), strict=True)}


def inside(a, b, c, d):
    return {"a": a, "b": b, "c": c, "d": d}


ALL_VERDICTS = [
    (PUBLISHED, {"case": [73, 74, 75]}, "reproduced"),
    (PUBLISHED, {"case": [90, 91, 92]}, "differs"),
    (PUBLISHED, {"case": [60, 61, 62]}, "differs, better"),  # fewer errors than printed
    (PUBLISHED, {"case": [76, 80, 84]}, "inconclusive"),
    (PRINTED_UP, {("case", ACCURACY): [90, 91, 92]}, "differs, better"),
    (PRINTED_UP, {("case", ACCURACY): [60, 61, 62]}, "differs"),
    (UNKNOWN, {("case", HIDDEN): [60, 61, 62]}, "differs"),
    (UNKNOWN | {"better": "up"}, {("case", HIDDEN): [90]}, "differs, better"),
    (PRINTED_UP | {"nominal": True}, {("case", ACCURACY): [90]}, "differs"),
    (PUBLISHED, {"case": [80]}, "reproduced"),
    (PUBLISHED, {"case": [81]}, "differs"),
    (PUBLISHED, {"than": [74]}, "not run"),
    (LESS, {"case": [70, 80, 90], "than": [75, 85, 95.5]}, "reproduced"),  # paired: 5, 5, 5.5
    (LESS, {"case": [75, 85, 95.5], "than": [70, 80, 90]}, "differs"),
    (LESS, {"case": [70, 80, 90], "than": [90, 80, 70]}, "inconclusive"),
    (LESS, {"case": [70, 71, 72], "than": [80]}, "reproduced"),  # a constant beside seeds
    (LESS, {"case": [70, 71, 72], "than": [70, 90]}, "inconclusive"),  # Welch, few degrees
    (LESS, {"case": [70, 71, 72], "than": [100, 101]}, "reproduced"),
    (LESS, {"case": [70], "than": [70]}, "differs"),
    (LESS, {"case": [70]}, "not run"),
    (LESS | {"margin": 10}, {"case": [70, 71], "than": [75, 76]}, "no difference"),
    (LESS | {"margin": 10}, {"case": [75, 76], "than": [70, 71]}, "no difference"),
    (LESS | {"margin": 10}, {"case": [90, 91], "than": [70, 71]}, "differs"),
    (LESS | {"margin": -1}, {"case": [70, 71], "than": [70, 71]}, "reproduced"),  # not worse by 1
    (RATIO, {"case": [10, 20, 30], "than": [20, 40, 61]}, "reproduced"),  # paired: 2, 2, 2.03
    (RATIO, {"case": [10, 20, 30], "than": [10, 20, 30.5]}, "differs"),
    (RATIO, {"case": [10, 20, 30], "than": [30, 20, 10]}, "inconclusive"),
    (RATIO, {"case": [2], "than": [3]}, "reproduced"),
    (RATIO, {"case": [1, 2, 3], "than": [9, 0, 9]}, "inconclusive"),  # no logarithm
    (RATIO, {"case": [1], "than": [-1]}, "inconclusive"),
    (RATIO, {"case": [1, 2]}, "not run"),
    (GAP, {"case": [72, 72.5], "from": [100, 101], "to": [60]}, "reproduced"),
    (GAP, {"case": [95, 96], "from": [100, 101], "to": [60]}, "differs"),
    (GAP, {"case": [72, 90], "from": [100, 101], "to": [60]}, "inconclusive"),
    (GAP, {"case": [72, 71], "from": [50, 70], "to": [60]}, "inconclusive"),  # which gap?
    (GAP, {"case": [20, 20], "from": [50, 51], "to": [60]}, "differs"),  # the other way
    (GAP, {"case": [72, 71], "from": [100, 101]}, "not run"),
    (INSIDE, inside([9, 9.1], [5, 5.1], [6, 6.1], [8, 8.1]), "reproduced"),
    (INSIDE, inside([1, 1.1], [5, 5.1], [6, 6.1], [8, 8.1]), "differs"),
    (INSIDE, inside([9, 9.1], [5, 5.1], [6, 6.1], [4, 8.1]), "inconclusive"),
    (INSIDE, inside([9, 9.1], [5, 5.1], [6, 6.1], [5, 5.1]), "differs"),  # a tie is not best
    # one extreme surely worse, the other not surely: the closer end of the interval decides
    (INSIDE, inside([8, 8.01, 7.99], [5, 5, 5], [90, 90, 90], [9, 1, 17]), "inconclusive"),
    # one extreme surely better, the other perhaps by far
    (INSIDE, inside([4, 4.01, 3.99], [5, 5, 5], [90, 90, 90], [0, -20, 20]), "differs"),
    (INSIDE, {"a": [9], "b": [5]}, "not run"),
    (FALLS, series([9, 10], [7, 8], [5, 6]), "reproduced"),
    (FALLS, series([5, 6], [7, 8], [9, 10]), "differs"),
    (FALLS, series([9, 10], [7, 8], [1, 15]), "inconclusive"),
    (FALLS, series([9, 10], [20, 20], [8, 9]), "reproduced"),  # the whole trend falls
    (FALLS | {"falls": ["test/e1", "test/e2", "test/e3", "test/e4"]},
     {("case", "test/e1"): [9], ("case", "test/e2"): [1], ("case", "test/e3"): [30],
      ("case", "test/e4"): [8]}, "inconclusive"),  # last < first, but ranks 3, 1, 4, 2
    (FALLS | {"margin": 5}, series([9, 10], [7, 8], [5, 6]), "no difference"),
    (FALLS | {"margin": 5}, series([5, 6], [7, 8], [19, 20]), "differs"),
    (FALLS, {("case", "test/e1"): [9]}, "not run"),
    (AT_MOST, {"case": [70, 71]}, "reproduced"),
    (AT_MOST, {"case": [80]}, "reproduced"),
    (AT_MOST, {"case": [99, 100]}, "differs"),
    (AT_MOST, {"case": [70, 90]}, "inconclusive"),
    (AT_MOST, {}, "not run"),
    (AT_LEAST, {"case": [99, 100]}, "reproduced"),
    (AT_LEAST, {"case": [70]}, "reproduced"),
    (AT_LEAST, {"case": [50, 51]}, "differs"),
    (AT_LEAST, {"case": [60, 90]}, "inconclusive"),
    (AT_LEAST, {}, "not run"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "samples", "verdict"), ALL_VERDICTS)
def test_verdicts_of_every_form(form, samples, verdict):
    record = judge(form, samples)
    assert record["verdict"] == verdict
    if verdict == "not run":
        assert record["measured"] is None
        assert record["note"]


def test_the_n_that_would_decide_is_enough_and_one_less_is_not():
    samples = [76.0, 80.0, 84.0, 78.0]
    for claim in (PUBLISHED, AT_MOST, {**AT_MOST, "at_most": 78}):
        record = judge(claim, {"case": samples})
        assert record["verdict"] == "inconclusive"
        n, centre = record["n_to_decide"], statistics.mean(samples)
        ends = [end for end in (record["bound"]["low"], record["bound"]["high"]) if end is not None]

        def holds_an_end(n, centre=centre, ends=ends):
            half = scipy_stats.t.ppf(0.975, n - 1) * statistics.stdev(samples) / math.sqrt(n)
            return any(centre - half <= end <= centre + half for end in ends)

        assert holds_an_end(n - 1)
        assert not holds_an_end(n)


def test_no_n_is_named_where_more_values_decide_nothing():
    assert judge(PUBLISHED, {"case": [73, 74, 75]})["n_to_decide"] is None  # decided
    assert judge(AT_MOST, {"case": [70, 90]})["n_to_decide"] is None  # the mean is the bound
    rounded = {"case": [70, 90 + 1e-12]}  # but for its last digits
    assert judge(AT_MOST, rounded)["n_to_decide"] is None
    assert judge(PUBLISHED, {"case": [76, 80, 84]}, from_memory=True)["n_to_decide"] is None
    extreme = judge(INSIDE, inside([9, 9.1], [5, 5.1], [6, 6.1], [4, 4.1]))
    assert extreme["n_to_decide"] is None


def test_the_n_that_would_decide_a_ratio_is_that_of_its_logarithm():
    case, than = [10.0, 20.0, 30.0], [30.0, 24.0, 42.0]
    logs = [math.log(b / a) for a, b in zip(case, than, strict=True)]
    as_difference = judge(LESS | {"margin": math.log(1.5)}, {"case": [0.0] * 3, "than": logs})
    record = judge(RATIO, {"case": case, "than": than})
    assert record["n_to_decide"] == as_difference["n_to_decide"] > 3


def test_a_run_that_a_claim_does_not_name_is_not_run():
    samples = {"case": [74, 74]}
    assert judge(PUBLISHED, samples, run="full", runs=["full"])["verdict"] == "reproduced"
    record = judge(PUBLISHED, samples, run="embedded", runs=["full"])
    assert record["verdict"] == "not run"
    assert record["measured"] is None
    assert "full" in record["note"]


def test_a_number_from_memory_decides_nothing():
    record = judge(PUBLISHED, {"case": [74, 74]}, from_memory=True)
    assert record["verdict"] == "inconclusive"
    assert "memory" in record["note"]
    assert record["measured"]["mean"] == 74


def test_a_reason_is_kept_only_where_one_is_needed():
    assert judge(AT_MOST, {"case": [99]}, reason="why")["reason"] == "why"
    assert judge(AT_MOST, {"case": [70]}, reason="why")["reason"] is None


TIME = TEXTS | {"case": "case", "metric": "test/ratio", "at_least": 5, "timing": True}


def timed(run, metric, ratio, standing=CURRENT, **more):
    ratios = {} if ratio is None else {"test/ratio": [ratio] * 3}
    row = report_cases.row("case", {"test/ratio": [metric]}, standing, ratios)
    return claims.judge(TIME | more, {"case": row}, run)


def test_a_time_is_judged_on_the_ratios_alone_in_the_full_run():
    assert timed("full", metric=1, ratio=9)["verdict"] == "reproduced"
    assert timed("full", metric=9, ratio=1)["verdict"] == "differs"
    row = report_cases.row("case", {}, ratios={"test/ratio": [9.0, 9.0]})
    record = claims.judge(TIME, {"case": row}, "full")
    assert record["verdict"] == "inconclusive"
    assert record["note"] == "one measurement of time or two decide nothing"
    record = timed("full", metric=9, ratio=None)
    assert (record["verdict"], record["note"]) == ("not run", "the case case has no test/ratio")


@pytest.mark.parametrize("run", ["embedded", "smoke"])
def test_a_time_of_another_run_is_not_run_but_on_the_page_that_is_not_committed(run):
    record = timed(run, metric=9, ratio=9)
    assert (record["verdict"], record["measured"]) == ("not run", None)
    assert record["note"] == "a time: its verdict is in index.html"
    elsewhere = timed(run, metric=9, ratio=9, runs=["full"])
    assert elsewhere["note"] == "judged in the run full only"


def test_a_time_of_a_withdrawn_case_is_not_promised_on_any_page():
    record = timed("embedded", metric=9, ratio=9, standing=WITHDRAWN)
    assert record["verdict"] == "not run"
    assert "index.html" not in record["note"]


def test_command_and_sources_are_those_of_the_cases():
    rows = {
        name: report_cases.row(
            name,
            {},
            command=f"python -m {name}",
            inputs={"m": {"path": name, "sha256": name * 2}},
        )
        for name in ("case", "than", "to")
    }
    record = claims.judge(TEXTS | LESS, rows, "full")
    assert record["command"] == "PYTHONPATH=src python -m case\nPYTHONPATH=src python -m than"
    assert record["sources"] == [
        {"case": "case", "name": "m", "path": "case", "sha256": "casecase"},
        {"case": "than", "name": "m", "path": "than", "sha256": "thanthan"},
    ]


def test_an_earlier_source_keeps_number_and_verdict_and_is_marked():
    samples = {"case": [73, 74, 75]}
    record = judge(PUBLISHED, samples, standings={"case": EARLIER})
    current = judge(PUBLISHED, samples)
    mark = {"case": "case", "state": "earlier source", "note": EARLIER.note}
    assert current["standing"] == []
    assert record == current | {"standing": [mark]}
    assert record["verdict"] == "reproduced"


@pytest.mark.parametrize("standing", [OTHER, WITHDRAWN])
def test_what_counts_no_more_is_not_run_with_its_reason_and_the_earlier_number(standing):
    record = judge(PUBLISHED, {"case": [73, 74, 75]}, standings={"case": standing}, reason="why")
    assert (record["verdict"], record["measured"], record["reason"]) == ("not run", None, None)
    assert record["note"] == (
        f"no result that counts today (case: {standing.note}); it was 74.0 [71.5, 76.5]"
    )
    assert record["standing"][0]["state"] == standing.state
    assert record["command"]


def test_one_case_that_counts_no_more_is_enough():
    samples = {"case": [70, 71, 72], "than": [80]}
    record = judge(LESS, samples, standings={"than": OTHER, "case": EARLIER})
    assert record["verdict"] == "not run"
    assert record["note"].startswith(f"no result that counts today (than: {OTHER.note}); it was 9")
    both = judge(LESS, samples, standings={"than": OTHER, "case": WITHDRAWN})
    assert f"(case: {WITHDRAWN.note}; than: {OTHER.note})" in both["note"]


def test_what_counts_no_more_and_never_had_the_number_says_no_number():
    record = judge(PUBLISHED, {("case", "test/other"): [1]}, standings={"case": OTHER})
    assert record["note"] == f"no result that counts today (case: {OTHER.note})"


def test_a_run_that_a_claim_does_not_name_is_said_before_what_counts_no_more():
    record = judge(PUBLISHED, {"case": [74]}, "smoke", {"case": OTHER}, runs=["full"])
    assert record["note"] == "judged in the run full only"


def test_the_interval_of_a_ratio_is_that_of_its_logarithm():
    case, than = np.array([1.0, 2.0, 4.0]), np.array([100.0, 20.0, 1000.0])
    record = judge(RATIO, {"case": list(case), "than": list(than)})
    logs = np.log(than) - np.log(case)
    half = scipy_stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    measured = record["measured"]
    assert measured["mean"] == pytest.approx(math.exp(logs.mean()))
    assert measured["low"] == pytest.approx(math.exp(logs.mean() - half))
    assert measured["high"] == pytest.approx(math.exp(logs.mean() + half))
    assert measured["low"] > 0
    assert record["quantity"] == "test/errors of than / test/errors of case"


POSITIVE = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=2, max_size=5)


@settings(deadline=None)  # a busy machine is no mistake
@given(POSITIVE, st.integers(1, 1000))
def test_a_ratio_the_other_way_round_is_the_inverse_and_no_unit_matters(pairs, unit):
    case, than = (list(values) for values in zip(*pairs, strict=True))
    one = judge(RATIO, {"case": case, "than": than})["measured"]
    other = judge(RATIO, {"case": than, "than": case})["measured"]
    assert one["mean"] * other["mean"] == pytest.approx(1)
    assert one["low"] * other["high"] == pytest.approx(1)
    scaled = judge(RATIO, {"case": [unit * v for v in case], "than": [unit * v for v in than]})
    assert scaled["measured"]["mean"] == pytest.approx(one["mean"])
    assert scaled["measured"]["high"] == pytest.approx(one["high"])


def test_a_ratio_of_two_metrics_of_one_case_can_be_a_time():
    ratio = {"ratio": {"case": "case", "than": "case"}, "metric": "a/milliseconds"}
    claim = TEXTS | ratio | {"than_metric": "b/milliseconds", "at_least": 2, "timing": True}
    claims.check([claim], CASES, "paper.claims")
    ratios = {"a/milliseconds": [1.0] * 3, "b/milliseconds": [3.0] * 3}
    record = claims.judge(claim, {"case": report_cases.row("case", {}, ratios=ratios)}, "full")
    assert record["verdict"] == "reproduced"
    assert record["measured"]["mean"] == pytest.approx(3)


def test_other_metric_keys_at_the_other_end():
    record = judge(
        LESS | {"than_metric": "test/nll"}, {"case": [1, 2], ("than", "test/nll"): [5, 6]}
    )
    assert record["measured"]["mean"] == 4
    gap = GAP | {"from_metric": "test/errors_hard", "to_metric": "test/errors_ensemble"}
    samples = {"case": [6], ("from", "test/errors_hard"): [10], ("to", "test/errors_ensemble"): [2]}
    assert judge(gap, samples)["measured"]["mean"] == pytest.approx(0.5)


def test_a_gap_in_accuracy_runs_upwards():
    gap = GAP | {"metric": "test/frame_accuracy", "at_least": 0.8}
    values = {"from": [58.9], "to": [61.1], "case": [60.8]}  # Hinton et al. 2015, Table 1
    record = judge(gap, {(case, "test/frame_accuracy"): v for case, v in values.items()})
    assert record["measured"]["mean"] == pytest.approx(1.9 / 2.2)
    assert record["verdict"] == "reproduced"


def test_the_best_is_chosen_on_the_metric_named_by_choose():
    samples = inside([9, 9.1], [5, 5.1], [6, 6.1], [8, 8.1])
    form = INSIDE | {"choose": "validation/errors"}
    choice = dict(zip("abcd", ([9], [7], [5], [8]), strict=True))
    chosen = {(case, "validation/errors"): v for case, v in choice.items()}
    record = judge(form, samples | chosen)
    assert record["note"].endswith("is c")
    assert record["measured"]["mean"] == pytest.approx(2.0)  # d - c; b would give 3
    extreme = chosen | {("a", "validation/errors"): [1]}
    assert judge(form, samples | extreme)["verdict"] == "inconclusive"


def test_the_best_accuracy_is_the_highest():
    form = INSIDE | {"metric": "test/accuracy"}
    samples = {(case, "test/accuracy"): [v] for case, v in zip("abcd", (1, 9, 3, 2), strict=True)}
    record = judge(form, samples)
    assert (record["verdict"], record["measured"]["mean"]) == ("reproduced", 7.0)


def test_the_bound_of_a_tolerance_forgives_the_last_digit():
    form = {"case": "case", "metric": ERRORS, "published": 0.7, "tolerance": 0.1}
    assert 0.7 + 0.1 < 0.8  # in floating point
    assert judge(form, {"case": [0.8]})["verdict"] == "reproduced"


SEEDS = st.lists(st.integers(0, 100), min_size=2, max_size=5)
TWO = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=2, max_size=5)


@settings(deadline=None)
@given(TWO)
def test_less_is_antisymmetric(pairs):
    case, than = (list(values) for values in zip(*pairs, strict=True))
    one = judge(LESS, {"case": case, "than": than})
    other = judge(LESS, {"case": than, "than": case})
    assert one["measured"]["mean"] == -other["measured"]["mean"]
    assume(one["measured"]["high"] != 0 and one["measured"]["low"] != 0)  # a tie differs twice
    mirrored = {"reproduced": "differs", "differs": "reproduced", "inconclusive": "inconclusive"}
    assert other["verdict"] == mirrored[one["verdict"]]


@settings(deadline=None)
@given(SEEDS)
def test_a_shift_far_away_flips_every_verdict(values):
    far = [value + 1e6 for value in values]
    near = [0.0] * len(values)
    assert judge(AT_MOST, {"case": far})["verdict"] == "differs"
    assert judge(AT_LEAST, {"case": far})["verdict"] == "reproduced"
    assert judge(AT_LEAST, {"case": [v - 1e6 for v in values]})["verdict"] == "differs"
    assert judge(PUBLISHED, {"case": far})["verdict"] == "differs"
    assert judge(LESS, {"case": far, "than": values})["verdict"] == "differs"
    assert judge(LESS, {"case": values, "than": far})["verdict"] == "reproduced"
    ends = {"from": [v + 1e3 for v in near], "to": near}
    assert judge(GAP, {"case": far} | ends)["verdict"] == "differs"
    assert judge(GAP, {"case": [v - 1e6 for v in values]} | ends)["verdict"] == "reproduced"
    assert judge(INSIDE, inside(far, values, far, far))["verdict"] == "reproduced"
    assert judge(INSIDE, inside(values, far, far, far))["verdict"] == "differs"
    middle = [v + 5e5 for v in values]
    assert judge(FALLS, series(far, middle, values))["verdict"] == "reproduced"
    assert judge(FALLS, series(values, middle, far))["verdict"] == "differs"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(120, 180), st.integers(0, 60)),
        min_size=3,
        max_size=6,
    ),
    st.sampled_from([0.25, 0.5, 0.9]),
)
def test_a_share_of_a_gap_is_judged_as_by_fiellers_interval(rows, share):
    case, start, end = (np.array(values, dtype=float) for values in zip(*rows, strict=True))
    closed, gap, n = start - case, start - end, len(rows)
    t = scipy_stats.t.ppf(0.975, n - 1)
    spread = np.cov(closed, gap, ddof=1) / n
    assume(gap.mean() - t * math.sqrt(spread[1, 1]) > 1e-6)
    # Fieller (1954): all s with (closed - s gap)^2 <= t^2 var(closed - s gap)
    roots = np.roots(
        [
            gap.mean() ** 2 - t**2 * spread[1, 1],
            -2 * (closed.mean() * gap.mean() - t**2 * spread[0, 1]),
            closed.mean() ** 2 - t**2 * spread[0, 0],
        ]
    ).real
    low, high = min(roots), max(roots)
    assume(min(abs(low - share), abs(high - share)) > 1e-6)
    record = judge(
        GAP | {"at_least": share}, {"case": list(case), "from": list(start), "to": list(end)}
    )
    expected = "reproduced" if low > share else "differs" if high < share else "inconclusive"
    assert record["verdict"] == expected
    assert record["measured"]["mean"] == pytest.approx(closed.mean() / gap.mean())


def without(form, key):
    return {k: v for k, v in (TEXTS | form).items() if k != key}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("text", r"paper.claims\[0\] is 'text'; it must be a mapping"),
        (TEXTS, r"paper.claims\[0\] \(claim x\) has no form; .* published, less, ratio, gap"),
        (TEXTS | LESS | AT_MOST, r"the forms less and at_most; it must have exactly one"),
        (TEXTS | LESS | {"tolerance": 1}, r"the forms less and published"),
        (TEXTS | LESS | {"margn": 1}, r"paper.claims\[0\].margn \(claim x\) is unknown; .*margin"),
        (without(PUBLISHED, "tolerance"), r"paper.claims\[0\].tolerance \(claim x\) is missing"),
        (without(AT_MOST, "id"), r"paper.claims\[0\].id is missing"),
        (without(GAP, "at_least"), r"at_least \(claim x\) is missing"),
        (TEXTS | LESS | {"less": {"case": "a"}}, r"less \(claim x\) is .* a mapping of case, than"),
        (TEXTS | LESS | {"less": ["a", "b"]}, r"a mapping of case, than to names of cases"),
        (without(RATIO, "at_least"), r"at_least \(claim x\) is missing; .* form ratio needs it"),
        (TEXTS | RATIO | {"margin": 1}, r"margin \(claim x\) is unknown; .* form ratio: at_least"),
        (TEXTS | RATIO | {"ratio": {"case": "a"}}, r"ratio \(claim x\) is .* of case, than"),
        (TEXTS | RATIO | LESS, r"the forms less and ratio; it must have exactly one"),
        (TEXTS | INSIDE | {"best_inside": ["a", "b"]}, r"a list of at least 3 names"),
        (TEXTS | FALLS | {"falls": "test/e1"}, r"a list of at least 2 names"),
        (
            TEXTS | AT_MOST | {"at_most": "80"},
            r"at_most \(claim x\) is '80'; it must be a finite number",
        ),
        (TEXTS | AT_MOST | {"at_most": True}, r"it must be a finite number"),
        (TEXTS | AT_MOST | {"at_most": math.inf}, r"it must be a finite number"),
        (TEXTS | PUBLISHED | {"tolerance": -1}, r"a finite number of at least 0"),
        (TEXTS | AT_MOST | {"runs": ["ful"]}, r"a list out of embedded, full, smoke"),
        (TEXTS | AT_MOST | {"headline": 1}, r"true or false"),
        (TEXTS | AT_MOST | {"says": " "}, r"it must be a text"),
        (TEXTS | AT_MOST | {"case": "none"}, r"unknown case 'none'; known: case, than"),
        (TEXTS | GAP | {"metric": "test/thing"}, r"test/thing.* one of these words.*accuracy"),
    ],
)
def test_mistakes_are_named_with_path_and_what_is_allowed(claim, message):
    with pytest.raises(UserError, match=message):
        claims.check([claim], CASES, "paper.claims")


def test_an_id_is_used_once():
    with pytest.raises(UserError, match=r"claims\[1\].id is 'x', as in paper.claims\[0\]"):
        claims.check([TEXTS | AT_MOST, TEXTS | LESS], CASES, "paper.claims")


RANKED = {
    "id": "order",
    "says": "The order holds",
    "where": "Table 1",
    "ranked": {"a": {"test/error": 1.0, "test/other": 2.0}, "b": {"test/error": 3.0}},
    "at_least": 0.9,
}


def ranked_verdict(a, other, b):
    samples = {("a", "test/error"): a, ("a", "test/other"): other, ("b", "test/error"): b}
    return claims.judge(RANKED, rows_of(samples), "full")


def test_ranked_cells_in_the_published_order_are_reproduced_whatever_their_values():
    record = ranked_verdict([10, 20], [11, 30], [99, 31])
    assert record["verdict"] == "reproduced"
    assert record["measured"]["mean"] == pytest.approx(1.0)
    assert record["quantity"].endswith("of 3 cells")


def test_ranked_cells_in_another_order_differ_and_mixed_seeds_are_inconclusive():
    assert ranked_verdict([3, 3], [2, 2], [1, 1])["verdict"] == "differs"
    assert ranked_verdict([1, 1], [2, 3], [3, 2])["verdict"] == "inconclusive"


def test_ranked_cells_that_are_all_equal_have_no_order():
    record = ranked_verdict([1], [1], [1])
    assert (record["verdict"], record["measured"]) == ("inconclusive", None)


def test_ranked_without_a_cell_that_it_names_is_not_run():
    rows = {case: report_cases.row(case, {}) for case in "ab"}
    assert claims.judge(RANKED, rows, "full")["verdict"] == "not run"


@pytest.mark.parametrize(
    "cells",
    [
        {"a": 1.0},
        {"a": {"k": 1.0}},
        {"a": {"k": "x", "l": 1, "m": 2}},
        {"a": {"k": math.nan, "l": 1, "m": 2}},
    ],
)
def test_ranked_cells_of_another_kind_are_refused(cells):
    with pytest.raises(UserError, match="three numbers or more"):
        claims.check([RANKED | {"ranked": cells}], ["a", "b"], "stn.claims")


@pytest.mark.parametrize(
    ("published", "tolerance", "low", "high"),
    [
        (74, 1e308, -1e308, 1e308),
        (1e308, 1e308, 0.0, sys.float_info.max),
        (10**308, 10**308, 0.0, sys.float_info.max),
        (-1.7e308, 1e308, -sys.float_info.max, -7e307),
    ],
)
def test_a_bound_is_a_finite_number(published, tolerance, low, high):
    claim = {"case": "soft", "metric": "test/errors", "published": published}
    ends = claim_forms.bound(claim | {"tolerance": tolerance})
    assert ends == {"low": pytest.approx(low), "high": pytest.approx(high), "strict": False}
    json.dumps(ends, allow_nan=False)


def test_a_ratio_beyond_all_floats_is_the_largest():
    claim = {"ratio": {"case": "a", "than": "b"}, "metric": "test/errors", "at_least": 2}
    measured, verdict, _ = claim_forms.judged(claim, [[1e-300] * 3, [1e300] * 3])
    assert measured.high == pytest.approx(sys.float_info.max)
    assert verdict == "reproduced"
