"""Blocks of a page that are written when the site is built, so that nothing in them is a copy.

In Markdown such a block is a fence, its first line says what is to be written::

    ```{generated} code pr12.vae.model.densities.kl
    ```
"""

import re
from collections.abc import Callable
from typing import Any

from pr12_docs import code, params_page, results

BLOCK = re.compile(r"^```\{generated\} (\w+)(?: (.*?))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITERS: dict[str, Callable[..., str]] = {
    "code": code.block,
    "figure": results.figure,
    "page": results.page,
    "verdicts": results.verdicts,
    "claims": results.claims,
    "overview": results.overview,
    "params": params_page.of_paper,
    "data": params_page.of_data,
}


def expand(text: str) -> str:
    r"""Return a page with all its blocks written.

    Parameters
    ----------
    text : str
        Markdown.

    Raises
    ------
    ValueError
        If there is no such kind of block, or what it names is not there.

    Examples
    --------
    >>> print(expand("```{generated} code pr12.vae.model.densities.kl\n```").splitlines()[1])
    def kl(normal: Normal) -> Tensor:
    """

    def written(found: re.Match[str]) -> str:
        if found[1] not in WRITERS:
            raise ValueError(f"there is no generated block {found[1]}; see {', '.join(WRITERS)}")
        return WRITERS[found[1]](*(found[2] or "").split(), *found[3].splitlines())

    return BLOCK.sub(written, text)


def expand_source(app: Any, name: str, source: list[str]) -> None:
    """Write the blocks of a page as it is read."""
    source[0] = expand(source[0])
