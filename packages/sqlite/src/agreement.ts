import type { StoreInspection } from '@antiphon/core';
import type { Connection } from './connection.js';
import { readIdentity } from './state.js';

/** Of a database that is a replica. */
export function readBelonging(connection: Connection): Pick<StoreInspection, 'identity' | 'agreement'> {
  const identity = readIdentity(connection);
  const agreement = readAgreement(connection);
  return agreement === undefined ? { identity } : { identity, agreement };
}

/** What builds before this one left behind has no such table yet. */
function readAgreement({ db }: Connection): Uint8Array | undefined {
  const table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_antiphon_agreement'";
  if (db.prepare(table, 'value').get() === undefined) return undefined;
  const data = db.prepare('SELECT data FROM _antiphon_agreement', 'value').get();
  return data instanceof Uint8Array ? data : undefined;
}

export function writeAgreement(connection: Connection, data: Uint8Array): void {
  connection.statement('INSERT OR REPLACE INTO _antiphon_agreement (id, data) VALUES (1, ?)').run(data);
}
