// Registers whose primary changes: each operation is noted with the epochs that its process knew
// before and after it.
import { History } from '@antiphon/testing';

const REGISTERS = 4;
/** Another replica is the primary, or nobody is: the next try is as good a little later. */
const REFUSED_MS = 25;
const UPSERT = `INSERT INTO registers (id, value, version) VALUES (?, ?, 1)
  ON CONFLICT (id) DO UPDATE SET value = excluded.value, version = version + 1`;
/** Tells in the end which values are in the log. */
const WRITTEN = 'INSERT INTO done (id) VALUES (?)';

/** One clock for all processes of this machine. */
const history = new History({ now: () => Number(process.hrtime.bigint()) / 1e6 });

async function recorded({ note, name, replica }, operation, run) {
  const epoch = () => replica.status().epoch.number;
  const from = epoch();
  const handle = history.invoke(name, operation);
  note({ operation: history.record(handle), epochs: [from] });
  let [completion, code] = [];
  try {
    completion = await run();
  } catch (error) {
    code = error.code;
    completion = { type: code === 'OUTCOME_UNKNOWN' ? 'unknown' : 'failed' };
  }
  note({ operation: history.complete(handle, completion), epochs: [from, epoch()], code });
  if (completion.type === 'failed') await new Promise((resolve) => setTimeout(resolve, REFUSED_MS));
}

const register = () => `r${Math.floor(Math.random() * REGISTERS)}`;

/** Where it is called: only the primary takes it. */
async function directWrites(lane, n) {
  const [key, value] = [register(), `${lane.name}-${n}`];
  await recorded(lane, { kind: 'write', key, value }, async () => {
    const { timeoutMs } = lane.options;
    const run = (tx) => {
      tx.run(UPSERT, [key, value]);
      tx.run(WRITTEN, [value]);
    };
    await lane.replica.transaction(run, { timeoutMs });
    return { type: 'ok' };
  });
}

/** At the primary, wherever it is called. */
async function sentWrites(lane, n) {
  const [key, value] = [register(), `${lane.name}-${n}`];
  await recorded(lane, { kind: 'write', key, value }, async () => {
    const statements = [
      { sql: UPSERT, params: [key, value] },
      { sql: WRITTEN, params: [value] },
    ];
    await lane.replica.execute(statements, { timeoutMs: lane.options.timeoutMs });
    return { type: 'ok' };
  });
}

async function reads(lane) {
  const key = register();
  await recorded(lane, { kind: 'read', key }, async () => {
    const { timeoutMs } = lane.options;
    const sql = 'SELECT value FROM registers WHERE id = ?';
    const [row] = await lane.replica.query(sql, [key], { consistency: 'strong', timeoutMs });
    return { type: 'ok', value: row?.value ?? null };
  });
}

export const REGISTER_LOADS = { directWrites, sentWrites, reads };

/** Values that are in the ledger of a replica, with the epoch in which each was written there. */
export async function rescuedValues({ rescue }) {
  const found = [];
  for (let afterId = 0, more = true; more;) {
    const page = await rescue.list({ afterId });
    for (const { id, sealedEpoch } of page.transactions) {
      const { shown } = await rescue.show(id);
      for (const { table, after } of shown)
        if (table === 'done' && after) found.push([after[0], sealedEpoch]);
      afterId = id;
    }
    more = page.more;
  }
  return found;
}
