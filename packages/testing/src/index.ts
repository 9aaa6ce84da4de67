export { NodeClock, type NodeClockOptions } from './clock/node-clock.js';
export { Random } from './clock/random.js';
export { VirtualClock, type VirtualClockOptions } from './clock/virtual-clock.js';
export { eventually, type EventuallyOptions } from './eventually.js';
export { Faults, NO_FAULTS, type FaultKind, type FaultRates } from './faults/faults.js';
export { Link, type LinkOptions } from './memory/link.js';
export { memoryBus, MemoryBus, type MemoryBusOptions } from './memory/bus/memory-bus.js';
export { memoryLease, MemoryLease, type MemoryLeaseOptions } from './memory/lease/memory-lease.js';
export { memoryLog, MemoryLog, type MemoryLogOptions } from './memory/log/memory-log.js';
export {
  memoryRegistry,
  MemoryRegistry,
  type MemoryRegistryOptions,
} from './memory/registry/memory-registry.js';
export {
  checkConservedTotal,
  checkLinearizable,
  checkSession,
  formatHistory,
  formatRecord,
  History,
  mergeHistories,
  operationTable,
  operationText,
  parseHistory,
  SESSION_GUARANTEES,
  type Completion,
  type HistoryOptions,
  type LinearizableOptions,
  type LinearizableResult,
  type Operation,
  type OperationHandle,
  type OperationRecord,
  type RegisterValue,
  type SessionGuarantee,
  type SessionOptions,
  type SessionResult,
  type SessionViolation,
  type TotalViolation,
} from './history/index.js';
