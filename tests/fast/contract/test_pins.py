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


def locked():
    """Read requirements.lock: name -> version."""
    lines = (ROOT / LOCK).read_text(encoding="utf-8").splitlines()
    pins = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines if line.strip())
    return {
        canonicalize_name(name): Version(version) for name, version in (p.groups() for p in pins)
    }


def installed():
    """Give the distributions that an import finds here: name -> distribution."""
    found = {}
    for each in importlib.metadata.distributions():
        found.setdefault(canonicalize_name(each.metadata["Name"]), each)
    return found


def needs(distribution, extras=()):
    """Give the requirements that hold on this machine, with those of the extras asked for."""
    for line in distribution.requires or ():
        requirement = Requirement(line)
        environments = [default_environment() | {"extra": extra} for extra in ("", *extras)]
        marker = requirement.marker
        if marker is None or any(marker.evaluate(each) for each in environments):
            yield requirement


def wanted_extras(found):
    """Say with which extras distributions are asked for: name -> names, as in dvc[s3]."""
    extras, before = {}, None
    while extras != before:  # what an extra brings can ask for extras itself
        before = {name: set(names) for name, names in extras.items()}
        for name, distribution in found.items():
            for requirement in needs(distribution, extras.get(name, ())):
                target = canonicalize_name(requirement.name)
                extras.setdefault(target, set()).update(requirement.extras)
    return extras


def brought_by(name, found):
    """Give all that a distribution needs, and what that needs, of those installed."""
    extras, given, new = wanted_extras(found), set(), {name}
    while new:
        given |= new
        asked = (each for name in new for each in needs(found[name], extras.get(name, ())))
        new = {canonicalize_name(each.name) for each in asked} & found.keys() - given
    return given


def public(version):
    """Leave out a local version: torch 2.13.0+cpu is a build of 2.13.0."""
    return Version(str(version)).public


def test_the_environment_is_the_lock():
    pins, found = locked(), installed()
    missing = sorted(pins.keys() - found.keys() - TOOLS)
    assert not missing, f"in {LOCK} and not installed"
    # A build of torch for GPUs brings NVIDIA's libraries, a build for CPUs does not
    more = found.keys() - pins.keys() - TOOLS - brought_by("torch", found)
    assert not sorted(more), f"installed and not in {LOCK}"
    other = {
        name: (public(found[name].version), public(version))
        for name, version in pins.items()
        if name not in TOOLS and public(found[name].version) != public(version)
    }
    assert not other, f"installed in another version than in {LOCK}"


def test_all_that_the_locked_packages_need_is_there_in_a_version_that_fits():
    found, wrong = installed(), []
    extras = wanted_extras(found)
    for name, distribution in found.items():
        for requirement in needs(distribution, extras.get(name, ())):
            there = found.get(canonicalize_name(requirement.name))
            if there is None or not requirement.specifier.contains(there.version, prereleases=True):
                wrong.append(f"{name} needs {requirement}, there is {there and there.version}")
    assert not wrong


def test_the_lock_fulfils_every_bound_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        needed += extra
    pins = locked()
    for requirement in map(Requirement, needed):
        if requirement.name == "pr12":  # one extra takes another along
            continue
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in {LOCK}"
        assert requirement.specifier.contains(public(version)), (
            f"{requirement}: {version} is locked"
        )


def recipe(name):
    """Give a recipe's lines without comments, those that go on joined."""
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
    itself, report = pip_installs(recipe("Makefile"))[1:]
    assert report == f"--quiet --constraint {LOCK} --editable '.[report]'"
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
