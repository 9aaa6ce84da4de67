import { mkdtempSync, rmSync } from 'node:fs';
import { NatsServer } from '@antiphon/nats';
import { sqlite } from '@antiphon/sqlite';
import { createReplica } from '@antiphon/replica';
import Database from 'better-sqlite3';
const dir = mkdtempSync('/tmp/dbg-');
const server = await NatsServer.start({ storeDir: dir + '/nats' });
const db = new Database(dir + '/a.db'); db.exec(`CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL); INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 0);`); db.close();
const log = (id) => { const f = (l) => (o, m) => console.log(id, l, m, o?.err ?? '', JSON.stringify(o)); return { debug() {}, info: f('info'), warn: f('warn'), error: f('error') }; };
const topology = process.argv[2] === 'pr' ? { 'primary-replica': { primary: 'a' } } : 'multi-primary';
const opts = { cluster: 'shop', servers: server.url, topology, update: { mode: 'sync', minInSync: 2, foreignWrites: process.argv[4] ?? 'refuse' } };
const mk = (id) => createReplica({ ...opts, id, store: sqlite({ file: `${dir}/${id}.db` }), logger: log(id) });
const a = await mk('a');
const [b, c] = await Promise.all([mk('b'), mk('c')]);
const t0 = performance.now();
if (process.argv[3] === 'many') {
  const writes = Array.from({ length: 200 }, (_, n) =>
      a.execute([{ sql: 'INSERT INTO accounts VALUES (?, ?)', params: [n % 10 === 9 ? 1 : 1000 + n, n] }], {timeoutMs: 3000}));
  const s = await Promise.allSettled(writes);
  const codes = {}; s.forEach((r) => { const k = r.status === 'rejected' ? r.reason.code + r.reason.message : 'ok'; codes[k] = (codes[k] ?? 0) + 1; });
  console.log(codes, performance.now() - t0);
} else if (process.argv[3] === 'inc') {
  const counts = {};
  const inc = async (r) => { for (let n = 0; n < 15; n++) { try { await r.transaction((tx) => { const row = tx.get('SELECT balance FROM accounts WHERE id=3'); tx.run('UPDATE accounts SET balance=? WHERE id=3', [row.balance + 1]); }, {timeoutMs: 5000}); counts.ok = (counts.ok ?? 0) + 1; } catch (e) { counts[e.code + e.message] = (counts[e.code+e.message] ?? 0) + 1; } } };
  await Promise.all([a, b, c].flatMap((r) => [inc(r), inc(r)]));
  console.log(counts, performance.now() - t0);
  for (const r of [a, b, c]) console.log(await r.query('SELECT balance FROM accounts WHERE id=3', [], { consistency: 'strong' }), JSON.stringify(r.status().sync), r.status().vector, r.status().position);
} else if (process.argv[3] === 'foreign') {
  for (let n = 0; n < 20; n++) { const d = new Database(dir + '/a.db'); d.exec(`INSERT INTO accounts VALUES (${100+n}, 1)`); d.close(); try { await a.execute([{ sql: `INSERT INTO accounts VALUES (${200+n}, 1)` }], { timeoutMs: 2000 }); } catch (e) { console.log(e.message, a.status().outbox, a.status().sync); break; } }
  console.log(performance.now() - t0);
} else if (process.argv[3] === 'lat') {
  const l = []; for (let n = 0; n < 2000; n++) { const t = performance.now(); await a.execute([{ sql: 'INSERT INTO accounts VALUES (?, ?)', params: [1000 + n, n] }]); l.push(performance.now() - t); }
  l.sort((x, y) => x - y); console.log('p50', l[1000], 'p99', l[1980]);
}
await Promise.all([a, b, c].map((r) => r.close())); await server.stop(); rmSync(dir, { recursive: true });
