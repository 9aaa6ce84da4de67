import { expect, it } from 'vitest';
import { readServerVersion } from './server-version.js';

it('knows no version of a program that is no nats-server, and of none at all', async () => {
  expect(await readServerVersion(process.execPath)).toBeUndefined();
  expect(await readServerVersion('/nowhere/nats-server')).toBeUndefined();
});
