import { AntiphonError } from '@antiphon/core';
import type { OperationRecord, RegisterValue } from './operation.js';

type Fields = Readonly<Record<string, unknown>>;

/** Throws BAD_OPTION, naming what is wrong, unless it is a record that the checkers understand. */
export function validateRecord(candidate: unknown): asserts candidate is OperationRecord {
  const record = fieldsOf(candidate, 'the record');
  const { process, id, invokedAtMs, completedAtMs } = record;
  if (typeof process !== 'string') throw wrong('process must be a text');
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0)
    throw wrong('id must be a whole number from 0');
  if (!isFiniteNumber(invokedAtMs)) throw wrong('invokedAtMs must be a finite number');
  const operation = fieldsOf(record['operation'], 'operation');
  validateOperation(operation);
  const completion = fieldsOf(record['completion'], 'completion');
  validateCompletion(completion, operation['kind']);
  if (completion['type'] === 'unknown') {
    if (completedAtMs !== undefined) throw wrong('an unknown completion has no completedAtMs');
  } else if (!isFiniteNumber(completedAtMs) || completedAtMs < invokedAtMs) {
    throw wrong('completedAtMs must be a number, not before invokedAtMs');
  }
}

function validateOperation(operation: Fields): void {
  if (typeof operation['key'] !== 'string') throw wrong('operation.key must be a text');
  switch (operation['kind']) {
    case 'read':
      return;
    case 'write':
      if (!isRegisterValue(operation['value']))
        throw wrong('operation.value must be a text, finite number, boolean or null');
      return;
    case 'increment':
      if (!isFiniteNumber(operation['by'])) throw wrong('operation.by must be a finite number');
      return;
    default:
      throw wrong('operation.kind must be read, write or increment');
  }
}

function validateCompletion(completion: Fields, kind: unknown): void {
  const { type, value, version } = completion;
  if (type === 'failed' || type === 'unknown') return;
  if (type !== 'ok') throw wrong('completion.type must be ok, failed or unknown');
  if (kind === 'read' && !isRegisterValue(value)) throw wrong('a read that is ok has a completion.value');
  if (kind === 'increment' && value !== undefined && !isFiniteNumber(value)) {
    throw wrong('completion.value of an increment must be a finite number');
  }
  if (version !== undefined && !isFiniteNumber(version))
    throw wrong('completion.version must be a finite number');
}

function isRegisterValue(value: unknown): value is RegisterValue {
  return value === null || typeof value === 'string' || typeof value === 'boolean' || isFiniteNumber(value);
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null) throw wrong(`${name} must be an object`);
  return value as Fields;
}

function wrong(what: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', `Not an operation of a history: ${what}. Correct what records it.`);
}
