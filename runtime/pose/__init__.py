"""People as numbers: skeletons, 2D keypoints, 3D poses and their metrics."""
