import { busConformance } from './conformance/bus-conformance.js';
import { logConformance } from './conformance/log-conformance.js';
import {
  memoryBusHarness,
  MemoryLogHarness,
  memoryRegistryHarness,
} from './conformance/memory-server-harness.js';
import { registryConformance } from './conformance/registry-conformance.js';

logConformance('memory', () => Promise.resolve(new MemoryLogHarness()));
busConformance('memory', memoryBusHarness);
registryConformance('memory', memoryRegistryHarness);
