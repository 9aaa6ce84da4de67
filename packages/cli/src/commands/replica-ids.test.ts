import { expect, it } from 'vitest';
import { replicaIds } from './replica-ids.js';

it('numbers replicas and keeps the given first one', () => {
  expect(replicaIds(3)).toEqual(['eu-1', 'eu-2', 'eu-3']);
  expect(replicaIds(3, 'eu-2')).toEqual(['eu-2', 'eu-1', 'eu-3']);
  expect(replicaIds(1, 'home')).toEqual(['home']);
});
