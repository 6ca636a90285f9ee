"""The feedback view: what people said of the answers, listed, counted, corrected and exported."""
