"""Sheets of photographs: inversions, textures, styles and pairs."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pr12.photostyle.figures.sheets import (
    NETS,
    Cell,
    Pictures,
    alt,
    layers,
    named,
    numbered,
    pixels,
    sheet,
)
from pr12.report.plots import Plot

FIRST = "Pictures are of the first seed."
TEXTURES = ("brick", "grass", "gravel")
PAIRS = {  # sheet -> case -> what it is
    "pairs": {
        "china_rocket": "temple, in the style of a rocket's launch",
        "rocket_china": "rocket's launch, in the style of the temple",
        "flower_retina": "flower, in the style of a retina",
    },
    "pairs_of_authors": {f"pair{n}": f"the authors' pair {n}" for n in (3, 14, 15, 16)},
}
METHODS = {
    "histogram": "histogram matched",
    "histogram_by_class": "matched by class",
    "neural": "neural style",
    "first": "first stage",
    "lambda10000": "photo style",
    "smoothed": "... then smoothed",
    "published": "published",
}
SETTING = re.compile(r"content(\d+)_layers(\d+)_ratio([0-9.e+-]+)_(noise|content)")


class Setting(NamedTuple):
    """A setting of a neural style, as its label names it."""

    content: int  # number of the content layer
    layers: int  # how many style layers count
    ratio: float
    start: str


def setting(label: str) -> Setting | None:
    """Read the label of a neural style.

    Examples
    --------
    >>> setting("content1_layers5_ratio0.1_noise")
    Setting(content=1, layers=5, ratio=0.1, start='noise')
    >>> setting("content") is None
    True
    """
    match = SETTING.fullmatch(label)
    if not match:
        return None
    return Setting(int(match[1]), int(match[2]), float(match[3]), match[4])


def photostyle_lambda(name: str) -> float | None:
    """Read the lambda of a result's name.

    Examples
    --------
    >>> photostyle_lambda("lambda1e+06"), photostyle_lambda("first") is None
    (1000000.0, True)
    """
    match = re.fullmatch(r"lambda([0-9.]+(?:e[+-]?[0-9]+)?)", name)
    return float(match[1]) if match else None


def inversions(pictures: Pictures, net: str) -> Plot | None:
    """Draw photographs and what the features of each layer still hold of them.

    Parameters
    ----------
    pictures : mapping
        ``<case>_picture`` -> name -> pixels.
    net : str
        Of `NETS`.
    """
    file = f"{net}inversion_picture"
    if file not in pictures:
        return None
    names = [name.removesuffix("/photograph") for name in pictures[file]]
    names = sorted(n for n, k in zip(names, pictures[file], strict=True) if n != k)
    rows = []
    for name in names:
        cells = [Cell("photograph", pixels(pictures, file, f"{name}/photograph"))]
        for depth, key in numbered(pictures[file], f"{re.escape(name)}/depth").items():
            cells.append(Cell(f"from layer {depth}", pixels(pictures, file, key)))
        rows.append((name, cells))
    if not rows:
        return None
    deepest = max(len(cells) - 1 for _, cells in rows)
    return Plot(
        named("inversion", net),
        f"Photographs from the features of one layer{NETS[net]}",
        f"Each image starts from noise and is moved until its features at one layer are those of "
        f"the photograph (Mahendran & Vedaldi 2015). Layers are counted from the input, 1 to "
        f"{deepest}. {FIRST} Photographs: {', '.join(names)}.",
        alt(rows),
        sheet(rows),
    )


def textures(pictures: Pictures, net: str) -> Plot | None:
    """Draw textures beside their sources, by how many layers count.

    Parameters
    ----------
    pictures, net
        As `inversions` takes them.
    """
    rows = []
    for texture in TEXTURES:
        file = f"{net}texture_{texture}_picture"
        if file in pictures:
            cells = [Cell("source", pixels(pictures, file, "source"))]
            for depth, key in numbered(pictures[file], "depth").items():
                cells.append(Cell(layers(depth), pixels(pictures, file, key)))
            rows.append((texture, cells))
    if not rows:
        return None
    return Plot(
        named("textures", net),
        f"Textures by the number of layers{NETS[net]}",
        f"Left the source, then textures from noise whose Gram matrices are those of the source at "
        f"the first layers (Gatys et al. 2015). {FIRST} "
        f"Sources: {', '.join(title for title, _ in rows)}.",
        alt(rows),
        sheet(rows),
    )


STYLES = {  # case -> title of its row, and what a setting is called there
    "style_ratios": ("alpha / beta, from noise", lambda s: f"{s.ratio:g}"),
    "style_depths": ("number of style layers", lambda s: layers(s.layers)),
    "style_content_start": ("another start or content layer", lambda s: "from the content"),
    "style_shallow_content": ("another start or content layer", lambda s: "shallow layer"),
}


def settings(names: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings among names, few layers and large ratios first."""
    by_name = {name: setting(name) for name in names}
    by_name = {name: each for name, each in by_name.items() if each}
    order = sorted(by_name, key=lambda name: (by_name[name].layers, -by_name[name].ratio, name))
    return {name: by_name[name] for name in order}


def styles(pictures: Pictures, net: str) -> Plot | None:
    """Draw neural style by alpha / beta, start, number of style layers and content layer.

    Parameters
    ----------
    pictures, net
        As `inversions` takes them.
    """
    rows_of: dict[str, list[Cell]] = {}
    ratios = set()
    for case, (title, name_of) in STYLES.items():
        file = f"{net}{case}_picture"
        by_name = settings(pictures.get(file, {}))
        if by_name and not rows_of:
            rows_of[title] = [
                Cell(name, pixels(pictures, file, name)) for name in ("content", "style")
            ]
        for key, each in by_name.items():
            rows_of.setdefault(title, []).append(Cell(name_of(each), pixels(pictures, file, key)))
        if case != "style_ratios":
            ratios |= {f"{each.ratio:g}" for each in by_name.values()}
    if not rows_of:
        return None
    rows = list(rows_of.items())
    text = f"Where it is not varied, alpha / beta is {', '.join(sorted(ratios))}. "
    return Plot(
        named("styles", net),
        f"Neural style{NETS[net]}",
        "The content's features and the style's Gram matrices in one image (Gatys et al. 2016); "
        "alpha weights the content, beta the style. Rows: "
        f"{'; '.join(title for title, _ in rows)}. {text if ratios else ''}{FIRST}",
        alt(rows),
        sheet(rows),
    )


def pairs(pictures: Pictures, name: str, net: str) -> Plot | None:
    """Draw one strip of methods for each pair of photographs.

    Parameters
    ----------
    pictures, net
        As `inversions` takes them.
    name : str
        Of `PAIRS`: which pairs.
    """
    rows, used = [], {}
    for case, title in PAIRS[name].items():
        file = f"{net}{case}_picture"
        if file not in pictures:
            continue
        cells = []
        for end in ("content", "style"):
            mask = None
            if f"{end}_mask" in pictures[file]:
                mask = pixels(pictures, file, f"{end}_mask", mask=True)
            cells.append(Cell(end, pixels(pictures, file, end), mask))
        methods = {key: title for key, title in METHODS.items() if key in pictures[file]}
        cells += [Cell(title, pixels(pictures, file, key)) for key, title in methods.items()]
        used |= methods
        rows.append((title, cells))
    if not rows:
        return None
    return Plot(
        named(name, net),
        f"Photo style by method{NETS[net]}",
        f"Methods: {', '.join(title for key, title in METHODS.items() if key in used)}. The first "
        "stage is neural style with masks, from which photo style starts (Luan et al. 2017). Masks "
        "stand in the corners: equal colours are equal classes. "
        f"{FIRST} Pairs: {'; '.join(title for title, _ in rows)}.",
        alt(rows),
        sheet(rows),
    )


def lambdas(names: Mapping[str, Any]) -> dict[float, str]:
    """Return the results of a sweep by their lambda, from the smallest."""
    by_value = {photostyle_lambda(name): name for name in names}
    return {value: by_value[value] for value in sorted(v for v in by_value if v is not None)}


def lambda_cells(pictures: Pictures) -> list[Cell]:
    """Return content, style and the results for each lambda, nothing if there are none."""
    file = "lambda_sweep_picture"
    by_value = lambdas(pictures.get(file, {}))
    if not by_value:
        return []
    cells = [Cell(name, pixels(pictures, file, name)) for name in ("content", "style")]
    return cells + [
        Cell(f"lambda {value:g}", pixels(pictures, file, name)) for value, name in by_value.items()
    ]
