import { counterOf } from '@antiphon/core';
import type { Scope } from './scope.js';

/**
 * The rows that the cluster was created with are here. Whoever wrote before that would be
 * overwritten by them; and with another primary than their creator they would never come.
 */
export function isCreated({ document, store }: Pick<Scope, 'document' | 'store'>): boolean {
  const { creator, foundingCounter } = document;
  return counterOf(store.state().vector, creator) >= foundingCounter;
}

export function notCreatedYet({ document }: Pick<Scope, 'document'>): string {
  return `the rows that ${document.creator} created the cluster with have not arrived yet`;
}
