// One replica with a write load, as a process of its own: what the chaos tests kill. Commands come
// over IPC. Every write that this process saw committed is appended to the journal before the next
// one starts.
import { appendFileSync } from 'node:fs';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';

const config = JSON.parse(process.argv[2]);
const replica = await createReplica({
  cluster: config.cluster,
  id: config.id,
  servers: config.servers,
  store: sqlite({ file: config.file }),
  topology: config.topology,
  ...(config.failover && { failover: config.failover }),
  update: { mode: 'async', intervalMs: config.intervalMs ?? 0 },
});

let running = false;
let serial = 0;
const incarnation = `${process.pid}`;

const note = (record) => appendFileSync(config.journal, JSON.stringify(record) + '\n');

async function writeOnce(lane) {
  const n = serial++;
  const id = `${config.id}-${incarnation}-${lane}-${n}`;
  const hot = n % 10;
  const victim = n % 7 === 6 ? `${config.id}-${incarnation}-${lane}-${n - 3}` : undefined;
  // Noted before: a kill between commit and note must not look like a loss.
  if (victim !== undefined) note({ intendsToDelete: victim });
  try {
    const result = await replica.transaction((tx) => {
      tx.run('INSERT INTO entries (id, origin, n, payload) VALUES (?, ?, ?, ?)', [
        id,
        config.id,
        n,
        'x'.repeat(100),
      ]);
      tx.run('INSERT INTO orders (id, amount) VALUES (?, ?)', [id, n]);
      tx.run(
        'INSERT INTO hot (k, value, writer) VALUES (?, ?, ?) ON CONFLICT (k) DO UPDATE SET value = excluded.value, writer = excluded.writer',
        [hot, n, id],
      );
      if (victim !== undefined) tx.run('DELETE FROM entries WHERE id = ?', [victim]);
    });
    note({ id, counter: result.id.counter, origin: result.id.origin });
  } catch (error) {
    if (running) process.send?.({ type: 'write-failed', code: error.code, message: error.message });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function lane(name, pauseMs) {
  while (running) {
    await writeOnce(name);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

let lanes = [];
process.on('message', async (command) => {
  if (command.type === 'load') {
    running = true;
    lanes = Array.from({ length: command.lanes ?? 2 }, (_, i) => lane(`l${i}`, command.pauseMs ?? 1));
  } else if (command.type === 'idle') {
    running = false;
    await Promise.all(lanes);
    process.send({ type: 'idle' });
  } else if (command.type === 'status') {
    try {
      process.send({ type: 'status', status: await replica.status(), rssBytes: process.memoryUsage().rss });
    } catch (error) {
      process.send({ type: 'status', error: error.message });
    }
  } else if (command.type === 'takeOver') {
    const { call } = command;
    replica.takeOver().then(
      (value) => process.send({ type: 'answer', call, value }),
      (error) => process.send({ type: 'answer', call, error: error.message }),
    );
  } else if (command.type === 'close') {
    await replica.close();
    process.exit(0);
  }
});
process.on('disconnect', () => process.exit(3));
process.send({ type: 'ready' });
