"""Whose cases calibrate, and what of them must be scored, for `pr12.rca.predict`."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pr12.rca.predict.cases import Case
from pr12.rca.predict.models import Past
from pr12.rca.predict.scores import Scored
from pr12.rca.predict.settings import Settings
from pr12.workflow.errors import UserError

TABLE = "patients.csv"  # in the folder of calibration cases


def patients(names: Sequence[str], pattern: str | None, table: Path | None) -> list[str]:
    """Return the patient of each case: cases of one patient are not independent.

    Parameters
    ----------
    names : sequence of str
        Of the cases.
    pattern : str or None
        A regular expression that finds the patient in a name; its first group, if it has one.
    table : Path or None
        CSV with columns ``case`` and ``patient``; the pattern goes before.

    Raises
    ------
    UserError
        If the pattern is none, or a case has no patient.

    Examples
    --------
    >>> patients(["p01_left", "p01_right"], "^p[0-9]+", None), patients(["a", "b"], None, None)
    (['p01', 'p01'], ['a', 'b'])
    """
    if pattern is not None:
        try:
            matches = [re.search(pattern, name) for name in names]
        except re.error as error:
            raise UserError(
                f"patients={pattern} is no regular expression ({error}); give one such as ^p[0-9]+"
            ) from None
        patient_of = [match and match[1 if match.re.groups else 0] for match in matches]
        for name, patient in zip(names, patient_of, strict=True):
            if not patient:
                raise UserError(
                    f"patients={pattern} finds no patient in the name {name}; give an expression "
                    "that finds one in every name, such as ^p[0-9]+"
                )
        return patient_of
    if table is None or not table.is_file():
        return list(names)
    known = _table(table)
    for name in names:
        if name not in known:
            raise UserError(
                f"{table} has no line for the case {name}; add one, with the name without ending"
            )
    return [known[name] for name in names]


def _table(path: Path) -> dict[str, str]:
    """Return the patient of each case in a table."""
    known: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.DictReader(stream))
        for line in lines:
            case, patient = ((line[key] or "").strip() for key in ("case", "patient"))
            if not patient:
                raise UserError(f"{path} has no patient for the case {case}; fill it in")
            if known.setdefault(case, patient) != patient:
                raise UserError(f"{path} has two patients for the case {case}; leave one")
    except (KeyError, UnicodeError, csv.Error):
        raise UserError(
            f"{path} is no table with the columns case and patient, parted by commas; write it so"
        ) from None
    return known


def check(settings: Settings, paths: Mapping[str, Path]) -> None:
    """Refuse to look for patients where no calibration cases are given.

    Parameters
    ----------
    settings : Settings
        The command's.
    paths : mapping of str to Path
        The command's.

    Raises
    ------
    UserError
        If so.
    """
    if settings.patients is not None and "calibration" not in paths:
        raise UserError("patients are those of calibration=DIR, which is not given; leave it out")


def past(
    cases: Mapping[str, Sequence[Case]],
    structures: Sequence[int],
    settings: Settings,
    paths: Mapping[str, Path],
) -> Past:
    """Say what calibrates, and leave out what scores it.

    Parameters
    ----------
    cases : mapping of str to sequence of Case
        Calibration cases, or references, whose labels will be damaged.
    structures : sequence of int
        S numbers.
    settings : Settings
        The command's.
    paths : mapping of str to Path
        ``calibration``, if it is there.
    """
    source = "calibration" if "calibration" in cases else "reference"
    names = [case.name for case in cases[source]]
    folder = paths.get("calibration")
    of = patients(names, settings.patients, folder and folder / TABLE) if folder else names
    return Past(source, len(names), tuple(structures), (), of)


def wanted(past: Past, cases: Mapping[str, Sequence[Case]], least: int) -> dict[str, list[Case]]:
    """Return what must be scored to calibrate: nothing if there are too few patients.

    Parameters
    ----------
    past : Past
        Without scores.
    cases : mapping of str to sequence of Case
        Of each folder.
    least : int
        Patients that are needed.
    """
    return {past.source: list(cases[past.source]) if len({*past.patients}) >= least else []}


def with_scores(past: Past, scored: Mapping[str, Sequence[Scored]]) -> Past:
    """Return what calibrates with its scores.

    Parameters
    ----------
    past : Past
        Without them.
    scored : mapping
        By kind.
    """
    ours = scored[past.source]
    return past._replace(scored=ours, patients=past.patients if ours else [])
