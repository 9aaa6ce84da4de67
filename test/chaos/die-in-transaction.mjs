// Loaded into a replica's process before anything else. Once the file ANTIPHON_TEST_DIES_AT is
// there, the process kills itself with -9 where that says, in the transaction that makes it the
// primary: at the row of the epoch, before the commit, or behind it.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const ARMED = process.env.ANTIPHON_TEST_DIES_AT;
/** Only the replica itself gets a configuration; processes that read get a file. */
const { id } = process.argv[2]?.startsWith('{') ? JSON.parse(process.argv[2]) : {};

const die = () => process.kill(process.pid, 'SIGKILL');
const where = () => (existsSync(ARMED) ? readFileSync(ARMED, 'utf8') : undefined);

/** Of the transaction that is open. */
let isElection = false;

function watched(statement, sql) {
  const isEpoch = sql.startsWith('INSERT INTO _antiphon_epochs');
  const isCommit = sql === 'COMMIT';
  if (!isEpoch && !isCommit) return statement;
  const run = statement.run.bind(statement);
  statement.run = (...parameters) => {
    const elected = isEpoch ? parameters[1] === id : isElection;
    if (isCommit) isElection = false;
    if (!elected) return run(...parameters);
    if (where() === (isEpoch ? 'at the row of the epoch' : 'before the commit')) die();
    const result = run(...parameters);
    if (isEpoch) isElection = true;
    else if (where() === 'behind the commit') die();
    return result;
  };
  return statement;
}

function ending(DatabaseSync) {
  return class extends DatabaseSync {
    prepare(sql, ...options) {
      return watched(super.prepare(sql, ...options), sql);
    }
  };
}

// Whichever of the two drivers this Node.js has.
const builtIn = process.getBuiltinModule('node:sqlite');
if (builtIn !== undefined) builtIn.DatabaseSync = ending(builtIn.DatabaseSync);
const require = createRequire(import.meta.url);
try {
  const packaged = require('@photostructure/sqlite');
  const cached = require.cache[require.resolve('@photostructure/sqlite')];
  cached.exports = { ...packaged, DatabaseSync: ending(packaged.DatabaseSync) };
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
}
