/**
 * The reports service: plain Node.js. It knows nothing of Antiphon: it reads the changes that the
 * cluster publishes, with an ordinary client of NATS.
 */
import { createServer } from 'node:http';
import { connect, JSONCodec } from 'nats';
import { atEnd, CHANGES_STREAM, setting } from './settings.ts';

/** What this service uses of a published change: docs/publishing.md describes all of it. */
interface Change {
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete';
  readonly after?: { readonly item: string; readonly pieces: number };
}

const sold = new Map<string, number>();
let orders = 0;

function take({ table, op, after }: Change): void {
  if (table !== 'orders' || op !== 'insert' || after === undefined) return;
  orders++;
  sold.set(after.item, (sold.get(after.item) ?? 0) + after.pieces);
}

const nats = await connect({ servers: setting('NATS_URL'), maxReconnectAttempts: -1 });
const codec = JSONCodec<Change>();
// Ordered: from the beginning of the stream, each change once and in order, whatever happens to
// the connection. What it adds up it can add up again, so that it keeps no place.
const consumer = await nats.jetstream().consumers.get(CHANGES_STREAM);
const changes = await consumer.consume();
const reading = (async () => {
  for await (const message of changes) take(codec.decode(message.data));
})();

const server = createServer((_, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ orders, sold: Object.fromEntries(sold) }));
});
await new Promise<void>((resolve) => server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', resolve));
const address = server.address();
const port = typeof address === 'object' && address !== null ? address.port : 0;
atEnd(async () => {
  server.close();
  await changes.close();
  await reading;
  await nats.close();
});
process.send?.({ ready: true, url: `http://127.0.0.1:${port}` });
