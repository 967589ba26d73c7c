"""The list of packages: each floor of the house, inside the namespace posemoe_edge."""

from setuptools import find_packages, setup

FLOORS = ("edge", "export", "calib", "runtime")

setup(packages=[f"posemoe_edge.{floor}{dot}{name}" for floor in FLOORS for dot, name in [("", ""), *((".", n) for n in find_packages(floor))]])
