import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { findNatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ComposeProcesses } from './compose-processes.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const CONFIG = ['--config', '/etc/antiphon/antiphon.yaml'];
const PATIENCE_MS = 90_000;
const REPLICAS = ['eu-1', 'eu-2', 'eu-3'];

let compose: ComposeProcesses;

beforeAll(async () => {
  const found = await findNatsServer({ systemPackage: false, download: false });
  if (found.kind !== 'binary') throw new Error('needs a nats-server binary');
  const programs = { natsServer: found.binary, antiphon: join(root, 'packages', 'cli', 'dist', 'bin.js') };
  const ports = { 'nats-': [4222, 6222, 8222] };
  compose = await ComposeProcesses.read(join(root, 'infra', 'compose.yaml'), programs, ports);
  compose.prepare();
  await compose.up(PATIENCE_MS);
}, 2 * PATIENCE_MS);
afterAll(() => compose.down());

/** `antiphon … --json` in a service. */
async function antiphon(service: string, ...args: readonly string[]): Promise<unknown> {
  const { code, output } = await compose.exec(service, ['antiphon', ...args, ...CONFIG, '--json']);
  if (code !== 0) throw new Error(output);
  return JSON.parse(output);
}

function stock(replica: string): unknown {
  const file = compose.path(replica, '/var/lib/antiphon/shop.db');
  if (!existsSync(file)) return undefined;
  const database = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
  try {
    return database.prepare('SELECT amount FROM stock').get()?.['amount'];
  } finally {
    database.close();
  }
}

describe('infra/compose.yaml, its services as processes', () => {
  it('forms a cluster that is healthy and has what was seeded', { timeout: 2 * PATIENCE_MS }, async () => {
    for (const id of REPLICAS) await compose.until(id, 'service_healthy', PATIENCE_MS);
    await antiphon('eu-2', 'exec', 'UPDATE stock SET amount = 99');
    for (const id of REPLICAS)
      await eventually(`${id} has it`, () => stock(id) === 99, {
        timeoutMs: PATIENCE_MS,
        seen: () => stock(id),
      });
    expect(await antiphon('eu-3', 'verify')).toMatchObject({ outcome: 'equal' });
  });

  it('keeps the log on three servers, and goes on without one', { timeout: 2 * PATIENCE_MS }, async () => {
    const { checks } = (await antiphon('eu-1', 'doctor')) as { checks: { message: string }[] };
    const about = checks
      .map(({ message }) => message)
      .filter((message) => message.startsWith('ANTIPHON_shop:'));
    expect(about).toEqual([expect.stringContaining('3 copies')]);
    await compose.kill('nats-1');
    await antiphon('eu-2', 'exec', 'UPDATE stock SET amount = 98');
    for (const id of REPLICAS)
      await eventually(`${id} has it`, () => stock(id) === 98, {
        timeoutMs: PATIENCE_MS,
        seen: () => stock(id),
      });
    compose.start('nats-1');
    await compose.until('nats-1', 'service_healthy', PATIENCE_MS);
  });

  it('seeds nothing twice, and survives its primary', { timeout: 2 * PATIENCE_MS }, async () => {
    await compose.kill('eu-1');
    compose.start('seed');
    await compose.until('seed', 'service_completed_successfully', PATIENCE_MS);
    await antiphon('eu-3', 'exec', 'UPDATE stock SET amount = 97');
    compose.start('eu-1');
    await eventually('eu-1 has it', () => stock('eu-1') === 97, {
      timeoutMs: PATIENCE_MS,
      seen: () => stock('eu-1'),
    });
    const { code } = (await compose.kill('eu-2', 'SIGTERM')) ?? {};
    expect(code).toBe(0);
  });
});
