import { busConformance } from './conformance/bus-conformance.js';
import { logConformance } from './conformance/log-conformance.js';
import {
  memoryBusHarness,
  MemoryLogHarness,
  memoryRegistryHarness,
} from './conformance/memory-server-harness.js';
import { MemoryStoreHarness } from './conformance/memory-store-harness.js';
import { registryConformance } from './conformance/registry-conformance.js';
import { storeConformance } from './conformance/store-conformance.js';

storeConformance('memory', { capturesForeignWriters: true }, () => new MemoryStoreHarness());
logConformance('memory', () => Promise.resolve(new MemoryLogHarness()));
busConformance('memory', memoryBusHarness);
registryConformance('memory', memoryRegistryHarness);
