import { busConformance } from './conformance/bus-conformance.js';
import { leaseConformance } from './conformance/lease-conformance.js';
import { logConformance } from './conformance/log-conformance.js';
import {
  memoryBusHarness,
  MemoryLeaseHarness,
  MemoryLogHarness,
  memoryRegistryHarness,
} from './conformance/memory-server-harness.js';
import { registryConformance } from './conformance/registry-conformance.js';

logConformance('memory', () => Promise.resolve(new MemoryLogHarness()));
busConformance('memory', memoryBusHarness);
registryConformance('memory', memoryRegistryHarness);
leaseConformance('memory', () => Promise.resolve(new MemoryLeaseHarness()));
