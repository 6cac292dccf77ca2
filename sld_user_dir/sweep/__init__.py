"""Objectives x seeds x data conditions from one plan file: train, decode, score, and one report with error bars.

The plan is a YAML file (`plan_file.py`); a cell is one training of it (`cells.py`), made by a process of its own
(`cell_run.py`) on this machine or on SLURM (`scheduler.py`); what it gave stands in rows (`rows.py`), from which alone
the report is made.
"""
