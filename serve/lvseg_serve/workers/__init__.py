"""Processes that read strangers' files: what breaks one of them, or holds it up, breaks and holds up nothing else."""
