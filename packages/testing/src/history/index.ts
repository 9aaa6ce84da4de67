export { checkConservedTotal, type TotalViolation } from './conserved-total.js';
export { History, type HistoryOptions, type OperationHandle } from './history.js';
export { formatHistory, formatRecord, mergeHistories, parseHistory } from './json-lines.js';
export { checkLinearizable, type LinearizableOptions, type LinearizableResult } from './linearizable.js';
export type { Completion, Operation, OperationRecord, RegisterValue } from './operation.js';
export { operationTable, operationText } from './operation-text.js';
export {
  checkSession,
  SESSION_GUARANTEES,
  type SessionGuarantee,
  type SessionOptions,
  type SessionResult,
  type SessionViolation,
} from './session.js';
