"""What the Snakefile knows before a job runs: config, sheets, movies, digests.

Nothing here is imported by a job's script, so a change in planning reruns no
stage by itself.
"""
