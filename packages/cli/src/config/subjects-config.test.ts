import { AntiphonError } from '@antiphon/core';
import { expect, it } from 'vitest';
import { parseConfig } from './load-config.js';

function parse(subjects: string, env: NodeJS.ProcessEnv = {}) {
  const text = `cluster: shop\nid: eu-1\nnats: { servers: h }\nstore: { sqlite: { file: ./shop.db } }\nsubjects: ${subjects}\n`;
  return parseConfig(text, 'antiphon.yaml', env).subjects;
}

it.each([
  ['true', {}],
  ['false', undefined],
  ["'${SUBJECTS}'", {}],
  ['{}', {}],
  ["{ limits: { requests: '${N}', graceMs: 0 } }", { limits: { requests: 7, graceMs: 0 } }],
])('takes %s', (subjects, expected) => {
  expect(parse(subjects, { SUBJECTS: 'true', N: '7' })).toEqual(expected);
});

it.each([
  ['yes please', 'subjects must be a mapping. Write `true`, or'],
  ['{ limit: {} }', 'Did you mean "limits"?'],
  ['{ limits: { request: 1 } }', 'Did you mean "requests"?'],
  ['{ limits: { requests: 0 } }', 'subjects.limits.requests must be at least 1'],
])('refuses %s: %s', (subjects, message) => {
  const problem = (): unknown => parse(subjects);
  expect(problem).toThrow(AntiphonError);
  expect(problem).toThrow(message);
});
