"""Training curves from the `metrics.jsonl` of runs."""

import json
from collections.abc import Sequence
from pathlib import Path

from fos_jax.report.contents import Curve, CurvePanel


def read_curve(workdir: str | Path, kind: str, metric: str, label: str) -> Curve | None:
    """One quantity of a run.

    Args:
      workdir: of the run; holds metrics.jsonl.
      kind: "train" or "validation".
      metric: its name there.
      label: its name in the diagram.

    Returns:
      The curve, None where the run did not log it.
    """
    steps, values = [], []
    for text in (Path(workdir) / "metrics.jsonl").read_text("utf-8").splitlines():
        line = json.loads(text)
        if line["kind"] == kind and metric in line:
            steps.append(int(line["step"]))
            values.append(float(line[metric]))
    return Curve(label, steps, values, kind == "validation") if steps else None


def panel(title: str, y_label: str, curves: Sequence[Curve | None]) -> CurvePanel | None:
    """A diagram of the curves that exist; None where there is none."""
    present = [curve for curve in curves if curve is not None]
    return CurvePanel(title, y_label, present) if present else None
