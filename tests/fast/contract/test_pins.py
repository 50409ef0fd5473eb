"""One lock: the environment of the tests, the containers and conda's file hold to it."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[3]
TOOLS = {"pip", "setuptools", "wheel", "pr12"}  # what installs, and what is installed
LOCK = "requirements.lock"
DOCS_LOCK = "docs/requirements.lock"  # what `make docs` adds to the environment


def locked(name=LOCK):
    """Read a lock: name -> version."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines if line.strip())
    return {
        canonicalize_name(name): Version(version) for name, version in (p.groups() for p in pins)
    }


def installed():
    """Return the distributions that an import finds here: name -> distribution."""
    result = {}
    for each in importlib.metadata.distributions():
        result.setdefault(canonicalize_name(each.metadata["Name"]), each)
    return result


def needs(distribution, extras=()):
    """Return the requirements that hold on this machine, with those of the extras asked for."""
    for line in distribution.requires or ():
        requirement = Requirement(line)
        environments = [default_environment() | {"extra": extra} for extra in ("", *extras)]
        marker = requirement.marker
        if marker is None or any(marker.evaluate(each) for each in environments):
            yield requirement


def wanted_extras(result):
    """Say with which extras distributions are asked for: name -> names, as in dvc[s3]."""
    extras, before = {}, None
    while extras != before:  # what an extra brings can ask for extras itself
        before = {name: set(names) for name, names in extras.items()}
        for name, distribution in result.items():
            for requirement in needs(distribution, extras.get(name, ())):
                target = canonicalize_name(requirement.name)
                extras.setdefault(target, set()).update(requirement.extras)
    return extras


def brought_by(name, result):
    """Return all that a distribution needs, and what that needs, of those installed."""
    extras, given, new = wanted_extras(result), set(), {name}
    while new:
        given |= new
        asked = (each for name in new for each in needs(result[name], extras.get(name, ())))
        new = {canonicalize_name(each.name) for each in asked} & result.keys() - given
    return given


def public(version):
    """Leave out a local version: torch 2.13.0+cpu is a build of 2.13.0."""
    return Version(str(version)).public


def test_the_environment_is_the_lock():
    pins, result = locked(), installed()
    missing = sorted(pins.keys() - result.keys() - TOOLS)
    assert not missing, f"in {LOCK} and not installed"
    # A build of torch for GPUs brings NVIDIA's libraries, a build for CPUs does not
    known = pins.keys() | locked(DOCS_LOCK).keys() | TOOLS | brought_by("torch", result)
    more = result.keys() - known
    assert not sorted(more), f"installed and not in {LOCK}"
    other = {
        name: (public(result[name].version), public(version))
        for name, version in pins.items()
        if name not in TOOLS and public(result[name].version) != public(version)
    }
    assert not other, f"installed in another version than in {LOCK}"


def test_all_that_the_locked_packages_need_is_there_in_a_version_that_fits():
    result, wrong = installed(), []
    extras = wanted_extras(result)
    for name, distribution in result.items():
        for requirement in needs(distribution, extras.get(name, ())):
            there = result.get(canonicalize_name(requirement.name))
            if there is None or not requirement.specifier.contains(there.version, prereleases=True):
                wrong.append(f"{name} needs {requirement}, there is {there and there.version}")
    assert not wrong


def test_the_lock_fulfils_every_bound_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        needed += extra
    pins = locked() | locked(DOCS_LOCK)
    for requirement in map(Requirement, needed):
        if requirement.name == "pr12":  # one extra takes another along
            continue
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in {LOCK}"
        assert requirement.specifier.contains(public(version)), (
            f"{requirement}: {version} is locked"
        )


def test_the_docs_add_packages_and_change_none():
    assert not locked().keys() & locked(DOCS_LOCK).keys()


def recipe(name):
    """Return a recipe's lines without comments, those that go on joined."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]


def pip_installs(lines):
    return [part.strip() for line in lines for part in re.findall(r"pip3? install ([^&|;]*)", line)]


IMAGES = {
    "containers/Dockerfile": r"FROM (\S+)",
    "containers/pr12.def": r"From: (\S+)",
    "Snakefile": r'container: "docker://(\S+)"',
}


@pytest.mark.parametrize("name", IMAGES)
def test_recipes_start_from_one_python(name):
    assert [m[1] for line in recipe(name) if (m := re.fullmatch(IMAGES[name], line))] == [
        "python:3.11-slim"
    ]


def test_recipes_install_the_lock_and_nothing_else():
    lock = r"--no-cache-dir --requirement (?:/opt/)?requirements\.lock"
    itself, docs, report = pip_installs(recipe("Makefile"))[1:]
    assert docs == f"--quiet --no-deps --requirement {DOCS_LOCK}"
    assert report == f"$(QUIET) --constraint {LOCK} --editable '.[report]'"
    docker = pip_installs(recipe("containers/Dockerfile"))
    assert re.fullmatch(lock, docker[0])
    assert docker[1:] == [itself.replace("--quiet", "--no-cache-dir")]
    (apptainer,) = pip_installs(recipe("containers/pr12.def"))
    assert re.fullmatch(lock, apptainer)
    conda = yaml.safe_load((ROOT / "environment.yaml").read_text(encoding="utf-8"))
    assert conda["name"] == "pr12"
    *programs, pip = conda["dependencies"]
    assert programs == ["python=3.11", "git", "make", "pip"]
    assert pip == {"pip": [f"--requirement {LOCK}"]}


def test_recipes_install_the_same_programs():
    words = {}
    for name in ("containers/Dockerfile", "containers/pr12.def"):
        (line,) = (line for line in recipe(name) if "apt-get install" in line)
        words[name] = line.partition("apt-get install")[2].partition("&&")[0].split()
    assert words["containers/Dockerfile"] == words["containers/pr12.def"]
    assert {"git", "make"} <= set(words["containers/Dockerfile"])


def test_images_hold_nothing_that_git_ignores():
    ignored = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    for name in (ROOT / ".gitignore").read_text(encoding="utf-8").split():
        plain = name.rstrip("/")
        hidden = {plain, f"**/{plain}", "**/.*_cache" if plain.endswith("_cache") else plain}
        assert hidden & ignored, f"{name} is in .gitignore and not in .dockerignore"
    assert {".git", ".dvc/cache", ".dvc/tmp", ".dvc/config.local"} <= ignored
