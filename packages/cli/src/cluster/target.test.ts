import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeContext } from './context-file.js';
import { resolveTarget } from './target.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-target-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const context = { cluster: 'here', servers: ['nats://here:1'], pid: process.pid, replicas: [] };
const environment = { ANTIPHON_CLUSTER: 'env', ANTIPHON_SERVERS: 'nats://env:1, nats://env:2' };

function writeConfig(name = 'antiphon.yaml'): string {
  const file = join(folder, name);
  const text =
    'cluster: file\nid: eu-1\nnats: { servers: nats://file:1 }\nstore: { sqlite: { file: a.db } }\ntopology: { mode: multi-primary }\n';
  writeFileSync(file, text);
  return file;
}

it('takes options before the file, the environment and the folder', () => {
  writeContext(folder, context);
  const options = { cluster: 'opt', servers: 'nats://opt:1', config: writeConfig() };
  expect(resolveTarget(options, environment, folder)).toMatchObject({
    cluster: 'opt',
    nats: { servers: ['nats://opt:1'] },
  });
});

it('takes --config before the environment, with its replica', () => {
  expect(resolveTarget({ config: writeConfig() }, environment, folder)).toMatchObject({
    cluster: 'file',
    nats: { servers: ['nats://file:1'] },
    replica: 'eu-1',
  });
});

it('takes the environment before the folder', () => {
  writeContext(folder, context);
  expect(resolveTarget({}, environment, folder)).toMatchObject({
    cluster: 'env',
    nats: { servers: ['nats://env:1', 'nats://env:2'] },
  });
});

it('takes the cluster that runs in this folder or above it before ./antiphon.yaml', () => {
  writeContext(folder, context);
  writeConfig();
  const below = join(folder, 'a', 'b');
  mkdirSync(below, { recursive: true });
  expect(resolveTarget({}, {}, folder)).toMatchObject({
    cluster: 'here',
    nats: { servers: ['nats://here:1'] },
  });
  expect(resolveTarget({}, {}, below)).toMatchObject({ cluster: 'here' });
});

it('passes over a context whose process is gone, or that is cut off', () => {
  writeConfig();
  // Above the largest pid that Linux gives.
  writeContext(folder, { ...context, pid: 4_194_305 });
  expect(resolveTarget({}, {}, folder)).toMatchObject({ cluster: 'file' });
  writeFileSync(join(folder, '.antiphon', 'context.json'), '{"cluster":');
  expect(resolveTarget({}, {}, folder)).toMatchObject({ cluster: 'file' });
});

it('fills one missing half from the next place', () => {
  writeConfig();
  expect(resolveTarget({ cluster: 'opt' }, {}, folder)).toMatchObject({
    cluster: 'opt',
    nats: { servers: ['nats://file:1'] },
  });
});

it('does not read a broken ./antiphon.yaml when it is not needed', () => {
  writeFileSync(join(folder, 'antiphon.yaml'), 'cluster: [');
  expect(resolveTarget({ cluster: 'opt', servers: 'nats://opt:1' }, {}, folder)).toMatchObject({
    cluster: 'opt',
  });
  expect(() => resolveTarget({}, {}, folder)).toThrow(/is not valid YAML/);
});

it('says how to name a cluster when no place does', () => {
  expect(() => resolveTarget({}, {}, folder)).toThrow(/Which cluster\?.*--cluster NAME --servers URL/);
  expect(() => resolveTarget({ cluster: 'x' }, {}, folder)).toThrow(/Which NATS servers\?/);
});

it('refuses what can be no name of a cluster', () => {
  const options = { cluster: 'a.b', servers: 'nats://opt:1' };
  expect(() => resolveTarget(options, {}, folder)).toThrow(/"a\.b"/);
});
