import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { ALARMS, alarmSection } from '@antiphon/core';
import { createServer } from '@antiphon/server';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

const root = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const { groups } = parse(read('infra/alerts.yaml')) as { groups: readonly { rules: readonly Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
/** Prometheus itself has it of everything that it scrapes, and puts `job` and `instance` on all. */
const OF_PROMETHEUS = ['up'];
const ITS_LABELS = ['job', 'instance'];

/** What a replica prints: the names of metrics, and each one's labels and their values. */
class Printed {
  readonly labels = new Map<string, Map<string, Set<string>>>();

  constructor(text: string) {
    for (const [, name = '', labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
      const known = this.labels.get(name) ?? new Map<string, Set<string>>();
      this.labels.set(name, known);
      for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
        known.set(label, (known.get(label) ?? new Set()).add(value));
    }
  }
}

function faultsOf({ expr, annotations }: Rule, { labels }: Printed): readonly string[] {
  const [, metric = ''] = /\b(antiphon_\w+|up)\b/.exec(expr) ?? [];
  const known = labels.get(metric);
  if (known === undefined && !OF_PROMETHEUS.includes(metric)) return [`${expr}: ${metric} is not printed`];
  const used = [
    ...[...expr.matchAll(/[{,]\s*(\w+)(?:=|!=|=~|!~)"/g)].map(([, label = '']) => label),
    ...[...`${annotations.summary} ${annotations.runbook}`.matchAll(/\$labels\.(\w+)/g)].map(
      ([, name = '']) => name,
    ),
  ];
  return used
    .filter((label) => !ITS_LABELS.includes(label) && known?.has(label) !== true)
    .map((label) => `${expr}: ${metric} has no label ${label}`);
}

it('the alert rules name what replicas print, and sections that there are', async () => {
  const schema = 'CREATE TABLE items (id INTEGER PRIMARY KEY)';
  await using cluster = await TestCluster.start({ schema, replicas: 1, options: { limits: { beatMs: 50 } } });
  await using server = await createServer(cluster.replica('r1'), { listen: '127.0.0.1:0' });
  const database = new DatabaseSync(cluster.file('r1'));
  database.exec('CREATE TABLE later (id INTEGER PRIMARY KEY)');
  database.close();
  const text = async (): Promise<string> => (await fetch(`${server.url}/metrics`)).text();
  await eventually('there is an alarm', async () => (await text()).includes('antiphon_alarm{'));
  const printed = new Printed(await text());
  expect(printed.labels.get('antiphon_alarm')?.get('section')).toEqual(new Set(['alarm-not-replicated']));
  expect(rules.length).toBeGreaterThan(10);
  expect(rules.flatMap((rule) => faultsOf(rule, printed))).toEqual([]);
  const anchors = new Set(
    [...read('docs/operations.md').matchAll(/^### (.*)$/gm)].map(([, heading = '']) =>
      heading.toLowerCase().replaceAll('`', '').replaceAll(' ', '-'),
    ),
  );
  const sections = rules.map(({ annotations }) => annotations.runbook.replace('docs/operations.md#', ''));
  const fixed = sections.filter((section) => section !== '{{ $labels.section }}');
  expect(fixed.filter((anchor) => !anchors.has(anchor))).toEqual([]);
  expect(ALARMS.map(alarmSection).filter((anchor) => !anchors.has(anchor))).toEqual([]);
});

it('has a rule for each alarm: one of its own, or the one of all others', () => {
  const matched = (section: string): boolean =>
    rules.some(({ expr }) => {
      const [, negated, pattern = ''] = /section(!?)=?~"([^"]*)"/.exec(expr) ?? [];
      return pattern !== '' && new RegExp(`^(${pattern})$`).test(section) !== (negated === '!');
    });
  const ofTheirOwn = rules.map(({ annotations }) => annotations.runbook.split('#')[1]);
  const silent = ALARMS.map(alarmSection).filter((one) => !matched(one) && !ofTheirOwn.includes(one));
  // Said by the state.
  expect(silent).toEqual(['alarm-apply']);
});
