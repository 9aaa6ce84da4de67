export { busConformance, type BusHarness } from './bus-conformance.js';
export { leaseConformance, type LeaseHarness } from './lease-conformance.js';
export { logConformance } from './log-conformance.js';
export type { LogHarness } from './log-harness.js';
export { registryConformance, type RegistryHarness } from './registry-conformance.js';
export { storeConformance } from './store-conformance.js';
export {
  CONFORMANCE_TABLES,
  type ConformanceTable,
  type RowOperation,
  type StoreHarness,
} from './store-harness.js';
