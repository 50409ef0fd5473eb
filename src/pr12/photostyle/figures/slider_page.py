"""A self-contained page on which a slider moves through the results for each lambda.

The images stand in the page as JPEG, which are smaller than PNG, so that it works from file:// and
without a network.
"""

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from pr12.workflow.errors import UserError

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1d2125; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --ink: #e6e8ea; --link: #8ec1f5; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 54rem; padding: .75rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.4 system-ui, sans-serif;
}
h1 { font-size: 1.2rem; margin: 0 0 .6rem; }
main { display: grid; gap: .75rem; grid-template-columns: minmax(0, 3fr) minmax(0, 1fr); }
header, .slider { grid-column: 1 / -1; }
figure { margin: 0 0 .6rem; }
figure img { display: block; width: 100%; max-height: 26rem; object-fit: contain; }
figcaption { font-variant-numeric: tabular-nums; }
input { width: 100%; }
input:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
"""

SCRIPT = """
"use strict";
const slider = document.querySelector("input");
const results = Array.from(document.querySelectorAll(".result"));
function show() {
  results.forEach((result, index) => { result.hidden = index !== Number(slider.value); });
  slider.setAttribute("aria-valuetext", results[Number(slider.value)].dataset.said);
}
slider.addEventListener("input", show);
document.querySelector(".slider").hidden = false;
show();
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-{{ digest }}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<header><h1>{{ title }}</h1>
<noscript><p>Without JavaScript all results are shown below each other.</p></noscript></header>
<div class="slider" hidden>
<label for="slider">Move the slider, or focus it and use the arrow keys.</label>
<input id="slider" type="range" min="0" max="{{ results | length - 1 }}" step="1" value="0">
</div>
<div aria-live="polite">
{% for shown in results %}
<figure class="result" data-said="{{ shown.title }}">\
<img src="{{ shown.uri }}" alt="{{ shown.title }}">\
<figcaption>{{ shown.title }}</figcaption></figure>
{% endfor %}
</div>
<div>
{% for shown in beside %}
<figure><img src="{{ shown.uri }}" alt="{{ shown.title }}">\
<figcaption>{{ shown.title }}</figcaption></figure>
{% endfor %}
</div>
</main>
<script>{{ script }}</script>
</body>
</html>
"""


class Shown(NamedTuple):
    """An image of the page."""

    title: str
    uri: str


def jpeg(pixels: np.ndarray) -> str:
    """Return a photograph as a data URI of a JPEG.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (H, W, 3).

    Examples
    --------
    >>> jpeg(np.zeros((1, 1, 3), np.uint8))[:23]
    'data:image/jpeg;base64,'
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def page(
    title: str,
    results: Sequence[tuple[str, np.ndarray]],
    beside: Sequence[tuple[str, np.ndarray]],
) -> str:
    """Write the page: a complete HTML document with one style and one script.

    Parameters
    ----------
    title : str
        Of the page.
    results : sequence of (str, ndarray)
        What the slider moves through: a title and a photograph, uint8 (H, W, 3), each.
    beside : sequence of (str, ndarray)
        Photographs that stay beside them.

    Raises
    ------
    UserError
        If there is no result.

    Examples
    --------
    >>> image = np.zeros((1, 1, 3), np.uint8)
    >>> "<h1>&lt;lambda&gt;</h1>" in page("<lambda>", [("1", image)], [])
    True
    """
    if not results:
        raise UserError("there is no result for the slider to show; give at least one")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    return environment.from_string(PAGE).render(
        title=title,
        results=[Shown(name, jpeg(image)) for name, image in results],
        beside=[Shown(name, jpeg(image)) for name, image in beside],
        style=Markup(STYLE),
        script=Markup(SCRIPT),
        digest=digest,
    )
