"""What people said about the model's predictions, stored with their sketches.

An entry holds all that a digit set needs: strokes, the 28x28 image, the model and its prediction,
and the true digit. Of its author only a hash of the browser's secret is stored, so entries of one
visitor belong together, but nobody who reads them can act as that visitor.

``entry`` has the records and checks, ``table`` the columns, ``store`` the questions and changes,
``database`` what differs between SQLite and PostgreSQL; ``file_format`` marks the file.
"""
