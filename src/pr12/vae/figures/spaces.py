"""Figures of latent spaces and of images drawn from them, from what the steps left as pictures."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pr12.report import plots, stats
from pr12.report.plots import Plot
from pr12.report.stats import Interval
from pr12.vae.data import packed_arrays
from pr12.vae.figures import latent_page
from pr12.vae.figures.bounds import SEEDS, Metrics, measured, written
from pr12.workflow.errors import UserError

FRECHET = {  # key of the metric -> what it is of
    "vae/frechet_distance": "VAE",
    "autoencoder/frechet_distance": "autoencoder",
    "autoencoder_fitted/frechet_distance": "autoencoder, fitted Gaussian",
    "vae/frechet_distance_reconstructed": "VAE, reconstructions",
    "autoencoder/frechet_distance_reconstructed": "autoencoder, reconstructions",
    "test/frechet_distance_of_train": "training images",
}
MMD = {"vae/mmd_distance": "VAE", "autoencoder/mmd_distance": "autoencoder"}
COLOURS = {"VAE": plots.COLOURS[0], "autoencoder": plots.COLOURS[1]}
HATCHES = {"reconstructions": plots.HATCHES[1], "fitted": plots.HATCHES[2]}
SHEETS = {
    "vae": "VAE",
    "autoencoder": "autoencoder",
    "autoencoder_fitted": "autoencoder, fitted",
    "test": "test images",
}
PLANAR = {"autoencoder_2d": "autoencoder", "vae_2d": "VAE"}
MOST = 600  # codes in a panel: more would hide each other, and fill the file
RADII = (1, 2, 3)  # circles, in standard deviations of the prior
FACES = ("faces", "faces_z2")  # names of what is of faces


def sheets(picture: Any, kind: str, step: str) -> dict[str, np.ndarray]:
    """Unpack a picture's sheets of one kind.

    Parameters
    ----------
    picture : Any
        What a step wrote.
    kind : str
        Such as ``samples``.
    step : str
        Which, for the message.

    Returns
    -------
    dict of str to ndarray
        Name -> uint8, shape (rows, columns, H, W); nets with more latents last.

    Raises
    ------
    UserError
        If there are none.

    Examples
    --------
    >>> sheet = {"shape": [1, 1, 1, 2], "pixels": "AP8="}
    >>> sheets({"samples": {"z2": sheet}}, "samples", "latent_space")["z2"].shape
    (1, 1, 1, 2)
    """
    packed = picture.get(kind) if isinstance(picture, Mapping) else None
    if not isinstance(packed, Mapping):
        raise UserError(f"{step}_picture has no {kind}; delete it and run the step {step} again")
    names = sorted(packed, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    return {name: packed_arrays.unpack_images(packed[name]) for name in names}


def points(rows: Any, where: str) -> np.ndarray:
    """Read codes in a plane and their labels.

    Parameters
    ----------
    rows : Any
        Lists of z1, z2 and a label.
    where : str
        For the message.

    Returns
    -------
    ndarray
        Shape (N, 3).

    Raises
    ------
    UserError
        If they are not that.

    Examples
    --------
    >>> points([[0.5, -1, 7]], "scatter.vae_2d")
    array([[ 0.5, -1. ,  7. ]])
    """
    try:
        array = np.asarray(rows, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise UserError(
            f"{where} does not hold lists of z1, z2 and a label; delete the picture and run its "
            "step again"
        )
    return array


def tiled(sheet: np.ndarray, gap: int = 0) -> np.ndarray:
    """Lay a sheet's images side by side, in grey levels with light lines between them.

    Parameters
    ----------
    sheet : ndarray
        Shape (rows, columns, H, W).
    gap : int
        Pixels between images.

    Returns
    -------
    ndarray
        Shape (rows * (H + gap) - gap, columns * (W + gap) - gap).

    Examples
    --------
    >>> tiled(np.array([[[[1]], [[2]]], [[[3]], [[4]]]], dtype=np.uint8), gap=1)
    array([[  1, 128,   2],
           [128, 128, 128],
           [  3, 128,   4]], dtype=uint8)
    """
    wide = np.pad(sheet, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=128)
    rows, columns, height, width = wide.shape
    image = wide.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return image[: rows * height - gap, : columns * width - gap]


def coarse(grey: np.ndarray) -> np.ndarray:
    """Round to 16 levels of grey: enough for small images, in a quarter of the bytes.

    Examples
    --------
    >>> coarse(np.array([0, 8, 9, 255], dtype=np.uint8))
    array([  0,   0,  17, 255], dtype=uint8)
    """
    return np.rint(grey / 17).astype(np.uint8) * np.uint8(17)


def show(axes: Any, sheet: np.ndarray, name: str, title: str, gap: int = 1) -> None:
    """Draw a sheet without axes: digits dark on light, faces light on dark as photographed."""
    colours = "gray" if name in FACES else "gray_r"
    scale = {"vmin": 0, "vmax": 255, "interpolation": "none"}
    axes.imshow(tiled(sheet, gap), cmap=colours, **scale)
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_title(title)


def latents(name: str) -> str:
    """Name a net by its number of latents.

    Examples
    --------
    >>> latents("z10"), latents("faces_z2")
    ('10 latents', '2 latents')
    """
    return f"{name.rpartition('z')[2]} latents"


def bars(axes: Any, rows: Mapping[int, tuple[str, Interval]]) -> None:
    """Draw a bar at each place from the top, its number to the right of the axes."""
    for y, (label, interval) in rows.items():
        hatch = next((h for part, h in HATCHES.items() if part in label), "")
        colour = next((c for part, c in COLOURS.items() if label.startswith(part)), plots.GREY)
        drawn = {"color": colour, "edgecolor": "white", "linewidth": 0, "hatch": hatch}
        axes.barh(y, interval.mean, xerr=plots.half_widths([interval]), **drawn)
        axes.annotate(
            written(interval),
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    axes.grid(axis="y", visible=False)


def reconstruction_errors(metrics: Metrics, dim: int) -> str:
    """Say how well nets reconstruct test images, by the mean squared error of a pixel."""
    cases = {"VAE": f"aevb_z{dim}", "autoencoder": f"autoencoder_z{dim}"}
    intervals = {
        label: measured(metrics, c, "test/reconstruction_mse") for label, c in cases.items()
    }
    phrases = [f"{label} {written(interval)}" for label, interval in intervals.items() if interval]
    listed = ", ".join(phrases)
    return f" Mean squared error of reconstructed test images: {listed}." if phrases else ""


def generation(metrics: Metrics, picture: Any) -> Plot | None:
    """Draw how far images from a VAE and from autoencoders are from real ones, and the images.

    Raises
    ------
    UserError
        If the picture is not what the step ``generation`` writes.
    """
    drawn = sheets(picture, "samples", "generation")
    far, codes = (
        {label: measured(metrics, "generation", key) for key, label in keys.items()}
        for keys in (FRECHET, MMD)
    )
    far, codes = ({label: i for label, i in series.items() if i} for series in (far, codes))
    shown = {name: title for name, title in SHEETS.items() if name in drawn}
    if not (far and codes and shown):
        return None
    figure, _ = plots.canvas(9, 5.2)
    figure.clear()
    top, bottom = figure.subfigures(2, 1)
    left, right = top.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    labels = list(far | codes)
    for axes, series in ((left, far), (right, codes)):
        bars(axes, {labels.index(label): (label, i) for label, i in series.items()})
    left.set_yticks(range(len(labels)), labels)
    left.set_ylim(len(labels) - 0.4, -0.6)
    left.set_xlabel("Fréchet distance from test images")
    right.set_xlabel("squared MMD of codes")
    sheets_shown = zip(bottom.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True)
    for axes, (name, title) in sheets_shown:
        show(axes, coarse(drawn[name]), name, title)
    ends = "; ".join(f"{label} {written(i)}" for label, i in far.items())
    prior = "; ".join(f"{label} {written(i)}" for label, i in codes.items())
    return Plot(
        "generation",
        "Images drawn from a VAE and from an autoencoder",
        "Top: Fréchet distance, in the features of a classifier, of images decoded from N(0, I), "
        "or from a Gaussian fitted to an autoencoder's training codes, from test images, lower is "
        "better; reconstructions of test images (hatched) and training images for comparison. "
        f"{ends}. Beside it, how far codes of test images are from the prior, by squared maximum "
        f"mean discrepancy: {prior}. {SEEDS.capitalize()}. Bottom: images from the first seed of "
        f"each, and test images.{reconstruction_errors(metrics, 10)}",
        "Two panels of bars, one a source of images, with intervals; below, grids of images.",
        figure,
    )


def scatter(axes: Any, codes: np.ndarray) -> None:
    """Draw the first codes as the digits that they are of, in colours, with the prior's circles."""
    codes = codes[:MOST]
    for label in np.unique(codes[:, 2]):
        cluster = codes[codes[:, 2] == label]
        look = {"color": plots.look(int(label))["color"], "marker": f"${label:g}$"}
        axes.scatter(cluster[:, 0], cluster[:, 1], s=22, linewidths=0.1, **look)
    turn = np.linspace(0, 2 * np.pi, 181)
    for radius in RADII:
        style = {"color": plots.GREY, "linestyle": "--", "linewidth": 1, "marker": ""}
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), **style)
    axes.set_xlabel("first latent")


def latent_scatter(metrics: Metrics, picture: Any) -> Plot | None:
    """Draw codes of test digits in the plane, of an autoencoder and of a VAE.

    Raises
    ------
    UserError
        If the picture is not what the step ``generation`` writes.
    """
    packed = picture.get("scatter") if isinstance(picture, Mapping) else None
    if not isinstance(packed, Mapping):
        raise UserError(
            "generation_picture has no scatter; delete it and run the step generation again"
        )
    codes = {name: points(packed[name], f"scatter.{name}") for name in PLANAR if name in packed}
    if not codes:
        return None
    figure, (panels,) = plots.canvas(4.5 * len(codes), 4.6, columns=len(codes))
    phrases = []
    for axes, (name, z) in zip(panels, codes.items(), strict=True):
        scatter(axes, z)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(PLANAR[name])
        spread = [stats.number(s) for s in np.round(z[:, :2].std(axis=0, ddof=1), 2)]
        phrases.append(f"{PLANAR[name]} {' and '.join(spread)}")
        mmd = measured(metrics, "generation", f"{name}/mmd_distance")
        phrases[-1] += f" (squared MMD from N(0, I) {written(mmd)})" if mmd else ""
    panels[0].set_ylabel("second latent")
    count = stats.number(min(MOST, *map(len, codes.values())))
    listed = "; ".join(phrases)
    return Plot(
        "latent_scatter",
        "Codes in two dimensions",
        f"Codes of {count} test digits, each drawn as the digit that it is of, for the first seed; "
        f"axes have their own scales. Circles of radius {', '.join(map(str, RADII))} are the "
        "prior's standard deviations. Standard deviations of the codes in both directions: "
        f"{listed}.{reconstruction_errors(metrics, 2)}",
        "A cloud of codes a model, coloured and marked by class.",
        figure,
    )


def manifold(picture: Any) -> Plot | None:
    """Draw what grids of the latent plane decode to (Kingma & Welling Fig. 4)."""
    shown = sheets(picture, "manifolds", "latent_space")
    if not shown:
        return None
    figure, (panels,) = plots.canvas(4.5 * len(shown), 4.8, columns=len(shown))
    for axes, (name, sheet) in zip(panels, shown.items(), strict=True):
        show(axes, coarse(sheet), name, name, gap=0)
    grids = ", ".join(f"{name} {s.shape[0]} × {s.shape[1]}" for name, s in shown.items())
    return Plot(
        "manifold",
        "Manifolds of two latents",
        "What codes on a grid of the latent plane decode to, for the first seed: the grid is even "
        "in the unit square and goes through the inverse Gaussian distribution function, so that "
        f"each image stands for the same share of the prior. Grids: {grids}.",
        f"{len(shown)} grids of small images, each a little different from its neighbours.",
        figure,
    )


def samples(picture: Any) -> Plot | None:
    """Draw images from the prior by number of latents (Kingma & Welling Fig. 5)."""
    shown = sheets(picture, "samples", "latent_space")
    if not shown:
        return None
    figure, (panels,) = plots.canvas(max(4, 2.25 * len(shown)), 2.5, columns=len(shown))
    for axes, (name, sheet) in zip(panels, shown.items(), strict=True):
        show(axes, coarse(sheet), name, latents(name))
    counts = ", ".join(f"{s.shape[0] * s.shape[1]} with {latents(n)}" for n, s in shown.items())
    return Plot(
        "samples",
        "Images drawn from the prior, by number of latents",
        f"Means of p(x|z) for codes drawn from N(0, I), of the first seed: {counts}.",
        "Grids of small images, one a number of latents.",
        figure,
    )


def reconstructions(metrics: Metrics, picture: Any) -> Plot | None:
    """Draw test images above what nets make of their codes.

    Raises
    ------
    UserError
        If the nets of a kind did not see the same images.
    """
    shown = sheets(picture, "reconstructions", "latent_space")
    kinds = {
        "digits": [name for name in shown if name not in FACES],
        "faces": [name for name in shown if name in FACES],
    }
    kinds = {kind: names for kind, names in kinds.items() if names}
    if not kinds:
        return None
    for kind, names in kinds.items():
        shapes = {shown[name].shape for name in names}
        if len(shapes) > 1 or min(shapes)[0] != 2:
            raise UserError(
                f"latent_space_picture has reconstructions of {kind} in shapes {sorted(shapes)}; "
                "each must have two rows of the same images: run the step latent_space again"
            )
    stacks = {  # all nets of a kind see the same images, which stand in each one's first row
        kind: np.concatenate([shown[names[0]][:1], *(shown[name][1:] for name in names)])
        for kind, names in kinds.items()
    }
    figure, (panels,) = plots.canvas(4.5 * len(kinds), 2.8, columns=len(kinds))
    for axes, (kind, names) in zip(panels, kinds.items(), strict=True):
        show(axes, stacks[kind], kind, kind)
        height = stacks[kind].shape[2] + 1
        for row, label in enumerate(["test images", *map(latents, names)]):
            axes.annotate(
                label,
                (0, (row + 0.5) * height),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize="small",
            )
    errors = {
        f"{kind}, {latents(name)}": measured(metrics, "latent_space", f"{name}/reconstruction_mse")
        for kind, names in kinds.items()
        for name in names
    }
    summary = ", ".join(f"{label}: {written(i)}" for label, i in errors.items() if i)
    if summary:
        summary = f" Mean squared error of a pixel over all test images, {SEEDS}: {summary}."
    return Plot(
        "reconstructions",
        "Test images and their reconstructions",
        "Test images (top) and what nets with more and more latents decode from the encoder's "
        f"mean, of the first seed.{summary}",
        "Pairs of rows of small images, test images above and their reconstructions below.",
        figure,
    )


def walk(picture: Any) -> Plot | None:
    """Draw what straight lines between codes of two test images decode to."""
    shown = sheets(picture, "walks", "latent_space")
    if not shown:
        return None
    figure, (panels,) = plots.canvas(6 * len(shown), 2.65, columns=len(shown))
    for axes, (name, sheet) in zip(panels, shown.items(), strict=True):
        show(axes, sheet, name, latents(name))
    summary = ", ".join(f"{s.shape[0]} lines of {s.shape[1]} codes" for s in shown.values())
    return Plot(
        "walk",
        "Walks between test images",
        "What codes on straight lines from one test image's code (left) to another's (right) "
        f"decode to, of the first seed: {summary}.",
        f"Rows of images, each changing from a digit to another: {summary}.",
        figure,
    )


def decoded(plane: Mapping[str, Any], z: np.ndarray) -> np.ndarray:
    """Decode codes of a plane as its page does: tanh layers, a sigmoid at the end (App. C).

    Parameters
    ----------
    plane : mapping
        As `latent_page.page` reads it.
    z : ndarray
        Shape (..., 2).

    Returns
    -------
    ndarray
        Means of p(x|z), shape (..., H, W).

    Examples
    --------
    >>> weights = {"decoder.mean.weight": np.eye(2), "decoder.mean.bias": np.zeros(2)}
    >>> packed = {n: packed_arrays.pack_numbers(value, "float16") for n, value in weights.items()}
    >>> decoded({"height": 1, "width": 2, "weights": packed}, np.array([0.0, np.log(3)]))
    array([[0.5 , 0.75]])
    """
    weights = {
        n: packed_arrays.unpack_numbers(w).astype(float) for n, w in plane["weights"].items()
    }
    hidden = sum(bool(re.fullmatch(r"decoder\.\d+\.weight", name)) for name in weights)
    for layer in (f"decoder.{i}" for i in range(hidden)):
        z = np.tanh(z @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"].ravel())
    logits = z @ weights["decoder.mean.weight"] + weights["decoder.mean.bias"].ravel()
    return (1 / (1 + np.exp(-logits))).reshape(*z.shape[:-1], plane["height"], plane["width"])


def planes(picture: Any) -> list[dict[str, Any]]:
    """Return the planes of a picture, each as `latent_page.page` can read it.

    Raises
    ------
    UserError
        If there are none or one is not such.
    """
    listed = picture.get("planes") if isinstance(picture, Mapping) else None
    again = "delete it and run the step latent_space again"
    if not isinstance(listed, list) or not listed:
        raise UserError(f"latent_space_picture has no planes; {again}")
    try:
        latent_page.page(listed)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"latent_space_picture has a plane that is none ({error}); {again}") from (
            error
        )
    return listed


def latent_plane(picture: Any) -> Plot:
    """Draw the first plane: its codes, and the images at whole numbers.

    Raises
    ------
    UserError
        If the picture has no plane, or one that cannot be read.
    """
    plane, *others = planes(picture)
    codes = points(plane["codes"], "planes[0].codes")
    bound = int(max(abs(end) for end in plane["extent"]))
    places = np.arange(-bound, bound + 1)
    z = np.stack(np.meshgrid(places, places[::-1]), axis=-1)  # the second latent grows upwards
    grey = np.rint(255 * decoded(plane, z)).astype(np.uint8)
    figure, ((left, right),) = plots.canvas(9, 4.7, columns=2)
    scatter(left, codes)
    ends = (-bound - 0.5, bound + 0.5)
    scale = {"vmin": 0, "vmax": 255, "interpolation": "none", "extent": ends * 2}
    right.imshow(tiled(coarse(grey)), cmap="gray_r", **scale)
    right.set_xlabel("first latent")
    right.grid(False)
    for axes in (left, right):
        axes.set(xlim=ends, ylim=ends, xticks=places, yticks=places, aspect="equal")
    left.set_ylabel("second latent")
    left.set_title("codes of test images")
    right.set_title("decoded images")
    radii = ", ".join(map(str, RADII))
    shown = (
        f"{min(MOST, len(codes))} codes of test images and {grey.shape[0]} × {grey.shape[1]} images"
    )
    more = f" The interactive page shows {1 + len(others)} planes." if others else ""
    return Plot(
        "latent_plane",
        "The latent plane",
        f"{plane['title']}, of the first seed: {shown}, each decoded from the whole numbers at its "
        f"centre; dashed circles: {radii} standard deviations of the prior. In the page beside "
        f"this picture the image follows the mouse.{more}",
        "Scatter plot of codes beside a grid of images over the same plane.",
        figure,
    )
