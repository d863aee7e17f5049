"""The output of a run: chunks, journal, formats, provenance, contact sheet, Croissant, merging of runs, upload."""
