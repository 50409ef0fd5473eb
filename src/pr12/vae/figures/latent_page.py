"""A self-contained page on which a mouse moves through a 2-D latent plane and the image follows.

The decoder's weights stand in the page and run in its one script, so that it works from file://
and without a network. (Kingma & Welling 2013, Figure 4, shows a grid of such images.)
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from pr12.vae.data.packed_arrays import unpack_numbers
from pr12.vae.figures import latent_page_template as template
from pr12.workflow.errors import UserError

KEYS = ("title", "height", "width", "weights", "likelihood", "codes", "extent")
MOST_CODES = 1000
LONGEST_LABEL = 3  # characters: labels are drawn in place of points


def _layers(weights: Mapping[str, Mapping[str, Any]], pixels: int, where: str) -> list[dict]:
    """Return the decoder's layers in order, each as packed ``weight`` and ``bias``."""
    hidden = sum(bool(re.fullmatch(r"decoder\.\d+\.weight", name)) for name in weights)
    names = [f"decoder.{layer}" for layer in (*range(hidden), "mean")]
    wanted = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    if sorted(weights) != sorted(wanted):
        raise UserError(f"{where}.weights has {sorted(weights)}; it must have {wanted}")
    inputs = 2
    for name in names:
        weight, bias = (unpack_numbers(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        if weight.ndim != 2 or weight.shape[0] != inputs:
            raise UserError(f"{where}: {name}.weight is {weight.shape}; it must be ({inputs}, ...)")
        inputs = weight.shape[1]
        if bias.shape not in ((inputs,), (1, inputs)):
            raise UserError(f"{where}: {name}.bias is {bias.shape}; it must be ({inputs},)")
    if inputs != pixels:
        raise UserError(f"{where}: the decoder gives {inputs} pixels; height x width is {pixels}")
    return [{part: weights[f"{name}.{part}"] for part in ("weight", "bias")} for name in names]


def _checked(plane: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a plane as the script reads it."""
    if set(plane) != set(KEYS):
        raise UserError(f"{where} has {sorted(plane)}; it must have {', '.join(KEYS)}")
    if plane["likelihood"] not in ("bernoulli", "gaussian"):  # the others have no sigmoid
        wanted = "bernoulli or gaussian"
        raise UserError(f"{where}.likelihood is {plane['likelihood']!r}; it must be {wanted}")
    codes, extent = plane["codes"], [float(bound) for bound in plane["extent"]]
    ordered = len(extent) == 4 and extent[0] < extent[1] and extent[2] < extent[3]
    if not (ordered and all(map(math.isfinite, extent))):
        wanted = "[z1 low, z1 high, z2 low, z2 high]"
        raise UserError(f"{where}.extent is {plane['extent']!r}; it must be {wanted}")
    if len(codes) > MOST_CODES:
        raise UserError(f"{where}.codes has {len(codes)} codes; give at most {MOST_CODES}")
    for index, code in enumerate(codes):
        good = len(code) == 3 and all(math.isfinite(value) for value in code[:2])
        if not (good and len(str(code[2])) <= LONGEST_LABEL):
            wanted = f"z1, z2 and a label of at most {LONGEST_LABEL} characters"
            raise UserError(f"{where}.codes[{index}] is {code!r}; it must be {wanted}")
    return {
        "title": plane["title"],
        "height": plane["height"],
        "width": plane["width"],
        "likelihood": {"bernoulli": "Bernoulli", "gaussian": "Gaussian"}[plane["likelihood"]],
        "layers": _layers(plane["weights"], plane["height"] * plane["width"], where),
        "codes": [[round(float(z1), 3), round(float(z2), 3), str(k)] for z1, z2, k in codes],
        "extent": extent,
    }


def page(planes: Sequence[Mapping[str, Any]]) -> str:
    """Write the page: a complete HTML document with one style and one script.

    Its script has ``decode(plane, z1, z2)``, which gives the pixels of a place (row by row, 0 to
    1) of the plane with that index.

    Parameters
    ----------
    planes : sequence of mapping
        ``title`` (str), ``height`` and ``width`` (pixels), ``likelihood`` ("bernoulli" or
        "gaussian"; both decode to a sigmoid, App. C), ``codes`` (at most 1000 lists of z1, z2 and
        a label, which is drawn if labels differ), ``extent`` ([z1 low, z1 high, z2 low, z2 high])
        and ``weights``: what `pr12.vae.data.packed_arrays.pack_numbers` gives of
        ``decoder.<i>.weight`` (inputs, outputs) and ``decoder.<i>.bias`` (outputs,) or
        (1, outputs) of each tanh layer, and of
        ``decoder.mean.weight`` and ``decoder.mean.bias``.

    Raises
    ------
    UserError
        If a plane lacks something, or shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from pr12.vae.data.packed_arrays import pack_numbers
    >>> weights = {"decoder.mean.weight": np.eye(2), "decoder.mean.bias": np.zeros(2)}
    >>> plane = {"title": "<Two> pixels", "height": 1, "width": 2, "likelihood": "bernoulli"}
    >>> plane |= {"weights": {n: pack_numbers(value, "float16") for n, value in weights.items()}}
    >>> text = page([plane | {"codes": [[0.5, 1, 7]], "extent": [-3, 3, -3, 3]}])
    >>> "<h1>&lt;Two&gt; pixels</h1>" in text
    True
    """
    if not planes:
        raise UserError("there is no latent plane to show; give at least one")
    checked = [_checked(plane, f"planes[{index}]") for index, plane in enumerate(planes)]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    script = environment.from_string(template.SCRIPT).render(planes=checked)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.from_string(template.PAGE).render(
        title=checked[0]["title"],
        style=Markup(template.STYLE),
        script=Markup(script),
        digest=digest,
    )
