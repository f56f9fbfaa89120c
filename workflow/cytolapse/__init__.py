"""Cytolapse: time-lapse movies of living cells to tables of growth and expression.

The modules, in the order in which they may import each other: files,
tables, provenance, movies, annotations, augmentation, networks, models, segmentation,
labeling, evaluation, training, illumination, features, linking, lineage,
growth, expression, exports, report, simulation.
"""

__version__ = "0.1.0"
