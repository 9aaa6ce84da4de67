import { AntiphonError, parseAcks, suggest } from '@antiphon/core';
import type { AckLevel, Params } from '@antiphon/replica';
import { InvalidArgumentError, type Command } from 'commander';
import type { TargetOptions } from '../cluster/target.js';
import { ACK_WORDS } from '../config/schema.js';
import { parseParams } from '../output/json.js';
import { addTargetOptions, wholeNumber } from './define.js';

/** What the commands that run SQL on a replica have in common. */
export interface SqlOptions extends TargetOptions {
  readonly replica?: string;
  readonly params?: string;
  /** Seconds. */
  readonly timeout: number;
}

export interface SqlOptionTexts {
  /** What `--replica` is for, and which one it is without. */
  readonly replica: string;
  readonly params: string;
  readonly defaultTimeoutS: number;
  readonly maxTimeoutS: number;
}

/** The answer still has to travel: the replica's own time limit comes first, and says more. */
const ANSWER_MARGIN_MS = 1000;

export function addSqlOptions(
  command: Command,
  { replica, params, defaultTimeoutS, maxTimeoutS }: SqlOptionTexts,
): void {
  command
    .option('-r, --replica <id>', replica)
    .option('-p, --params <json>', params)
    .option('-t, --timeout <seconds>', 'how long to wait', wholeNumber(1, maxTimeoutS), defaultTimeoutS);
  addTargetOptions(command);
}

/** @throws AntiphonError BAD_OPTION */
export function paramsOf({ params }: Pick<SqlOptions, 'params'>): Params {
  return params === undefined ? [] : parseParams(params);
}

/** The replica's own limit, and how long its answer is waited for. */
export function limitsOf(
  { timeout }: Pick<SqlOptions, 'timeout'>,
  signal: AbortSignal,
): {
  readonly timeoutMs: number;
  readonly answer: { readonly timeoutMs: number; readonly signal: AbortSignal };
} {
  const timeoutMs = timeout * 1000;
  return { timeoutMs, answer: { timeoutMs: timeoutMs + ANSWER_MARGIN_MS, signal } };
}

/** For `--acks`. */
export function ackLevel(text: string): AckLevel {
  try {
    return parseAcks(/^\d+$/.test(text) ? Number(text) : text);
  } catch (error) {
    if (!(error instanceof AntiphonError)) throw error;
    const wanted = `It must be ${ACK_WORDS.join(', ')}, or a number of databases.`;
    throw new InvalidArgumentError(`${wanted} ${suggest(text, ACK_WORDS)}`);
  }
}
