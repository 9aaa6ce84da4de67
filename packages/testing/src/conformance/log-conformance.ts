import { afterEach, beforeEach, describe } from 'vitest';
import { describeAppending, describeLostConnection } from './log/appending.js';
import { describeExpectations, describeWrongExpectations } from './log/expecting.js';
import { describeOpening } from './log/opening.js';
import { describeReading } from './log/reading.js';
import { describeTraces } from './log/traces.js';
import type { LogHarness } from './log-harness.js';

/**
 * Everything that a Log must do, as a vitest suite; for the test file of a log's package:
 *
 *     logConformance('jetstream', () => JetStreamHarness.start());
 */
export function logConformance(name: string, makeHarness: () => Promise<LogHarness>): void {
  describe(`log conformance: ${name}`, () => {
    let harness: LogHarness | undefined;
    const current = (): LogHarness => {
      if (harness === undefined) throw new Error('the harness exists inside of tests only');
      return harness;
    };
    beforeEach(async () => {
      harness = await makeHarness();
    });
    afterEach(async () => {
      await harness?.dispose();
      harness = undefined;
    });

    describeOpening(current);
    describeAppending(current);
    describeExpectations(current);
    describeWrongExpectations(current);
    describeLostConnection(current);
    describeReading(current);
    describeTraces(current);
  });
}
