"""Nothing acknowledged is lost and nothing half done is seen, wherever a process that changes a gallery is killed."""

import json
import subprocess
import sys
from pathlib import Path

KILLS = 60


def test_killed_at_random_moments(tmp_path):
    program = Path(__file__).with_name("kill_changes.py")
    command = [sys.executable, program, tmp_path / "g", "11", str(KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["kills"] == KILLS
    assert told["acknowledged"] > KILLS
    assert {"add", "remove", "compact"} <= told["during"].keys()  # seeded, but moments are the machine's
