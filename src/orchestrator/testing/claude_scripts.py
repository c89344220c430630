"""Scripts that a project brings for the stand-in: ``stand_in.py`` files beside the flows they answer for."""

from __future__ import annotations

import runpy
from pathlib import Path

from orchestrator.testing.claude_replies import Reply, Rule, Turns, When

SCRIPT_FILE = "stand_in.py"


def project_script(folder: Path) -> list[Reply | Rule]:
    """The ``SCRIPT`` of every ``stand_in.py`` in the folder and below, in the order of their paths. The files are
    Python and run here, like those in ``activities/``. Raises ValueError naming the file that cannot be used."""
    script: list[Reply | Rule] = []
    for file in sorted(folder.rglob(SCRIPT_FILE)):
        try:
            found = runpy.run_path(str(file)).get("SCRIPT")
        except Exception as error:  # the file is the user's and may raise anything
            raise ValueError(f"{file} cannot be used: {type(error).__name__}: {error}") from error
        if not isinstance(found, list) or not all(isinstance(entry, Reply | When | Turns) for entry in found):
            raise ValueError(f"{file} must define SCRIPT, a list of Reply, When and Turns")
        script += found
    return script
