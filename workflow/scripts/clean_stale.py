"""Rule clean_stale: remove the results of movies that are no longer there."""

import shutil
import sys

from cytolapse.logs import open_log

open_log(snakemake.log[0])

for folder in snakemake.params.folders:
    shutil.rmtree(folder)
    sys.stderr.write(f"removed {folder}\n")
