"""Cytolapse: time-lapse movies of living cells to tables of growth and expression.

The modules, in the order in which they may import each other: files, logs, cards,
columns, tables, provenance, planes, scales, png, tiff, omexml, micromanager, tiffnotes,
nikon, zeiss, leica, omezarr, formats, spelling, positions, folders, writing,
projections, axes, layouts, inspection, discovery, movies, masks, annotations,
annotation_checks, crowding, augmentation, networks, models, scaling, arithmetic,
checkpoints, devices, prediction, labeling, diameters, segmentation, labels,
otsu, heights, thresholding, labelimages, exchange, engines, targets, progress, stills, learning,
evaluation, judgement, holdout, starts, training, acceptance, illumination, shading,
shapes, compartments, intensities, focus, drift, features, foresight, linking,
linkedcells, merging, buds, divisions, fates, repairs, lineage, fits, localrates, jumps,
mitosis, cycles, outlines, growth, production, expression, analysis, families,
population, collection, csvtables, controls, trackedlabels, exports, graphs, trees,
overlays, wording, summaries, figures, report, rods, contacts, scenarios, lifecycle,
bodies, reporters, budding, colony, drawing, optics, simulation, truth.
"""

__version__ = "0.1.0"
