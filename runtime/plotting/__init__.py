"""Pictures: skeletons, curves, bars."""
