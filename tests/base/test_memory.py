"""The memory that is available: the least of the machine's, the control groups' and the address space's."""

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.base import memory
from pipeline.base.memory import available_bytes, file_in_memory


def test_machine_bounds_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_cgroup_limits", lambda: [])
    assert 0 < available_bytes() <= psutil.virtual_memory().total


def test_limit_of_a_group_counts_what_the_process_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = psutil.Process().memory_info().rss
    monkeypatch.setattr(memory, "_cgroup_limits", lambda: [taken + (1 << 24), 1 << 60])
    assert available_bytes() == pytest.approx(1 << 24, abs=1 << 22)
    monkeypatch.setattr(memory, "_cgroup_limits", lambda: [1])
    assert available_bytes() == 0


def test_limit_of_the_address_space_counts_what_the_process_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = psutil.Process().memory_info().vms + (1 << 24)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert available_bytes() == pytest.approx(1 << 24, abs=1 << 22)


@pytest.mark.parametrize(
    ("table", "files", "limits"),
    [
        ("0::/slurm/job\n", {"slurm/job/memory.max": "max\n", "slurm/memory.max": "2000\n"}, [2000]),
        ("0::/\n", {"memory.max": "3000\n"}, [3000]),  # a container sees its own group as the root
        ("0::/docker/x\n", {"memory.max": "3000\n"}, [3000]),  # or the name of a group that it does not see
        (
            "2:cpu:/jobs\n1:memory,hugetlb:/jobs\n",
            {"memory/jobs/memory.limit_in_bytes": "5\n", "memory/memory.limit_in_bytes": "9\n", "memory.max": "1\n"},
            [5, 9],
        ),
        ("", {}, []),
    ],
)
def test_limits_of_control_groups_are_found(
    table: str, files: dict[str, str], limits: list[int], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text(table)
    assert list(memory._cgroup_limits(tmp_path / "cgroup", tmp_path)) == limits
    assert list(memory._cgroup_limits(tmp_path / "absent", tmp_path)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")
def test_a_file_in_memory_is_for_other_processes_until_the_block_ends() -> None:
    code = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text())"
    with file_in_memory("words") as file:
        assert file is not None
        file.write_text("shared words")
        read = subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True)
    assert read.stdout == "shared words\n"
    assert not file.exists()
