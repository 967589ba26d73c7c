"""What a step costs on this machine: ``posemoe-edge bench``."""

from .bare_launch import BareLaunch
from .contest import Contestant, StepTimes, run_contest
from .graph_profile import GraphProfile, Product, profile_graph

__all__ = ["BareLaunch", "Contestant", "GraphProfile", "Product", "StepTimes", "profile_graph", "run_contest"]
