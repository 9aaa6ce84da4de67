import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeApplying, describeParts, describeRefusals } from './store/applying.js';
import { describeClaiming } from './store/claiming.js';
import { describeConverging } from './store/converging.js';
import { describeInstalling } from './store/installing.js';
import { Kit } from './store/kit.js';
import { describeFenced } from './store/fenced.js';
import { describeGroups } from './store/groups.js';
import { describeEpochs } from './store/epochs.js';
import { describeOwnRecovery } from './store/own-recovery.js';
import { describeForeignWritersOfGroups, describeLibraryOnly, describePreparing } from './store/preparing.js';
import { describePassedParts } from './store/passed-parts.js';
import { describeRewind } from './store/rewind.js';
import { describeReading } from './store/reading.js';
import { describeStreaming } from './store/streaming.js';
import { describeValues } from './store/values.js';
import {
  describeForeignWriters,
  describeOutbox,
  describeRefusing,
  describeWriting,
} from './store/writing.js';
import type { StoreHarness } from './store-harness.js';

/**
 * Everything that a Store must do, as a vitest suite; for the test file of a store's package:
 *
 *     storeConformance('sqlite', { capturesForeignWriters: true }, () => new SqliteHarness());
 */
export function storeConformance<Tx>(
  name: string,
  /**
   * As the store's own capabilities, which are checked against it; tests are chosen before there is
   * a store.
   */
  expected: { readonly capturesForeignWriters: boolean },
  makeHarness: () => StoreHarness<Tx>,
): void {
  describe(`store conformance: ${name}`, () => {
    let kit: Kit<unknown> | undefined;
    const current = (): Kit<unknown> => {
      if (kit === undefined) throw new Error('the kit exists inside of tests only');
      return kit;
    };
    beforeEach(() => {
      kit = new Kit(makeHarness());
    });
    afterEach(async () => {
      await kit?.harness.dispose();
      kit = undefined;
    });

    it('has the capabilities that the suite expects', async () => {
      const { store } = await current().member();
      expect(store.capabilities.capturesForeignWriters).toBe(expected.capturesForeignWriters);
    });
    describeInstalling(current);
    describeWriting(current);
    describeOutbox(current);
    if (expected.capturesForeignWriters) describeForeignWriters(current);
    describeRefusing(current);
    describeValues(current);
    describeApplying(current);
    describeRefusals(current);
    describeParts(current);
    describeEpochs(current);
    describeRewind(current);
    describeFenced(current);
    describePassedParts(current);
    describeOwnRecovery(current);
    describeConverging(current);
    describeReading(current);
    describeStreaming(current);
    describePreparing(current);
    if (expected.capturesForeignWriters) describeForeignWritersOfGroups(current);
    describeLibraryOnly(current);
    describeClaiming(current);
    describeGroups(current);
  });
}
