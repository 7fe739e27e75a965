"""What is published holds everything it needs, nothing more, and works where it is installed.

`make dist-check` runs these tests. They are no part of `make test`, since they build and install
from a package index; and they cannot run in the private network of the other tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "twisted/plugins/txgroupsock_plugins.py"

# Each may wait for an index and a build.
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program without this process's settings, as a user would; return what it prints."""
    environment = {
        key: text
        for key, text in os.environ.items()
        if not key.startswith(("PYTHON", "COVERAGE", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def build(source: Path, kind: str, into: Path) -> Path:
    """Build `source` as "wheel" or "sdist" and return the file."""
    run(sys.executable, "-m", "build", f"--{kind}", "--outdir", into, source, cwd=into)
    (result,) = into.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return result


def wheelContents(wheel: Path) -> dict[str, bytes]:
    """Each file's content by its path."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which Twisted has already left its cache of plugins."""
    copy = tmp_path_factory.mktemp("checkout") / "txgroupsock"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(".git", ".venv*", ".coverage*", ".*_cache", "__pycache__"),
    )
    (copy / "twisted/plugins/dropin.cache").write_bytes(b"stale")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    return build(checkout, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return build(checkout, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment with nothing in it but the wheel."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", environment, cwd=environment)
    run(environment / "bin/python", "-m", "pip", "install", "-q", wheel, cwd=environment)
    return environment / "bin"


@pytest.fixture
def forgetPlugins(programs: Path) -> Callable[[], None]:
    """Remove Twisted's cache of plugins, as after a new installation."""

    def forget() -> None:
        for cache in programs.parent.rglob("dropin.cache"):
            cache.unlink()

    return forget


def test_wheelHasThePluginAndTypeInformation(wheel: Path) -> None:
    """The wheel brings the twistd plugin and says that the package is typed."""
    assert {PLUGIN, "txgroupsock/__init__.py", "txgroupsock/py.typed"} <= wheelContents(
        wheel
    ).keys()


def test_wheelHasEveryModule(wheel: Path) -> None:
    """No module, page or other file of the package is left out."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "txgroupsock").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= wheelContents(wheel).keys()


def test_wheelNeedsOnlyWhatAContainerCopies(wheel: Path, checkout: Path, tmp_path: Path) -> None:
    """Of what docs/container/Containerfile copies the same wheel is built."""
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    built.mkdir()
    copies = re.findall(r"(?m)^COPY (.*) \S+$", (ROOT / "docs/container/Containerfile").read_text())
    for name in " ".join(copies).split():
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, source / name)
        else:
            shutil.copy(checkout / name, source)
    assert wheelContents(build(source, "wheel", built)).keys() == wheelContents(wheel).keys()


def test_wheelAddsOneModuleToTwisted(wheel: Path) -> None:
    """An __init__.py would replace Twisted's own, and a cache would hide other people's plugins."""
    assert [name for name in wheelContents(wheel) if name.startswith("twisted/")] == [PLUGIN]


def test_wheelHasNothingElse(wheel: Path) -> None:
    """Only the package, the plugin and the metadata are installed: no tests, no tools."""
    tops = {PurePosixPath(name).parts[0] for name in wheelContents(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"txgroupsock", "twisted"}


def test_sdistHasTestsAndDocsButNoCache(sdist: Path) -> None:
    """Who has the source distribution can test it and read about it."""
    with tarfile.open(sdist) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()}
    wanted = ["Makefile", "LICENSE", "README.md", "CHANGELOG.md", "tests/conftest.py", PLUGIN]
    wanted += ["docs/dependencies.md", "tests/dist/test_distribution.py"]
    assert {PurePosixPath(name) for name in wanted} <= names
    assert not [name for name in names if name.name in ("dropin.cache", "__pycache__")]


def test_sdistBuildsTheSameWheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    """It does not matter whether a wheel is built from the checkout or the source distribution."""
    run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, sdist, cwd=tmp_path
    )
    (rebuilt,) = tmp_path.glob("*.whl")
    assert wheelContents(rebuilt) == wheelContents(wheel)


@pytest.mark.parametrize("options", [[], ["--reactor=poll"], ["--reactor=asyncio"]], ids=str)
def test_twistdListsTheRelayAndTheTools(
    programs: Path,
    forgetPlugins: Callable[[], None],
    options: list[str],
    tmp_path: Path,
) -> None:
    """The installed plugins are found, and looking for it installs no reactor."""
    forgetPlugins()
    listed = run(programs / "twistd", *options, "--help", cwd=tmp_path)
    for each in ("groupsock-relay", "groupsock-send", "groupsock-receive"):
        assert each in listed


@pytest.mark.parametrize("name", ["groupsock-relay", "groupsock-send", "groupsock-receive"])
def test_eachStartsOnAChosenReactorAtItsFirstRun(
    programs: Path,
    forgetPlugins: Callable[[], None],
    name: str,
    tmp_path: Path,
) -> None:
    """Neither plugin nor options import the reactor, which shows only before they are cached."""
    forgetPlugins()
    shown = run(programs / "twistd", "--reactor=poll", "-n", name, "--help", cwd=tmp_path)
    assert "Usage:" in shown


def test_topIsAProgram(programs: Path, tmp_path: Path) -> None:
    """groupsock-top is installed and runs with nothing but the declared dependencies."""
    assert run(programs / "groupsock-top", "--version", cwd=tmp_path).startswith("txgroupsock ")


def test_metricsAreAnExtra(programs: Path, tmp_path: Path) -> None:
    """Without the extra, who imports the metrics is told how to get it."""
    program = """
try:
    import txgroupsock.relay.admin.metrics
except ImportError as error:
    print(error)
"""
    said = run(programs / "python", "-c", program, cwd=tmp_path)
    assert said == "metrics need prometheus_client: pip install 'txgroupsock[metrics]'\n"


def test_installedPackageIsTheOneInTheWheel(programs: Path, tmp_path: Path) -> None:
    """The package can be imported with nothing but its declared dependencies."""
    where = run(
        programs / "python", "-c", "import txgroupsock; print(txgroupsock.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(programs.parent)
