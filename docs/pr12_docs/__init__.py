"""The Sphinx extension of these pages: MathML, blocks that are written at build time, copies."""

from typing import Any

from pr12_docs import copies, generated, mathml, results


def skip_member(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool:
    """Leave out the fields of named tuples, which Python documents by their number."""
    return skip or str(getattr(member, "__doc__", "")).startswith("Alias for field number")


def setup(app: Any) -> dict[str, bool]:
    """Register all parts with Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(mathml.visit_inline, None),
        block_renderers=(mathml.visit_block, None),
    )
    app.connect("config-inited", copies.write_pages)
    app.connect("source-read", generated.expand_source)
    app.connect("source-read", copies.redirect_source)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("build-finished", results.copy_pages)
    app.connect("build-finished", mathml.copy_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
