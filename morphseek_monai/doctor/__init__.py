"""The data doctor: everything about a data set that would break training or make it wrong, before training.

:func:`~morphseek_monai.doctor.inspect.inspect_subject` reads a subject once and notes facts;
:func:`~morphseek_monai.doctor.findings.findings` judges the facts of all subjects. The command
``morphseek check-data`` puts both together.
"""
