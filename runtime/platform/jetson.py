"""What the system's files say about the platform: the Jetson, its JetPack, power mode and clocks. No tool is run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")

# From this L4T release on: the JetPack, and the TensorRT that it contains.
JETPACKS = (
    ((39, 0), "7.2", "10.16"),
    ((38, 4), "7.1", "10.13"),
    ((38, 0), "7.0", "10.13"),
    ((36, 4), "6.1 to 6.2", "10.3"),
    ((36, 0), "6.0", "8.6"),
    ((0, 0), "5 or older", "8.5 or older"),
)
GPU = re.compile(r"(.+\.)?(gpu|ga10b|gb10b)|gpu-gpc-\d+")  # on Thor gpu-gpc-0; gpu-nvd-0 beside it is for video
PACKAGES = ("nvidia-jetpack", "nvidia-l4t-core", "python3-libnvinfer", "tensorrt")


@dataclass(frozen=True)
class ClockRange:
    """A clock's frequency and its limits. It is held, by jetson_clocks for example, if the limits are equal."""

    name: str
    now_mhz: float
    least_mhz: float
    most_mhz: float

    @property
    def held(self) -> bool:
        return self.least_mhz == self.most_mhz


@dataclass(frozen=True)
class PlatformInfo:
    """The platform; a field is None if the system does not say.

    Args:
        model: the Jetson's name.
        l4t: Jetson Linux's release.
        jetpack_tensorrt: the TensorRT that the JetPack contains.
        clocks: the first CPU core's and the GPU's.
        packages: the versions of NVIDIA's installed Debian packages.
        full_power: the number of the power mode without limits; each Jetson numbers its modes differently.
    """

    model: str | None
    l4t: str | None
    jetpack: str | None
    jetpack_tensorrt: str | None
    driver: str | None
    power_mode: str | None
    clocks: tuple[ClockRange, ...]
    memory_bytes: int | None
    packages: dict[str, str]
    full_power: int | None = None

    @property
    def jetson(self) -> bool:
        return self.l4t is not None

    @property
    def too_old(self) -> bool:
        """Whether the JetPack's TensorRT cannot read our graphs."""
        return bool(self.jetpack_tensorrt and self.jetpack_tensorrt.startswith("8"))

    @property
    def hold_clocks(self) -> str:
        """The command that holds the clocks, to be run before a measurement."""
        mode = "" if self.full_power is None else f"sudo nvpmodel -m {self.full_power} && "
        return f"{mode}sudo jetson_clocks"

    @property
    def install_cuda(self) -> str:
        """The command that installs cuda-bindings alone: on a Jetson, an extra's TensorRT would hide JetPack's."""
        if not self.jetson:
            return "pip install cuda-bindings"
        return f'pip install "cuda-bindings=={12 if _numbers(self.l4t) < (38,) else 13}.*"'

    def install(self, engine: str) -> str:
        """The command that installs an engine's library on this platform."""
        if self.too_old:
            return "flash JetPack 6.1 or newer: TensorRT 8 does not read these graphs"
        if not self.jetson or engine != "tensorrt":
            return f'pip install "posemoe-edge[{engine}]"'
        system = "" if "python3-libnvinfer" in self.packages else "sudo apt-get install python3-libnvinfer python3-venv && "
        return f"{system}python3 -m venv --system-site-packages .venv, and install posemoe-edge there"


def read_platform(root: Path = ROOT) -> PlatformInfo:
    """The platform according to the files below ``root``."""
    packages = _packages(root)
    l4t = _l4t(root, packages)
    jetpack, tensorrt = None, None
    if l4t:
        release = _numbers(l4t)[:2]
        jetpack, tensorrt = next((name, trt) for first, name, trt in JETPACKS if release >= first)
    if "nvidia-jetpack" in packages:
        jetpack = packages["nvidia-jetpack"].partition("+")[0].partition("-")[0]
    model = _text(root / "proc/device-tree/model")
    driver = re.search(r"Module\s+(?:for \S+\s+)?([\d.]+)", _text(root / "proc/driver/nvidia/version") or "")
    modes = _power_modes(root)
    numbers = {name: number for number, name in modes.items()}
    memory = re.search(r"MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "")
    return PlatformInfo(
        model=model if model and "NVIDIA" in model else None,
        l4t=l4t,
        jetpack=jetpack,
        jetpack_tensorrt=tensorrt,
        driver=driver[1] if driver else None,
        power_mode=_power_mode(root, modes),
        clocks=tuple(_clocks(root)),
        memory_bytes=int(memory[1]) * 1024 if memory else None,
        packages=packages,
        full_power=numbers.get("MAXN_SUPER", numbers.get("MAXN")),
    )


def _numbers(l4t: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (l4t or "0").split("."))


def _l4t(root: Path, packages: dict[str, str]) -> str | None:
    """Jetson Linux's release, from its release file, otherwise from its core package."""
    release = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", _text(root / "etc/nv_tegra_release") or "")
    if release:
        return f"{release[1]}.{release[2]}"
    core = re.match(r"\d+\.\d+(\.\d+)?", packages.get("nvidia-l4t-core", ""))
    return core[0] if core else None


def _packages(root: Path) -> dict[str, str]:
    """The versions of NVIDIA's installed packages."""
    versions = {}
    for entry in (_text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        name = re.search(r"^Package: (\S+)$", entry, re.MULTILINE)
        version = re.search(r"^Version: (\S+)$", entry, re.MULTILINE)
        if name and version and name[1] in PACKAGES and re.search(r"^Status: .* installed$", entry, re.MULTILINE):
            versions[name[1]] = version[1]
    return versions


def _power_modes(root: Path) -> dict[int, str]:
    """nvpmodel's table of power modes: number -> name."""
    table = re.findall(r"POWER_MODEL ID=(\d+) NAME=(\S+)", _text(root / "etc/nvpmodel.conf") or "")
    return {int(number): name for number, name in table}


def _power_mode(root: Path, modes: dict[int, str]) -> str | None:
    """nvpmodel's current mode, or its default if none was ever set: the number, and the name if known."""
    mode = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    mode = mode or re.search(r"PM_CONFIG DEFAULT=(\d+)", _text(root / "etc/nvpmodel.conf") or "")
    if not mode:
        return None
    number = int(mode[1])
    return f"{number} {modes[number]}" if number in modes else str(number)


def _clocks(root: Path) -> list[ClockRange]:
    """The clocks of the first CPU core and of the GPU."""
    cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
    clocks = [_clock("cpu", [cpu / f"scaling_{what}_freq" for what in ("cur", "min", "max")], 1e3)]
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if GPU.fullmatch(folder.name):
            clocks.append(_clock("gpu", [folder / f"{what}_freq" for what in ("cur", "min", "max")], 1e6))
    return [clock for clock in clocks if clock]


def _clock(name: str, files: list[Path], unit: float) -> ClockRange | None:
    values = [_text(file) or "" for file in files]
    if not all(value.isdigit() for value in values):
        return None
    now, least, most = (int(value) / unit for value in values)
    return ClockRange(name, now, least, most)


def _text(path: Path) -> str | None:
    """A file's text; None if it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0\n ")
    except OSError:
        return None
