"""A real SLURM on this machine alone, with two pretended GPUs."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

SYSTEM = Path("/etc/slurm")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "munged")

CONFIG = """\
ClusterName=cytolapse
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class NoSlurm(Exception):
    """SLURM cannot be had here; the message says why."""


class NotStarted(Exception):
    """SLURM is here and did not come up: a fault of this set-up, which must not pass for a skip."""


def install() -> None:
    """Put Debian's slurm-wlm and munge on this machine, where that is possible.

    Raises
    ------
    NoSlurm
        If they are missing and cannot be installed.
    """
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise NoSlurm(f"{', '.join(missing)} not found, and installing slurm-wlm and munge needs root")
    if not shutil.which("apt-get"):
        raise NoSlurm(f"{', '.join(missing)} not found, and there is no apt-get to install slurm-wlm and munge with")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoSlurm(f"apt-get {' '.join(command)} failed: {done.stderr.strip()[-300:]}")


class Cluster:
    """A controller and one node, stopped by `stop`.

    Parameters
    ----------
    folder : Path
        For configuration, state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}

    def start(self) -> None:
        """Start munge, the controller and the node, and wait until the node is idle.

        Raises
        ------
        NoSlurm
            If this needs rights that are not given here.
        NotStarted
            If one of them does not come up.
        """
        if os.geteuid() != 0:
            raise NoSlurm("starting SLURM and pretending GPUs needs root")
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 500
        config = CONFIG.format(
            folder=self.folder,
            host=socket.gethostname().split(".")[0],
            controller_port=_free_port(),
            daemon_port=_free_port(),
            cpus=os.cpu_count(),
            memory_mb=memory_mb,
        )
        (self.folder / "slurm.conf").write_text(config)
        self._pretend_gpus()
        self._install_config()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
        files["seed-file"] = "munge.seed"
        options = [f"--{option}={self.folder / file}" for option, file in files.items()]
        self._launch("munged", "--foreground", "--force", *options)
        self._wait("munge's socket", lambda: (self.folder / "munge.socket").exists())
        self._launch("slurmctld", "-D", "-i")
        self._launch("slurmd", "-D")
        self._wait("an idle node", lambda: "idle" in self.output("sinfo", "-h", "-o", "%T"))

    def output(self, *command: str) -> str:
        """What a SLURM command prints; empty where it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout

    def stop(self) -> None:
        """End all of it."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
        for device in self._devices():
            device.unlink(missing_ok=True)
        for link in self._links():
            if link.is_symlink() and link.resolve().parent == self.folder.resolve():
                link.unlink()

    def _links(self) -> list[Path]:
        return [SYSTEM / name for name in ("slurm.conf", "gres.conf")]

    def _install_config(self) -> None:
        """Where every SLURM program looks: Snakemake's jobs keep no SLURM_CONF."""
        SYSTEM.mkdir(parents=True, exist_ok=True)
        for link in self._links():
            if link.exists() and not self._left_behind(link):
                raise NoSlurm(f"{link} is there: this machine has a SLURM of its own")
            link.unlink(missing_ok=True)
            link.symlink_to(self.folder / link.name)

    @staticmethod
    def _left_behind(link: Path) -> bool:
        """Whether this is the link of an earlier test that was killed before it could clean up.

        Raises
        ------
        NotStarted
            If that test's SLURM is still running.
        """
        config = link.resolve().with_name("slurm.conf")
        if not (link.is_symlink() and config.exists() and "ClusterName=cytolapse\n" in config.read_text()):
            return False
        try:
            pid = int(config.with_name("slurmctld.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return True
        raise NotStarted(
            f"{link} is of another run of these tests, whose slurmctld is alive (process {pid}); "
            "wait for it, or end it with its slurmd and munged"
        )

    def _devices(self) -> list[Path]:
        return [self.folder / f"gpu{n}" for n in range(2)]

    def _pretend_gpus(self) -> None:
        try:
            for n, device in enumerate(self._devices()):
                os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3 + n * 2))
        except OSError as error:
            raise NoSlurm(f"device nodes cannot be made here: {error}") from error
        lines = [f"NodeName={socket.gethostname().split('.')[0]} Name=gpu File={device}" for device in self._devices()]
        (self.folder / "gres.conf").write_text("\n".join(lines) + "\n")

    def _launch(self, program: str, *options: str) -> None:
        log = (self.folder / f"{program}.out").open("w")
        path = shutil.which(program) or program
        self.processes.append(subprocess.Popen([path, *options], env=self.environment, stdout=log, stderr=log))

    def _wait(self, what: str, ready) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            gone = [process.args[0] for process in self.processes if process.poll() is not None]
            if gone or time.monotonic() > deadline:
                logs = "\n".join(f"{p.name}: {p.read_text()[-500:]}" for p in sorted(self.folder.glob("*.out")))
                raise NotStarted(f"{what} did not come; ended: {gone or 'none'}\n{logs}")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
