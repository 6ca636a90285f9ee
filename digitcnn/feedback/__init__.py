"""People's feedback on the model's predictions, stored with their sketches.

An entry holds all that a digit set needs: strokes, the 28x28 image, the model and its prediction,
and the true digit. Of its author only a hash of the browser's secret is stored: it groups a
visitor's entries, but does not let its reader act as that visitor.

``entry`` has the records and checks, ``store`` the queries and changes, ``database`` the table and
its transactions, and two modules what differs in SQLite and PostgreSQL; ``file_format`` marks the
file.
"""
