"""Molecular dynamics with a bounded calculator: single runs, solid beside liquid, melting points."""
