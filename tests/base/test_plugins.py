"""Where plugins come from: `plugins/` and installed packages are accepted, loose files are refused."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from pipeline.base.errors import ParameterError
from pipeline.base.params import check, read_section
from pipeline.base.plugins import find_origin
from pipeline.base.provenance import code_version, plugin_distributions, source_files
from pipeline.base.registry import lookup
from pipeline.faces.contract import DetectorConfig

SOURCE = "def build(config): return config\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an empty folder of plugins."""
    folder = tmp_path / "project"
    (folder / "plugins").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # a copy, which tests change
    source_files.cache_clear()
    code_version.cache_clear()
    return folder


def write(path: Path, text: str = SOURCE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()
    return path


def install(folder: Path, **files: str) -> None:
    """Put the record of a distribution `lab-detectors` into a folder that Python searches."""
    record = folder / "lab_detectors-1.2.dist-info"
    for name, text in {"METADATA": "Name: lab-detectors\nVersion: 1.2\n", **files}.items():
        write(record / name, text)
    sys.path.append(str(folder))


@pytest.mark.parametrize(
    ("file", "reference", "origin"),
    [
        ("plugin_a.py", "plugin_a:build", "plugins/plugin_a.py"),
        ("package_b/__init__.py", "package_b:build", "plugins/package_b"),
        ("package_c/module.py", "package_c.module:build", "plugins/package_c"),
    ],
)
def test_files_and_packages_in_plugins_are_accepted(project: Path, file: str, reference: str, origin: str) -> None:
    write(project / "plugins" / file)
    assert check({"detector": reference}, DetectorConfig, where="faces").detector == reference
    assert find_origin(reference) == origin
    assert reference.partition(":")[0] not in sys.modules
    assert lookup({}, reference, "detector")(3) == 3


@pytest.mark.parametrize("searched", [True, False])
@pytest.mark.parametrize(("file", "module"), [("loose_d.py", "loose_d"), ("loose_e/module.py", "loose_e.module")])
def test_loose_file_outside_plugins_is_refused(project: Path, file: str, module: str, searched: bool) -> None:
    write(project / file, "raise RuntimeError('it was imported')")
    if searched:
        sys.path.insert(0, str(project))
    (project / "params.yaml").write_text(json.dumps({"faces": {"detector": f"{module}:build"}}))
    with pytest.raises(ParameterError) as error:
        read_section("faces", DetectorConfig)
    assert str(error.value) == (
        f"params.yaml: faces.detector = '{module}:build': {Path(file).parts[0]} is in {project}, which DVC does not "
        "track; move it into plugins/ or install it as a package"
    )


def test_loose_file_that_hides_an_installed_package_is_refused(project: Path, tmp_path: Path) -> None:
    write(tmp_path / "site/lab_f.py")
    install(tmp_path / "site", **{"top_level.txt": "lab_f\n"})
    assert find_origin("lab_f:build") == "lab-detectors 1.2"
    write(project / "lab_f.py")
    sys.path.insert(0, str(project))
    with pytest.raises(ParameterError, match=r"lab_f\.py is in "):
        find_origin("lab_f:build")


def test_loose_file_is_accepted_for_workers_and_if_allowed(project: Path) -> None:
    write(project / "loose_g.py")
    sys.path.insert(0, str(project))
    assert DetectorConfig(detector="loose_g:build").detector == "loose_g:build"
    assert check({"detector": "loose_g:build"}, DetectorConfig, where="a model", allow=["loose_g:build"])
    assert lookup({}, "loose_g:build", "detector")(3) == 3


def test_name_that_starts_with_plugins_is_corrected(project: Path) -> None:
    write(project / "plugins/plugin_h.py")
    with pytest.raises(ParameterError, match="names start inside plugins/; write 'plugin_h:build'"):
        find_origin("plugins.plugin_h:build")


@pytest.mark.parametrize(
    ("reference", "origin"),
    [
        ("pipeline.faces.detectors:cascade", "fdan"),
        ("data_manifest.corpora.folder:find", "fdan"),
        ("no_such_module:build", ""),
        ("__main__:build", ""),
    ],
)
def test_origin_of_the_projects_modules_and_of_none(reference: str, origin: str) -> None:
    assert find_origin(reference) == origin


def test_installed_package_is_named_with_its_version() -> None:
    assert find_origin("h5py:File") == f"h5py {importlib.import_module('h5py').__version__}"


def test_editable_package_is_accepted(tmp_path: Path) -> None:
    """Setuptools records the package's name and source folder."""
    source = write(tmp_path / "lab/src/lab_i/__init__.py").parents[1]
    url = {"url": (tmp_path / "lab").as_uri(), "dir_info": {"editable": True}}
    install(tmp_path / "site", **{"top_level.txt": "lab_i\n", "direct_url.json": json.dumps(url)})
    sys.path.insert(0, str(source))
    assert find_origin("lab_i:build") == "lab-detectors 1.2"


def test_editable_package_without_a_list_of_modules_is_accepted(tmp_path: Path) -> None:
    """Hatchling, PDM and others record only the file that adds the source folder to the search path."""
    source = write(tmp_path / "lab/src/lab_j/__init__.py").parents[1]
    write(tmp_path / "site/_lab.pth", f"{source}\n")
    install(tmp_path / "site", RECORD="_lab.pth,,\n")
    sys.path.insert(0, str(source))
    assert find_origin("lab_j:build") == "lab-detectors 1.2"


@pytest.mark.parametrize("package", ["", "package_k/"])
def test_edit_of_an_imported_helper_changes_the_code_version(project: Path, package: str) -> None:
    name = f"plugin_{len(package)}"
    helpers = f"helper_{name}"
    write(project / f"plugins/{package}{name}.py", f"import {helpers}\n{SOURCE}")
    versions = []
    for text in ("LIMIT = 1\n", "LIMIT = 2\n", "# a comment\nLIMIT = 2\n"):
        write(project / f"plugins/{helpers}.py", text)
        source_files.cache_clear()
        code_version.cache_clear()
        versions.append(code_version(lookup({}, f"{package.replace('/', '.')}{name}:build", "detector")))
    assert versions[0] != versions[1] == versions[2]


def test_code_version_does_not_depend_on_the_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of a cluster may have fdan and the plugins in other folders."""
    versions = set()
    for folder in ("a", "~z"):  # before and after the project's files in any order of paths
        write(project / folder / "plugins/plugin_l.py", f"import pipeline.base.errors\n{SOURCE}")
        monkeypatch.chdir(project / folder)
        monkeypatch.delitem(sys.modules, "plugin_l", raising=False)
        source_files.cache_clear()
        code_version.cache_clear()
        versions.add(code_version(lookup({}, "plugin_l:build", "detector")))
    assert len(versions) == 1


def test_libraries_that_a_plugin_imports_are_found(project: Path) -> None:
    write(project / "plugins/plugin_m.py", f"import h5py\n{SOURCE}")
    assert plugin_distributions(lookup({}, "plugin_m:build", "detector")) == ["h5py"]
