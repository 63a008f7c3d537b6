"""The data doctor: everything about a data set that would break training or make it wrong, before training.

:func:`~morphseek_monai.data.doctor.inspect.inspect_subject` reads a subject once and notes facts;
:func:`~morphseek_monai.data.doctor.findings.findings` judges the facts of all subjects. The command
``morphseek check-data`` puts both together.
"""

from __future__ import annotations

from .findings import findings
from .inspect import inspect_subject
from .model import FileReport, Finding, SubjectReport

__all__ = ["FileReport", "Finding", "SubjectReport", "findings", "inspect_subject"]
