import subprocess
import sys
from pathlib import Path

WORKFLOW = Path(__file__).parents[2] / "workflow"

JOB = """
import sys
sys.path.insert(0, sys.argv[1])
from cytolapse.logs import open_log
open_log(sys.argv[2])
import logging, warnings
logging.getLogger("cytolapse.linking").info("search range 3 um")
logging.getLogger("trackpy").info("frame 7")
warnings.warn("odd")
raise ValueError("gone wrong")
"""


def test_a_log_holds_what_the_library_says_warnings_and_the_error(tmp_path):
    log = tmp_path / "job.log"

    done = subprocess.run([sys.executable, "-c", JOB, WORKFLOW, log], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    text = log.read_text()
    assert "INFO cytolapse.linking: search range 3 um" in text
    assert "frame 7" not in text
    assert "odd" in text
    assert "ValueError: gone wrong" in text
