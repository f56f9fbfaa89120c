"""Rule clean_stale: remove the results of movies that are no longer there."""

import shutil
import sys

sys.stderr = open(snakemake.log[0], "w", buffering=1)

for folder in snakemake.params.folders:
    shutil.rmtree(folder)
    sys.stderr.write(f"removed {folder}\n")
