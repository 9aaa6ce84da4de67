import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Silence } from './silence.js';

let said: string;
let silence: Silence;
beforeEach(() => {
  vi.useFakeTimers();
  said = '';
  silence = new Silence((text) => void (said += text));
});
afterEach(() => {
  vi.useRealTimers();
});

it('says after a second what is waited for, once', () => {
  silence.waitingFor('NATS to answer');
  vi.advanceTimersByTime(999);
  expect(said).toBe('');
  vi.advanceTimersByTime(60_000);
  expect(said).toBe('Waiting for NATS to answer …\n');
});

it('says the newest of what is waited for', () => {
  silence.waitingFor('NATS to answer');
  vi.advanceTimersByTime(900);
  silence.waitingFor('the replicas to answer');
  vi.advanceTimersByTime(1000);
  expect(said).toBe('Waiting for the replicas to answer …\n');
});

it('says nothing when something was written', () => {
  silence.waitingFor('NATS to answer');
  silence.end();
  vi.advanceTimersByTime(60_000);
  expect(said).toBe('');
});
