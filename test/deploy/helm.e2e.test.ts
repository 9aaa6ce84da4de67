import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseConfig } from '../../packages/cli/src/config/load-config.js';
import { GoProgram, whyNoGo } from '../go/go.js';
import { isResource, problemsOf, type Resource } from './resource.js';

// The values and their schema: infra/helm.test.mjs. Here the templates, with Helm's own engine.
const chart = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'infra', 'helm', 'antiphon');
const read = (path: string): string => readFileSync(join(chart, path), 'utf8');
const why = whyNoGo({
  'github.com/Masterminds/sprig': 'golang-github-masterminds-sprig-dev',
  'gopkg.in/yaml.v3': 'golang-gopkg-yaml.v3-dev',
});

let renderer: GoProgram;
beforeAll(async () => {
  if (why === undefined)
    renderer = await GoProgram.build(readFileSync(new URL('./render-chart.go', import.meta.url), 'utf8'));
});
afterAll(() => renderer?.[Symbol.dispose]());

interface Rendered {
  readonly resources: readonly Resource[];
  readonly notes: string;
}

function render(values: object = {}): Rendered {
  const templates = readdirSync(join(chart, 'templates')).map((name) => [
    `templates/${name}`,
    read(`templates/${name}`),
  ]);
  const {
    name: Name,
    version: Version,
    appVersion: AppVersion,
  } = parse(read('Chart.yaml')) as Record<string, string>;
  const data = {
    Values: { ...(parse(read('values.yaml')) as object), ...values },
    Release: { Name: 'shop', Namespace: 'default', Service: 'Helm' },
    Chart: { Name, Version, AppVersion },
  };
  const input = JSON.stringify({ templates: Object.fromEntries(templates) as object, data });
  const files = JSON.parse(execFileSync(renderer.binary, { input, encoding: 'utf8' })) as Record<
    string,
    string
  >;
  const { 'templates/NOTES.txt': notes = '', ...manifests } = files;
  const resources = Object.values(manifests).flatMap((text) =>
    parseAllDocuments(text).flatMap((document) => {
      expect(document.errors).toEqual([]);
      const found: unknown = document.toJS();
      return isResource(found) ? [found] : [];
    }),
  );
  return { resources, notes };
}

const SHA256 = 'a'.repeat(64);
const TOKENS = { http: { tokens: [{ name: 'shop', role: 'write', sha256: SHA256 }], drainMs: 5000 } };
const CASES: Readonly<Record<string, object>> = {
  'the values as they are': {},
  'tokens for HTTP': TOKENS,
  'a seed, one replica, a secret': {
    replicas: 1,
    seed: 'CREATE TABLE stock (sku TEXT PRIMARY KEY);\nCREATE TABLE orders (id TEXT PRIMARY KEY);\n',
    nats: { servers: ['nats://a:4222', 'nats://b:4222'], streamReplicas: 3, existingSecret: 'nats-login' },
    tolerations: [{ key: 'database', operator: 'Exists' }],
    storage: { size: '1Gi', storageClassName: 'fast' },
    topologySpreadConstraints: false,
  },
};

describe.skipIf(why !== undefined)(`infra/helm/antiphon${why === undefined ? '' : ` (${why})`}`, () => {
  it.each(Object.entries(CASES))('with %s is what Kubernetes takes', (_, values) => {
    const { resources } = render(values);
    expect(problemsOf(resources)).toEqual([]);
  });

  it.each(Object.entries(CASES))('with %s has a configuration that a replica takes', (_, values) => {
    const { resources } = render(values);
    const config = resources.find(({ kind }) => kind === 'ConfigMap')?.data?.['antiphon.yaml'] ?? '';
    const parsed = parseConfig(config, 'antiphon.yaml', { ANTIPHON_ID: 'shop-1' });
    expect(parsed).toMatchObject({
      id: 'shop-1',
      cluster: 'shop',
      topology: { mode: 'primary-replica', primary: 'shop-0' },
      failover: { mode: 'automatic' },
    });
  });

  it('serves HTTP beyond the pod only with tokens', () => {
    const withTokens = render(TOKENS).resources;
    const without = render().resources;
    const services = (all: readonly Resource[]): string[] =>
      all.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name);
    expect(services(without)).toEqual(['shop-replicas']);
    expect(services(withTokens).sort()).toEqual(['shop', 'shop-replicas']);
    expect(JSON.stringify(without)).toContain('"node","-e","fetch(\'http://127.0.0.1:7070/readyz\')');
    expect(JSON.stringify(withTokens)).toContain('"httpGet":{"path":"/readyz","port":"http"}');
  });

  it('says what is missing before the first start', () => {
    expect(render().notes).toMatch(/give `seed`[^]*nats\.streamReplicas=3/);
    expect(render({ ...CASES['a seed, one replica, a secret'] }).notes).not.toMatch(/give/);
  });
});
