import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const CHART = join(dirname(fileURLToPath(import.meta.url)), 'helm', 'antiphon');
const read = (name) => readFileSync(join(CHART, name), 'utf8');
const repository = JSON.parse(readFileSync(join(CHART, '..', '..', '..', 'package.json'), 'utf8'));
const chart = parse(read('Chart.yaml'));
const values = parse(read('values.yaml'));
const isValid = new Ajv({ strict: true, strictRequired: false }).compile(
  JSON.parse(read('values.schema.json')),
);

// What the templates make of it: test/deploy/helm.e2e.test.ts.
describe('helm/antiphon', () => {
  it('is a chart of the version of all packages', () => {
    expect(chart).toMatchObject({ apiVersion: 'v2', name: 'antiphon', type: 'application' });
    expect([chart.version, chart.appVersion]).toEqual([repository.version, repository.version]);
  });

  it('has values that its schema allows', () => {
    expect(isValid(values) ? [] : isValid.errors).toEqual([]);
  });

  it.each([
    ['no server', { nats: { servers: [] } }],
    ['a misspelt value', { replica: 3 }],
    ['two copies of the log', { nats: { servers: ['a'], streamReplicas: 2 } }],
    ['a token itself', { http: { tokens: [{ name: 'shop', role: 'write', sha256: 'secret' }] } }],
    ['the id of a replica', { config: { id: 'eu-1' } }],
  ])('refuses %s', (_, wrong) => {
    expect(isValid({ ...values, ...wrong })).toBe(false);
  });

  it('uses no value that it does not have', () => {
    const templates = [
      '_helpers.tpl',
      'configmap.yaml',
      'NOTES.txt',
      'poddisruptionbudget.yaml',
      'service.yaml',
      'statefulset.yaml',
    ];
    const used = templates.flatMap((name) =>
      Array.from(read(`templates/${name}`).matchAll(/\.Values\.([A-Za-z.]+)/g), ([, path]) => path),
    );
    const missing = used.filter(
      (path) => path.split('.').reduce((at, key) => at?.[key], values) === undefined,
    );
    expect(used.length).toBeGreaterThan(20);
    expect(missing).toEqual([]);
  });
});
