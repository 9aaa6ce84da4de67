import type { Bench } from '../bench.js';
import { Series } from '../series.js';
import { measureChanges } from './serve-changes.js';
import { measureReads } from './serve-reads.js';

/** What programs without a database of their own get: balanced reads, HTTP, published changes. */
export const serve: Bench = async (options) => {
  const series = new Series('serve', options.report);
  await measureReads(options, series);
  await measureChanges(options, series);
  series.reportAll();
};
