"""The platform, read from small trees with the files of a Jetson or a desktop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime.platform.jetson import PlatformInfo, read_platform

RELEASE = "# R{major} (release), REVISION: {rest}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: Thu Jan 16 2025\n"
ORIN = {
    "etc/nv_tegra_release": RELEASE.format(major=36, rest="4.3"),
    "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
    "proc/meminfo": "MemTotal:       15990000 kB\nMemFree: 1 kB\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=15W >\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1984000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "918000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "918000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "918000000\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "1\n",
    "var/lib/dpkg/status": (
        "Package: python3-libnvinfer\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n\n"
        "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 5.1.1\n\n"
        "Package: vim\nStatus: install ok installed\nVersion: 9\n"
    ),
}

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """tree({"proc/meminfo": "..."}): a root folder with these files."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_an_orin_is_recognised_by_its_files(tree: Tree) -> None:
    platform = read_platform(tree(ORIN))
    assert platform.jetson and platform.model == "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    assert (platform.l4t, platform.jetpack, platform.jetpack_tensorrt) == ("36.4.3", "6.1 to 6.2", "10.3")
    assert platform.power_mode == "2 15W" and platform.memory_bytes == 15990000 * 1024
    assert platform.packages == {"python3-libnvinfer": "10.3.0.30-1+cuda12.5"}  # no removed packages, no others


def test_a_clock_is_held_if_its_minimum_is_its_maximum(tree: Tree) -> None:
    cpu, gpu = read_platform(tree(ORIN)).clocks
    assert (cpu.name, cpu.now_mhz, cpu.most_mhz, cpu.held) == ("cpu", 729.6, 1984.0, False)
    assert (gpu.name, gpu.now_mhz, gpu.held) == ("gpu", 918.0, True)


def test_the_clock_of_a_thor_is_that_of_its_gpc_not_of_its_video_decoder(tree: Tree) -> None:
    folders = {"gpu-gpc-0": ("1575000000", "315000000"), "gpu-nvd-0": ("1", "1"), "bwmgr": ("1", "1")}
    files = {f"sys/class/devfreq/{name}/{what}_freq": most for name, (most, _) in folders.items() for what in ("cur", "max")}
    files |= {f"sys/class/devfreq/{name}/min_freq": least for name, (_, least) in folders.items()}
    (gpu,) = read_platform(tree(files)).clocks
    assert (gpu.name, gpu.least_mhz, gpu.most_mhz, gpu.held) == ("gpu", 315.0, 1575.0, False)


@pytest.mark.parametrize(
    ("modes", "number"),
    [
        (("MAXN", "15W", "30W", "50W"), 0),
        (("15W", "25W", "MAXN_SUPER", "7W"), 2),
        (("MAXN", "15W", "MAXN_SUPER"), 2),
        (("15W", "30W"), None),
    ],
)
def test_the_power_mode_without_limits_is_recognised_by_its_name(
    modes: tuple[str, ...], number: int | None, tree: Tree
) -> None:
    table = "".join(f"< POWER_MODEL ID={n} NAME={name} >\nCPU_ONLINE CORE_0 1\n" for n, name in enumerate(modes))
    platform = read_platform(tree({"etc/nvpmodel.conf": table + "< PM_CONFIG DEFAULT=1 >\n"}))
    assert platform.full_power == number
    assert platform.power_mode == f"1 {modes[1]}"  # the default, because no mode was set
    set_mode = "" if number is None else f"sudo nvpmodel -m {number} && "
    assert platform.hold_clocks == f"{set_mode}sudo jetson_clocks"


@pytest.mark.parametrize(
    ("major", "rest", "jetpack", "tensorrt"),
    [
        (35, "4.1", "5 or older", "8.5 or older"),
        (36, "3.0", "6.0", "8.6"),
        (36, "4.0", "6.1 to 6.2", "10.3"),
        (36, "5.0", "6.1 to 6.2", "10.3"),
        (38, "2.0", "7.0", "10.13"),
        (38, "4.0", "7.1", "10.13"),
        (39, "2.0", "7.2", "10.16"),
    ],
)
def test_each_jetpack_is_recognised_by_its_release(major: int, rest: str, jetpack: str, tensorrt: str, tree: Tree) -> None:
    platform = read_platform(tree({"etc/nv_tegra_release": RELEASE.format(major=major, rest=rest)}))
    assert (platform.jetpack, platform.jetpack_tensorrt) == (jetpack, tensorrt)
    assert platform.too_old == tensorrt.startswith("8")


def test_without_the_release_file_the_core_package_gives_the_release(tree: Tree) -> None:
    core = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 38.2.0-20250820\n"
    meta = "\nPackage: nvidia-jetpack\nStatus: install ok installed\nVersion: 7.0-b128\n"
    platform = read_platform(tree({"var/lib/dpkg/status": core + meta}))
    assert (platform.l4t, platform.jetpack, platform.jetpack_tensorrt) == ("38.2.0", "7.0", "10.13")


def test_a_desktop_is_not_a_jetson(tree: Tree) -> None:
    nvrm = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build\nGCC version: gcc 12\n"
    platform = read_platform(tree({"proc/driver/nvidia/version": nvrm, "proc/device-tree/model": "Raspberry Pi 5"}))
    assert not platform.jetson and platform.model is None and platform.jetpack is None
    assert platform.driver == "580.82.07"


def test_without_files_every_field_is_none(tmp_path: Path) -> None:
    unknown = PlatformInfo(None, None, None, None, None, None, (), None, {})
    assert read_platform(tmp_path / "nowhere") == unknown


@pytest.mark.parametrize("name", ["etc/nv_tegra_release", "var/lib/nvpmodel/status", "proc/meminfo", "var/lib/dpkg/status"])
def test_a_file_with_other_content_is_ignored(name: str, tree: Tree) -> None:
    root = tree(ORIN)
    (root / name).unlink()
    without = read_platform(root)
    (root / name).write_bytes(b"\xff\xfe nonsense \0")
    assert read_platform(root) == without


def test_the_command_that_installs_tensorrt_is_for_this_platform(tree: Tree, tmp_path: Path) -> None:
    assert read_platform(tmp_path).install("tensorrt") == 'pip install "posemoe-edge[tensorrt]"'
    orin = read_platform(tree(ORIN))
    assert orin.install("tensorrt").startswith("python3 -m venv --system-site-packages")
    assert orin.install("tensorrt-rtx") == 'pip install "posemoe-edge[tensorrt-rtx]"'
    bare = read_platform(tree({"var/lib/dpkg/status": ""}))
    assert bare.install("tensorrt").startswith("sudo apt-get install python3-libnvinfer python3-venv && ")
    old = read_platform(tree({"etc/nv_tegra_release": RELEASE.format(major=35, rest="4.1")}))
    assert "JetPack 6.1 or newer" in old.install("tensorrt")


def test_the_command_that_installs_cuda_bindings_is_for_this_jetpack(tree: Tree, tmp_path: Path) -> None:
    assert read_platform(tmp_path).install_cuda == "pip install cuda-bindings"
    orin = read_platform(tree(ORIN))
    assert orin.install_cuda == 'pip install "cuda-bindings==12.*"'
    thor = read_platform(tree({"etc/nv_tegra_release": RELEASE.format(major=38, rest="2.0")}))
    assert thor.install_cuda == 'pip install "cuda-bindings==13.*"'
