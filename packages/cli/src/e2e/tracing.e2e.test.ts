import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort, PATIENCE_MS, RunningCommand, sqlite3, temporaryFolder } from './antiphon.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';
/** With a file in the place of a collector. In batches: the only one is sent at the end. */
const TRACING = `import { appendFileSync } from 'node:fs';
import { BatchSpanProcessor, NodeTracerProvider } from '${import.meta.resolve('@opentelemetry/sdk-trace-node')}';
const shown = (span) => {
  const { traceId, spanId } = span.spanContext();
  return { traceId, spanId, parent: span.parentSpanContext?.spanId, name: span.name, attributes: span.attributes };
};
const exporter = {
  export(spans, done) {
    for (const span of spans) appendFileSync(process.env.SPANS_FILE, JSON.stringify(shown(span)) + '\\n');
    done({ code: 0 });
  },
  shutdown: async () => undefined,
};
const spanProcessors = [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 60_000 })];
new NodeTracerProvider({ spanProcessors }).register();
`;

interface Shown {
  readonly traceId: string;
  readonly spanId: string;
  readonly parent?: string;
  readonly name: string;
}

let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer;
const running: RunningCommand[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
  writeFileSync(join(folder.path, 'tracing.mjs'), TRACING);
});

afterEach(async () => {
  for (const command of running.splice(0)) if (command.child.exitCode === null) await command.stop();
  await server.stop();
  folder.remove();
});

const spansFile = (id: string): string => join(folder.path, `${id}.jsonl`);

async function start(id: string, port: number, isTraced: boolean): Promise<RunningCommand> {
  const config = `cluster: shop
id: ${id}
nats: { servers: ${server.url} }
store: { sqlite: { file: ./${id}.db } }
topology: { mode: primary-replica, primary: eu-1 }
failover: { mode: manual }
http: { listen: 127.0.0.1:${port} }
tracing: { sql: false }
`;
  writeFileSync(join(folder.path, `${id}.yaml`), config);
  const tracing = pathToFileURL(join(folder.path, 'tracing.mjs')).href;
  const env = isTraced ? { NODE_OPTIONS: `--import ${tracing}`, SPANS_FILE: spansFile(id) } : {};
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], { cwd: folder.path, env });
  running.push(command);
  await command.says(`answers over HTTP at http://127.0.0.1:${port}`);
  return command;
}

function spansOf(id: string): readonly Shown[] {
  if (!existsSync(spansFile(id))) return [];
  const lines = readFileSync(spansFile(id), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Shown).filter(({ traceId }) => traceId === TRACE);
}

describe('run with an SDK of OpenTelemetry', () => {
  it('gives one trace of a write over three processes, one of which traces nothing', async () => {
    sqlite3(join(folder.path, 'eu-1.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)');
    const ports = [await freePort(), await freePort(), await freePort()] as const;
    const commands = [await start('eu-1', ports[0], true), await start('eu-2', ports[1], true)];
    commands.push(await start('eu-3', ports[2], false));
    const response = await fetch(`http://127.0.0.1:${ports[1]}/v1/execute`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', traceparent: `00-${TRACE}-${CALLER}-01` },
      body: JSON.stringify({ statements: [{ sql: "INSERT INTO orders VALUES (1, 'new')" }] }),
    });
    expect(response.status).toBe(200);
    for (const id of ['eu-2', 'eu-3'])
      await eventually(
        `${id} has it`,
        () => sqlite3(join(folder.path, `${id}.db`), 'SELECT state FROM orders').stdout === 'new',
        { timeoutMs: PATIENCE_MS },
      );
    for (const command of commands.reverse()) expect((await command.stop()).code).toBe(0);
    const [here, there] = [spansOf('eu-2'), spansOf('eu-1')];
    const namesOf = (spans: readonly Shown[]): readonly string[] => spans.map(({ name }) => name).sort();
    expect(namesOf(here)).toEqual([
      ...['POST /v1/execute', 'apply antiphon.shop.log', 'execute shop', 'forward shop'],
    ]);
    expect(namesOf(there)).toEqual(['commit shop', 'execute shop', 'publish antiphon.shop.log']);
    const all = [...here, ...there];
    const parentOf = (name: string, spans: readonly Shown[]): string | undefined => {
      const span = spans.find((one) => one.name === name);
      return all.find(({ spanId }) => spanId === span?.parent)?.name ?? span?.parent;
    };
    expect(parentOf('POST /v1/execute', here)).toBe(CALLER);
    expect(parentOf('execute shop', there)).toBe('forward shop');
    expect(parentOf('apply antiphon.shop.log', here)).toBe('publish antiphon.shop.log');
    expect(JSON.stringify(all)).not.toContain('INSERT');
    expect(existsSync(spansFile('eu-3'))).toBe(false);
  });
});
