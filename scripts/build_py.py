"""How the wheel is made.

The repository root is the package ``posemoe_edge``; scripts that lie beside its modules must not be installed with them.
"""

from __future__ import annotations

from setuptools.command.build_py import build_py

ROOT_MODULES = ("__init__", "__main__", "plotting")


class BuildPackage(build_py):
    """``build_py``, which would install every module that lies in a package's folder."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if package != "posemoe_edge" or module[1] in ROOT_MODULES]
