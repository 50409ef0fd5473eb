"""Sheets of photographs: inversions, textures, neural style, photo style and its lambda."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image

from pr12.shared import plots
from pr12.shared.errors import UserError
from pr12.shared.plots import Plot

Pictures = Mapping[str, Mapping[str, np.ndarray]]  # ``<case>_picture`` -> name -> pixels

LONGEST = 300  # pixels of an embedded photograph
MOST_PIXELS = 350_000  # of all photographs of a figure: about 1 MB of SVG
GAP = 0.06  # between cells, whose width is 1
TITLE = 0.2  # height of a line of text, in cells
INSET = 0.3  # width of a mask in the corner of its photograph
FIRST = "Pictures are of the first seed."
NETS = {"": "", "vgg19_": ", VGG-19 with trained weights"}  # beginning of a case -> in titles
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


class Cell(NamedTuple):
    """A photograph of a sheet."""

    title: str
    pixels: np.ndarray
    mask: np.ndarray | None = None  # drawn into its corner


class Setting(NamedTuple):
    """A setting of a neural style, as its label names it."""

    content: int  # number of the content layer
    layers: int  # how many style layers count
    ratio: float
    start: str


Rows = Sequence[tuple[str, Sequence[Cell]]]


def setting(label: str) -> Setting | None:
    """Read the label of a neural style.

    Examples
    --------
    >>> setting("content1_layers5_ratio0.001_noise")
    Setting(content=1, layers=5, ratio=0.001, start='noise')
    >>> setting("content") is None
    True
    """
    found = SETTING.fullmatch(label)
    if not found:
        return None
    return Setting(int(found[1]), int(found[2]), float(found[3]), found[4])


def photostyle_lambda(name: str) -> float | None:
    """Read the lambda of a result's name.

    Examples
    --------
    >>> photostyle_lambda("lambda1e+06"), photostyle_lambda("first") is None
    (1000000.0, True)
    """
    found = re.fullmatch(r"lambda([0-9.]+(?:e[+-]?[0-9]+)?)", name)
    return float(found[1]) if found else None


def numbered(picture: Mapping[str, Any], before: str) -> dict[int, str]:
    """Give the names that end in a number, by it, such as of ``depth1`` and ``depth2``.

    Examples
    --------
    >>> numbered({"depth2": 0, "depth10": 0, "depth": 0}, "depth")
    {2: 'depth2', 10: 'depth10'}
    """
    found = {int(m[1]): m[0] for m in (re.fullmatch(f"{before}([0-9]+)", k) for k in picture) if m}
    return dict(sorted(found.items()))


def pixels(pictures: Pictures, file: str, name: str, mask: bool = False) -> np.ndarray:
    """Give one photograph, or one mask, of a picture.

    Parameters
    ----------
    pictures : mapping
        All of them.
    file : str
        Such as ``pair3_picture``.
    name : str
        Such as ``neural``.
    mask : bool
        Whether it is a mask, shape (H, W), and no photograph, shape (H, W, 3).

    Raises
    ------
    UserError
        If it is missing or something else.
    """
    found = pictures[file].get(name)
    good = isinstance(found, np.ndarray) and found.ndim == (2 if mask else 3) and found.size > 0
    if good and not mask:
        good = found.shape[2] == 3 and found.dtype == np.uint8
    if good and mask:
        good = found.dtype.kind in "uib" and found.min() >= 0
    if not good:
        wanted = "a mask of labels, (H, W)" if mask else "a photograph, uint8 (H, W, 3)"
        raise UserError(f"{file}: {name} is not {wanted}; delete the file and run its step again")
    return found


def resized(image: np.ndarray, longest: int) -> np.ndarray:
    """Make a photograph smaller if its longest side is above `longest` pixels.

    Examples
    --------
    >>> resized(np.zeros((200, 400, 3), np.uint8), 100).shape
    (50, 100, 3)
    >>> resized(np.zeros((20, 40, 3), np.uint8), 100).shape
    (20, 40, 3)
    """
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    share = longest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def coloured(mask: np.ndarray, longest: int) -> np.ndarray:
    """Draw a mask's labels as colours, made smaller without mixing labels."""
    step = max(1, -(-max(mask.shape) // longest))
    looks = np.array([to_rgb(colour) for colour in plots.COLOURS])
    return np.rint(255 * looks[mask[::step, ::step].astype(int) % len(looks)]).astype(np.uint8)


def room(rows: Rows) -> tuple[float, float]:
    """Give a sheet's width and height in cells."""
    height = 0.0
    for title, cells in rows:
        tallest = max(cell.pixels.shape[0] / cell.pixels.shape[1] for cell in cells)
        height += tallest + TITLE * (1 + bool(title)) + GAP
    return max(len(cells) for _, cells in rows), height


def draw(axes: Any, rows: Rows, inches: float) -> None:
    """Draw rows of photographs, each with its title, onto axes.

    Parameters
    ----------
    axes : Axes
        An empty one.
    rows : sequence of (str, sequence of Cell)
        Title of the row, which may be empty, and its photographs.
    inches : float
        Width of a cell.
    """
    width, height = room(rows)
    count = sum(len(cells) for _, cells in rows)
    longest = min(LONGEST, int((MOST_PIXELS / count) ** 0.5 * 1.1))
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    size = min(9, 5.7 * inches + 0.6)  # points: titles fit their cells
    top = 0.0
    for title, cells in rows:
        if title:
            text = {"va": "center", "fontsize": size + 1, "fontweight": "bold"}
            axes.text(0, top + TITLE / 2, title, **text)
            top += TITLE
        for x, (name, image, mask) in enumerate(cells):
            share = image.shape[0] / image.shape[1]
            own = resized(image, longest)
            box = (x, x + 1 - GAP, top + TITLE + share * (1 - GAP), top + TITLE)
            axes.text(x, top + TITLE / 2, name, va="center", fontsize=size)
            # 'none' keeps the pixels as they are, in the SVG too
            axes.imshow(own, extent=box, aspect="equal", interpolation="none")
            if mask is not None:
                shown = coloured(mask, longest // 2)
                inset = INSET * mask.shape[0] / mask.shape[1]
                corner = (box[1] - INSET, box[1], box[2], box[2] - inset)
                axes.imshow(shown, extent=corner, aspect="equal", interpolation="none")
                frame = {"fill": False, "edgecolor": "white", "linewidth": 1}
                axes.add_patch(Rectangle((corner[0], corner[3]), INSET, inset, **frame))
        top += max(cell.pixels.shape[0] / cell.pixels.shape[1] for cell in cells) + TITLE + GAP
    axes.set(xlim=(0, width), ylim=(height, 0))  # imshow moves them


def sheet(rows: Rows) -> Any:
    """Make a figure of rows of photographs."""
    width, height = room(rows)
    inches = min(plots.LARGEST / max(width, 4), plots.LARGEST / height)
    figure, ((axes,),) = plots.canvas(width * inches, height * inches)
    draw(axes, rows, inches)
    return figure


def alt(rows: Rows) -> str:
    """List what a sheet shows.

    Examples
    --------
    >>> alt([("brick", [Cell("source", None), Cell("1 layer", None)])])
    'Photographs in rows. brick: source, 1 layer.'
    """
    said = "; ".join(
        f"{title}: {', '.join(cell.title for cell in cells)}".removeprefix(": ")
        for title, cells in rows
    )
    return f"Photographs in rows. {said}."


def layers(count: int) -> str:
    """Count layers.

    Examples
    --------
    >>> layers(1), layers(5)
    ('1 layer', '5 layers')
    """
    return f"{count} layer{'s' if count > 1 else ''}"


def named(file: str, net: str) -> str:
    """Name the figure of a network."""
    return f"{file}_{net.strip('_')}" if net else file


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
    """Give the settings among names, few layers and large ratios first."""
    found = {name: setting(name) for name in names}
    found = {name: own for name, own in found.items() if own}
    order = sorted(found, key=lambda name: (found[name].layers, -found[name].ratio, name))
    return {name: found[name] for name in order}


def styles(pictures: Pictures, net: str) -> Plot | None:
    """Draw neural style by alpha / beta, start, number of style layers and content layer.

    Parameters
    ----------
    pictures, net
        As `inversions` takes them.
    """
    found: dict[str, list[Cell]] = {}
    ratios = set()
    for case, (title, name_of) in STYLES.items():
        file = f"{net}{case}_picture"
        own = settings(pictures.get(file, {}))
        if own and not found:
            found[title] = [
                Cell(name, pixels(pictures, file, name)) for name in ("content", "style")
            ]
        for key, each in own.items():
            found.setdefault(title, []).append(Cell(name_of(each), pixels(pictures, file, key)))
        if case != "style_ratios":
            ratios |= {f"{each.ratio:g}" for each in own.values()}
    if not found:
        return None
    rows = list(found.items())
    said = f"Where it is not varied, alpha / beta is {', '.join(sorted(ratios))}. "
    return Plot(
        named("styles", net),
        f"Neural style{NETS[net]}",
        "The content's features and the style's Gram matrices in one image (Gatys et al. 2016); "
        "alpha weights the content, beta the style. Rows: "
        f"{'; '.join(title for title, _ in rows)}. {said if ratios else ''}{FIRST}",
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
        own = {key: said for key, said in METHODS.items() if key in pictures[file]}
        cells += [Cell(said, pixels(pictures, file, key)) for key, said in own.items()]
        used |= own
        rows.append((title, cells))
    if not rows:
        return None
    return Plot(
        named(name, net),
        f"Photo style by method{NETS[net]}",
        f"Methods: {', '.join(own for key, own in METHODS.items() if key in used)}. The first "
        "stage is neural style with masks, from which photo style starts (Luan et al. 2017). Masks "
        "stand in the corners: equal colours are equal classes. "
        f"{FIRST} Pairs: {'; '.join(title for title, _ in rows)}.",
        alt(rows),
        sheet(rows),
    )


def lambdas(names: Mapping[str, Any]) -> dict[float, str]:
    """Give the results of a sweep by their lambda, from the smallest."""
    found = {photostyle_lambda(name): name for name in names}
    return {value: found[value] for value in sorted(v for v in found if v is not None)}


def lambda_cells(pictures: Pictures) -> list[Cell]:
    """Give content, style and the results for each lambda, nothing if there are none."""
    file = "lambda_sweep_picture"
    found = lambdas(pictures.get(file, {}))
    if not found:
        return []
    cells = [Cell(name, pixels(pictures, file, name)) for name in ("content", "style")]
    return cells + [
        Cell(f"lambda {value:g}", pixels(pictures, file, name)) for value, name in found.items()
    ]
