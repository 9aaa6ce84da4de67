#!/bin/sh
# The same with the sqlite3 shell: sh writer.sh FILE COUNT
file=$1
count=$2
number=0
while [ "$number" -lt "$count" ]; do
  number=$((number + 1))
  # One connection writes at a time, and the replica is one of them: wait for it.
  sqlite3 -bail -cmd '.timeout 5000' "$file" "
    BEGIN IMMEDIATE;
    INSERT INTO readings (number, value, total)
      SELECT $number, $number, coalesce(sum(value), 0) + $number FROM readings;
    COMMIT;" || exit 1
  echo "$number"
done
