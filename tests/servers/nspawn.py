"""Booting a directory with systemd-nspawn so that nothing outlives the tests' process: no mount, no process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "systemd-nspawn"
# The mount lives in a namespace of its own: it goes with the last process of the container.
MOUNT_AND_BOOT = 'mount -t overlay overlay -o "$1" "$2" && shift 2 && exec "$@"'
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
CLOCK = "--system-call-filter=adjtimex clock_adjtime"  # read as on a machine; setting it stays forbidden
PROPAGATED = Path("/run/systemd/nspawn/propagate")


def boot(
    name: str, directory: Path, lower: Sequence[Path], options: Sequence[str], log: Path
) -> subprocess.Popen[bytes]:
    """Boot `directory`/upper above the layers `lower`; the end of what is returned is the container's."""
    layers = f"lowerdir={':'.join(map(str, lower))},upperdir={directory}/upper,workdir={directory}/work"
    target = directory / "root"
    # If the tests' process dies, so does unshare, then nspawn, which is the first process of a namespace, and so all.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "slave"]
    command += ["--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["sh", "-c", _own_cgroup(name) + MOUNT_AND_BOOT, "sh", layers, str(target)]
    command += [NAME, "--quiet", f"--directory={target}", "--boot", f"--machine={name}"]
    command += ["--register=no", "--console=pipe", "--timezone=off", "--link-journal=no", "--resolv-conf=off"]
    command += ["--private-network", CLOCK, *([] if _systemd_runs() else ["--keep-unit"]), *options]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "UNIFIED_CGROUP_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C on the tests must not reach it before its fixture ends it
        )


def init_of(process: subprocess.Popen[bytes]) -> int | None:
    """Return the process id of the container's systemd, as this machine sees it; None until there is one."""
    try:
        nspawns = [child for child in _children(process.pid) if _program(child) == NAME]
        children = [child for nspawn in nspawns for child in _children(nspawn)]
        # Before it has become systemd it is not yet in its own root: what entered it would run on this machine.
        return next((child for child in children if _program(child) != NAME), None)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/exe").readlink().name


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def end(process: subprocess.Popen[bytes], name: str) -> None:
    """Kill the container's systemd, with it everything that runs there, and remove what nspawn leaves."""
    if init := init_of(process):
        os.kill(init, signal.SIGKILL)
    else:
        process.kill()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _clean(name)


def sweep(directory: Path) -> None:
    """Remove what containers of killed test processes left: each directory is named after its process."""
    for layer in directory.glob("*-*"):
        if not Path("/proc", layer.name.partition("-")[0]).exists():
            shutil.rmtree(layer, ignore_errors=True)
            _clean(machine_name(layer))


def machine_name(directory: Path) -> str:
    """Return the name of the container that lives in this directory."""
    return f"edge-{directory.name}"


def _clean(name: str) -> None:
    shutil.rmtree(PROPAGATED / name, ignore_errors=True)
    if (group := _group(name)) and group.exists():
        with contextlib.suppress(
            OSError
        ):  # another one sweeps at the same time, or a process has not yet quite ended
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()


def _systemd_runs() -> bool:
    return Path("/run/systemd/system").exists()


def _own_cgroup(name: str) -> str:
    # Where no systemd runs that would give each container a scope of its own, two of them would share one tree.
    if group := _group(name):
        return f"mkdir -p {group} && echo 0 > {group}/cgroup.procs && "
    return ""


def _group(name: str) -> Path | None:
    if _systemd_runs():
        return None
    return next(base / name for base in CGROUPS if (base / "cgroup.procs").exists())
