import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { configJsonSchema } from './json-schema.js';

it('schema/antiphon.schema.json is up to date (npm run schema -w @antiphon/cli)', () => {
  const published = readFileSync(new URL('../../schema/antiphon.schema.json', import.meta.url), 'utf8');
  expect(JSON.parse(published)).toEqual(configJsonSchema());
});
