"""What the pages of docs/ name is there, also where Sphinx is not installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

from pr12.workflow import settings, yaml_files

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from pr12_docs import check_links, code, copies, generated, mathml, params_page  # noqa: E402

PAGES = sorted(set(DOCS.rglob("*.md")) - set(DOCS.glob("generated/**/*.md")))
EXAMPLES = sorted(DOCS.glob("examples/*.py"))


def name(path):
    return str(path.relative_to(DOCS))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_all_blocks_of_a_page_can_be_written(path):
    text = generated.expand(path.read_text(encoding="utf-8"))
    assert "```{generated}" not in text


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_between_files_lead_somewhere_on_github_too(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in copies.LINK.findall(text):
        file = target.partition("#")[0]
        assert (path.parent / file).exists(), f"{name(path)} leads to {target}"


def test_every_equation_becomes_mathml():
    count = 0
    for path in PAGES:
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.M | re.S)
        for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+?)\$", text, flags=re.S):
            tex, _ = mathml.split_tag(block or inline)
            try:
                tex2mathml(tex, as_block=bool(block))
            except (MathError, SyntaxError) as error:
                raise AssertionError(f"{name(path)}: {tex}") from error
            count += 1
    assert count > 50


def test_each_paper_has_a_page_examples_and_a_table_of_its_params():
    papers = yaml_files.load(ROOT / "params.yaml")["papers"]
    texts = {paper: (DOCS / f"papers/{paper}.md").read_text(encoding="utf-8") for paper in papers}
    params = (DOCS / "params.md").read_text(encoding="utf-8")
    for paper, text in texts.items():
        assert f"claims full/{paper} headline" in text
        assert f"```{{generated}} params {paper}" in params
        named = re.findall(r"\(\.\./examples/(\w+\.py)\)", text)
        assert named
        assert set(named) <= {path.name for path in EXAMPLES}
        assert settings.paper(ROOT / "papers" / paper)["title"].split(":")[0] in text  # PR-0..


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_in_percent_form_and_begins_with_its_question(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(r'"""\n[^\n]+\n=+\n', text)
    assert text.count("\n# %%\n") >= 3


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    # Of several threads each waits for the others where another test keeps a core busy
    more = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    environment = os.environ | more
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", path]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ("code pr12.vae.model.densities.nothing", "there is no nothing of"),
        ("code pr12.nothing.model.kl", "there is no module of"),
        ("claims full/vae nothing", "there is no claim nothing"),
        ("figure full/vae nothing", "there is no figure nothing"),
        ("page full/vae bound_digits", "has no page"),
        ("nothing", "there is no generated block"),
    ],
)
def test_a_page_that_names_what_is_not_there_is_refused(block, part):
    with pytest.raises(ValueError, match=part):
        generated.expand(f"```{{generated}} {block}\n```")


def test_code_is_shown_without_docstring_and_by_lines():
    whole = code.block("pr12.distill.model.losses.soft_loss")
    assert '"""' not in whole
    assert "temperature**2" in whole
    lines = code.block("pr12.distill.model.losses.soft_loss", "log_q =", "return").splitlines()
    assert [line.split()[0] for line in lines[3:-1]] == ["log_q", "return"]
    with pytest.raises(ValueError, match="no line of"):
        code.block("pr12.distill.model.losses.soft_loss", "nothing of this kind")


def test_a_table_of_params_has_bounds_comments_and_values():
    (row,) = (r for r in params_page.of_paper("distill").splitlines() if "| `max_norm`" in r)
    assert "number > 0 or nothing" in row
    (row,) = (r for r in params_page.of_paper("distill").splitlines() if "| `width_scale`" in r)
    assert "`0.25`" in row
    assert "1 in the full run" in row


BROKEN = {
    '<a href="b.html">x</a>': "there is no such file",
    '<a href="#there">x</a>': "there is no such place",
    '<a href="a.html#there">x</a>': "there is no such place",
    '<img src="b.png">': "there is no such file",
    '<script src="https://example.org/a.js"></script>': "from the network",
}


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_broken_in_a_site_is_found(tmp_path, body, capsys):
    page = '<h1 id="here">x</h1><a href="#here">x</a><a href="https://example.org">x</a>'
    (tmp_path / "a.html").write_text(page)
    assert check_links.main([str(tmp_path)]) == 0
    (tmp_path / "a.html").write_text(page + body)
    assert check_links.main([str(tmp_path)]) == 1
    assert BROKEN[body] in capsys.readouterr().out


def test_an_empty_folder_is_no_site(tmp_path):
    assert check_links.main([str(tmp_path)]) == 1
