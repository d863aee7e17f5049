"""What a run writes: chunks, journal, formats, provenance, contact sheet, Croissant, joined runs, remote stores."""
