"""Writes readings to the file of a replica, with nothing but sqlite3: it knows nothing of Antiphon.

python3 writer.py FILE COUNT
"""

import sqlite3
import sys
import time

file, count = sys.argv[1], int(sys.argv[2])
# One connection writes at a time, and the replica is one of them: wait for it.
db = sqlite3.connect(file, timeout=5, isolation_level=None)

for number in range(1, count + 1):
    # It reads before it writes. A plain BEGIN would fail where the replica has written in between.
    db.execute('BEGIN IMMEDIATE')
    (total,) = db.execute('SELECT coalesce(sum(value), 0) FROM readings').fetchone()
    db.execute('INSERT INTO readings (number, value, total) VALUES (?, ?, ?)', (number, number, total + number))
    db.execute('COMMIT')
    print(number, flush=True)
    time.sleep(0.01)
