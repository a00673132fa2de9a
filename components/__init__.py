"""The parts of one containerised backend on AWS: one component class a file, and the pure helpers they share."""
