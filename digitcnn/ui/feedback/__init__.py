"""The feedback view: entries listed, counted, corrected and exported."""
