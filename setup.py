"""The list of packages: each floor of the house, inside the namespace posemoe_edge."""

from setuptools import find_packages, setup

FLOORS = ("edge", "export", "calib", "runtime")
INSIDE = [f"{floor}.{name}" for floor in FLOORS for name in find_packages(floor)]

setup(packages=[f"posemoe_edge.{name}" for name in (*FLOORS, *INSIDE)])
