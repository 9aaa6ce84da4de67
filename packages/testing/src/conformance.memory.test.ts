import { MemoryStoreHarness } from './conformance/memory-store-harness.js';
import { storeConformance } from './conformance/store-conformance.js';

storeConformance('memory', { capturesForeignWriters: true }, () => new MemoryStoreHarness());
