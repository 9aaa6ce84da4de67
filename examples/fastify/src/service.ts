/** A service that keeps notes, with a database of its own that is one of three copies. */
import { DatabaseSync } from 'node:sqlite';
import { sqlite } from '@antiphon/sqlite';
import { fastify } from 'fastify';
import { replicaPlugin } from './replica-plugin.ts';

interface Note {
  readonly id: string;
  readonly text: string;
}

const { ID = 'eu-1', FILE = `${ID}.db`, PRIMARY = 'eu-1', PORT = '0' } = process.env;
const { NATS_URL = 'nats://127.0.0.1:4222' } = process.env;

if (ID === PRIMARY) {
  const database = new DatabaseSync(FILE);
  database.exec(
    'CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, text TEXT NOT NULL, by TEXT NOT NULL)',
  );
  database.close();
}

const app = fastify({
  // A connection whose request ends while the service closes keeps the process for so long.
  keepAliveTimeout: 1000,
  // A replica that joins may need long. Its own time limits say what is missing; that of Fastify,
  // ten seconds, does not.
  pluginTimeout: 0,
});
await app.register(replicaPlugin, {
  cluster: 'notes',
  id: ID,
  servers: NATS_URL,
  store: sqlite({ file: FILE }),
  topology: { mode: 'primary-replica', primary: PRIMARY },
  failover: { mode: 'automatic' },
});

app.get('/', () => ({ id: ID, primary: app.replica.status().epoch?.primary }));

app.post<{ Body: Note }>('/notes', async (request, reply) => {
  const { id, text } = request.body;
  const insert = { sql: 'INSERT INTO notes VALUES (?, ?, ?)', params: [id, text, ID] };
  // On whichever replica: it goes to the primary. A client that asks again under the same id has it
  // written once.
  await app.replica.execute([insert], { requestId: id });
  return reply.code(201).send({ id });
});

app.get('/notes', () => app.replica.query('SELECT id, text, by FROM notes ORDER BY id'));

await app.listen({ host: '127.0.0.1', port: Number(PORT) });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close());
process.send?.({ url: app.listeningOrigin });
