"""A real SLURM of one node in a folder of its own: munged, slurmctld and slurmd, for as long as a test.

    with slurm_cluster() as environment:            # SLURM_CONF for sbatch, squeue, scancel
        subprocess.run(["sinfo"], env={**os.environ, **environment})

By hand: `python tests/support/slurm_cluster.py COMMAND …` runs a command against such a cluster. Debian's
`slurmctld slurmd slurm-client munge` are needed, and root, since slurmd starts jobs as their users.
There is no accounting (it would take a database): `sacct` fails, as on some real clusters.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
START_SECONDS = 30
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,defer
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MessageTimeout=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> Optional[str]:
    """What is missing for a cluster on this machine, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    return None if os.geteuid() == 0 else "slurmd wants root"


@contextlib.contextmanager
def slurm_cluster() -> Iterator[Dict[str, str]]:
    """Bring the cluster up; the environment that its commands want. All ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path is at most 107 bytes long
    config = folder / "slurm.conf"
    environment = {"SLURM_CONF": str(config), "PATH": PATH}
    daemons: List[subprocess.Popen] = []
    try:
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        names = {"host": socket.gethostname().split(".")[0], "folder": folder}
        config.write_text(CONFIG.format(ctld_port=_free_port(), slurmd_port=_free_port(), **names))
        munge = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key"]
        munge += [
            f"--{kind}={folder}/munge.{kind.split('-')[0]}" for kind in ("socket", "pid-file", "log-file", "seed-file")
        ]
        for command in (munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c"]):
            daemons.append(_start(command, folder, environment))
            if command is munge:
                _until(lambda: (folder / "munge.socket").exists(), daemons, folder)
        _until(lambda: "idle" in _sinfo(environment), daemons, folder)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: List[str], folder: Path, environment: Dict[str, str]) -> subprocess.Popen:
    with open(folder / f"{command[0]}.out", "wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})


def _until(ready, daemons: List[subprocess.Popen], folder: Path) -> None:
    deadline = time.time() + START_SECONDS
    while not ready():
        dead = [str(daemon.args[0]) for daemon in daemons if daemon.poll() is not None]
        if dead or time.time() > deadline:
            logs = "\n".join(f"--- {p.name}\n{p.read_text()[-1500:]}" for p in folder.glob("*.out"))
            raise RuntimeError(f"SLURM did not come up, ended: {dead or 'none'}\n{logs}")
        time.sleep(0.3)


def _sinfo(environment: Dict[str, str]) -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    return done.stdout


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    if why_not():
        sys.exit(f"slurm_cluster.py: {why_not()}")
    with slurm_cluster() as variables:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **variables}).returncode)
