// Makes the tables of the first replica, before it is started: node seed.mjs DATABASE SQL_FILE
// A database that has tables is left as it is: from then on the cluster has them.
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

const [, , file, sql] = process.argv;
if (file === undefined || sql === undefined) {
  console.error('Say which database and which SQL: node seed.mjs DATABASE SQL_FILE');
  process.exit(2);
}
const database = new DatabaseSync(file, { timeout: 5000 });
try {
  const { tables } = database
    .prepare("SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table'")
    .get();
  if (tables === 0) database.exec(`BEGIN IMMEDIATE; ${readFileSync(sql, 'utf8')} COMMIT;`);
  console.log(tables === 0 ? `${file} has its tables now.` : `${file} has ${tables} tables: left as it is.`);
} finally {
  database.close();
}
