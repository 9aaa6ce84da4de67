// One replica of a synchronous cluster, as a process of its own. Commands come over IPC, each with
// a number; answers carry it.
import { appendFileSync } from 'node:fs';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { REGISTER_LOADS, rescuedValues } from './register-loads.mjs';
import { LOADS, sleepOnThread, TRANSACTIONS } from './sync-loads.mjs';

const ALL_LOADS = { ...LOADS, ...REGISTER_LOADS };

const config = JSON.parse(process.argv[2]);
const { cluster, id, servers, topology, update, limits } = config;
const replica = await createReplica({
  ...{ cluster, id, servers, topology, update, limits },
  ...(config.failover && { failover: config.failover }),
  store: sqlite({ file: config.file }),
});

/**
 * Written before anything else happens: a kill must not make a journal that knows less than the
 * caller did.
 */
const note = (record) => appendFileSync(config.journal, JSON.stringify(record) + '\n');
const name = `${id}-${process.pid}`;

let generation = 0;
let serial = 0;
let lanes = [];

async function lane(load, options, own) {
  const { pauseMs = 1 } = options;
  const step = ALL_LOADS[load];
  const writer = { replica, id, note, options, name: `${name}-${serial++}` };
  for (let n = 0; own === generation; n++) {
    await step(writer, n);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function settled(work) {
  const startedMs = performance.now();
  const outcome = await work().then(
    (result) => result,
    (error) => ({
      outcome: error.code === 'OUTCOME_UNKNOWN' ? 'unknown' : 'rejected',
      code: error.code,
      message: error.message,
      unknownId: error.id,
    }),
  );
  return { ...outcome, tookMs: performance.now() - startedMs };
}

const commands = {
  load: ({ load, count = 1, ...options }) => {
    lanes.push(...Array.from({ length: count }, () => lane(load, options, generation)));
  },
  idle: async () => {
    generation++;
    await Promise.all(lanes);
    lanes = [];
  },
  status: () => replica.status(),
  takeOver: () => replica.takeOver(),
  switchOver: ({ to, timeoutMs }) => replica.switchOver(to, { timeoutMs }),
  rescuedValues: () => rescuedValues(replica),
  drain: () => replica.reads.drain(),
  resumeReads: () => replica.reads.resume(),
  /** Outside of any write. */
  hang: ({ forMs }) => sleepOnThread(forMs),
  outcome: ({ of }) => replica.outcome(of),
  write: ({ statements, options }) => settled(() => replica.execute(statements, options)),
  transaction: ({ named, options, ...args }) =>
    settled(() => replica.transaction((tx) => TRANSACTIONS[named](tx, args), options)),
  query: ({ sql, params, options }) =>
    settled(async () => {
      const rows = await replica.query(sql, params, options);
      // After the read: at least what was read.
      return { outcome: 'read', rows, position: replica.status().position };
    }),
};

const plain = (value) =>
  value === undefined
    ? null
    : JSON.parse(JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? Number(inner) : inner)));

process.on('message', async ({ type, call, ...fields }) => {
  if (type === 'close') {
    generation++;
    await replica.close();
    process.exit(0);
  }
  try {
    process.send({ type: 'answer', call, value: plain(await commands[type](fields)) });
  } catch (error) {
    process.send({ type: 'answer', call, error: `${error.code ?? ''} ${error.stack}` });
  }
});
process.on('disconnect', () => process.exit(3));
process.send({ type: 'ready' });
